"""Cases for prediction: which ones are meant, and their preprocessed samples while the network is busy with others."""

import pickle
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from brats_lightning.data.case import Case
from brats_lightning.data.cases import Found, find_cases
from brats_lightning.data.naming import MODALITY_OF_NAME, recognise
from brats_lightning.data.pictures import ENDINGS, is_picture, stem
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.errors import BratsError, ConfigError, DatasetError, Problem
from brats_lightning.labels import EDITIONS, MASK, Modality
from brats_lightning.parallel import lost_a_worker

_CASE = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Loaded:
    """What loading a case gave.

    Args:
        case: Which one.
        samples: One for each preprocessing; none where the case cannot be used.
        problems: Why it cannot be used.
        seconds: That it took.
    """

    case: Case
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]
    seconds: float


def cases_to_predict(
    folder: Path | None,
    files: Mapping[Modality, Path | None],
    *,
    case: str | None,
    modalities: Sequence[Modality],
    edition: str | None,
) -> Found:
    """The cases that somebody means.

    Args:
        folder: Of cases, or of one case; or one picture or NIfTI file, which is a case of a single modality; None where
            files are given.
        files: Of one case, by modality.
        case: Name of the case whose files are given; None takes what their names have in common.
        modalities: That the networks need.
        edition: Whose label values are written; None recognises it by the files' names.

    Raises:
        ConfigError: Both or neither are given, or a modality's file is missing.
        DatasetError: Nothing looks like a case.
    """
    given = {modality: path for modality, path in files.items() if path is not None}
    if folder is not None and given:
        raise ConfigError("a folder of cases and the files of one case were given: choose one of them")
    if folder is not None and _is_one_file(folder):
        given = _as_modality(folder, modalities)
    elif folder is not None:
        found = find_cases(folder, modalities=modalities, edition=edition)
        # A reference that lies beside the images has no say here, and costs time to read.
        return Found(tuple(replace(case, label=None) for case in found.cases), found.problems)
    return Found((_case_of(given, case=case, modalities=modalities, edition=edition),))


def _is_one_file(path: Path) -> bool:
    try:
        return path.name.lower().endswith(ENDINGS) and not path.is_dir()
    except OSError:
        return False  # of a folder out of reach `find_cases` tells


def _as_modality(file: Path, modalities: Sequence[Modality]) -> dict[Modality, Path]:
    """A file that was given in place of a folder.

    Raises:
        ConfigError: It is not there, or not what the networks need.
    """
    if not file.is_file():
        raise ConfigError(f"no file {file}")
    if len(modalities) != 1:
        raise ConfigError(
            f"{file.name} is one modality, and the networks need {', '.join(modalities)}: "
            f"give a folder of cases, or --{' --'.join(modalities)}"
        )
    recognised = recognise(file.parent, file.name)
    if recognised and MODALITY_OF_NAME.get(recognised[2].lower()) != modalities[0]:
        raise ConfigError(f"{file.name} is not {modalities[0]} by its name, which the networks need: give that file")
    return {modalities[0]: file}


def _case_of(
    given: Mapping[Modality, Path], *, case: str | None, modalities: Sequence[Modality], edition: str | None
) -> Case:
    """The case whose files are given by modality.

    Raises:
        ConfigError: A modality's file is missing, or there is no name for the case.
    """
    if not given:
        raise ConfigError("nothing to predict: give a folder of cases, or the files of one (--t1n --t1c --t2w --t2f)")
    if missing := [modality for modality in modalities if modality not in given]:
        raise ConfigError(f"the networks need {', '.join(modalities)}: give --{' --'.join(missing)} too")
    if absent := [path for path in given.values() if not path.is_file()]:
        raise ConfigError(f"no file {', '.join(map(str, absent))}")
    if len({path.resolve() for path in given.values()}) < len(given):
        raise ConfigError(f"one file was given as several modalities: {', '.join(map(str, given.values()))}")
    if edition is not None and edition not in EDITIONS:
        raise ConfigError(f"edition {edition!r} is unknown: expected one of {', '.join(EDITIONS)}")
    name = case or common_name([path.name for path in given.values()])
    if name is None:
        raise ConfigError("the files' names have nothing in common to call the case by: name it by --case")
    if case is not None and not _CASE.fullmatch(case):
        raise ConfigError(
            f"--case {case!r}: expected a name for files, of letters, digits, dots, dashes and underscores"
        )
    wanted: dict[Modality, Path] = {modality: given[modality] for modality in modalities}
    pictures = all(is_picture(path) for path in wanted.values())
    return Case(name, name, edition or (MASK if pictures else "2023"), wanted)


def common_name(names: Sequence[str]) -> str | None:
    """What the names of a case's files have in common, None where that is nothing one could call it by.

    >>> common_name(["patient7_t1.nii.gz", "patient7_t1ce.nii.gz", "patient7_flair.nii.gz"])
    'patient7'
    >>> common_name(["slice_07.nii.gz"])
    'slice_07'
    """
    if len(names) == 1:
        whole = stem(names[0])
        start, mark, kind = whole.rpartition(max("_-.", key=whole.rfind))
        name = start if mark and kind.lower() in MODALITY_OF_NAME else whole
        return None if name.lower() in MODALITY_OF_NAME else name or None
    start = "".join(
        letters[0] for letters in takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    )
    divided = max(start.rfind(mark) for mark in "_-.")
    return start[:divided].strip("_-. ") or None if divided > 0 else None


def load_cases(
    cases: Sequence[Case], preprocessings: Sequence[Preprocessing], *, align: bool, workers: int
) -> Iterator[Loaded]:
    """Preprocess cases, the next ones while the caller is busy with one.

    Args:
        cases: In this order.
        preprocessings: Of the networks.
        align: Resample modalities on other grids by their headers.
        workers: Processes beside this one; 0 loads in this one.

    Raises:
        BratsError: A process was killed.
    """
    processes = min(workers, len(cases)) if len(cases) > 1 else 0
    loader = DataLoader(
        _Loading(cases, preprocessings, align=align),
        batch_size=None,
        num_workers=processes,
        collate_fn=cast("Any", _as_is),  # without a batch size it gets one item, not a list
        prefetch_factor=1 if processes else None,
        generator=torch.Generator(),
    )
    try:
        for content in loader:
            yield pickle.loads(content)  # noqa: S301 - made below
    except RuntimeError as error:
        if lost_a_worker(error):
            raise BratsError(
                f"one of {processes} loading processes was killed, often for want of memory: fewer --workers"
            ) from error
        raise


class _Loading(Dataset[bytes]):
    """Loads cases, with one thread each wherever that happens: a sum over other threads would be another number.

    Results cross from process to process by value. Shared memory, PyTorch's own way, is 64 MB in many a container, and
    a process that finds it full never answers.
    """

    def __init__(self, cases: Sequence[Case], preprocessings: Sequence[Preprocessing], *, align: bool) -> None:
        self.cases = tuple(cases)
        self.preprocessings = tuple(preprocessings)
        self.align = align

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> bytes:
        case = self.cases[index]
        started, threads = time.perf_counter(), torch.get_num_threads()
        samples: tuple[Sample, ...] = ()
        problems: tuple[Problem, ...] = ()
        torch.set_num_threads(1)
        try:
            samples = tuple(preprocessing(case, align=self.align) for preprocessing in self.preprocessings)
        except DatasetError as error:
            problems = error.problems
        finally:
            torch.set_num_threads(threads)
        return pickle.dumps(Loaded(case, samples, problems, time.perf_counter() - started), protocol=5)


def _as_is(content: bytes) -> bytes:
    return content
