"""Preprocessed cases by case: each is built once, by as many processes as one likes.

An entry's key covers the contents of the case's files and what each of them stands for, the pipeline's settings and
the format's version, so that an entry can be missing but never stale.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
import xxhash
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader, Dataset

from brats_lightning.data.case import Case, Volume4D
from brats_lightning.data.homes import Home, MemoryHome, NoHome
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.data.reading import read_case
from brats_lightning.errors import BratsError, DatasetError, Problem
from brats_lightning.machine import usable_cores

FORMAT_VERSION = 2
MOST_WORKERS = 16
"""Each holds a whole case several times over; where 16 are not enough, the disk is what one waits for."""
FileKey = Literal["content", "stat"]


class CaseCache:
    """Preprocessed cases by case. The files of a case are looked at once: make another cache where they change.

    Args:
        preprocessing: Makes a sample from a case.
        home: Where samples are kept.
        file_key: How a changed file is noticed: by its contents, or faster by its size and time of change.
    """

    def __init__(self, preprocessing: Preprocessing, home: Home, *, file_key: FileKey = "content") -> None:
        self.preprocessing = preprocessing
        self.home = home
        self.file_key = file_key
        self._names: dict[str, str] = {}

    def get(self, case: Case) -> Sample:
        """The case's sample, built where it is not there.

        Raises:
            DatasetError: Its files cannot be used.
        """
        if not self._keeps:
            return self.preprocessing(case)
        name = self._name(case)
        sample = self.home.load(name)
        if sample is None:
            sample = self.preprocessing(case)
            self.home.save(name, sample)
        return sample

    def missing(self, cases: Sequence[Case]) -> list[Case]:
        """Cases that have no entry yet."""
        if not self._keeps:
            return list(cases)
        with ThreadPoolExecutor(min(16, 4 * usable_cores())) as pool:  # reading files, not computing
            names = list(pool.map(self._name, cases))
        return [case for case, name in zip(cases, names, strict=True) if not self.home.has(name)]

    def fill(self, cases: Sequence[Case], *, workers: int) -> list[Problem]:
        """Build every entry that is missing, several cases at a time, with a progress bar.

        Can be stopped at any moment: what is finished stays.

        Args:
            cases: All that will be used.
            workers: Processes beside this one, at most 16; 0 builds in this one.

        Returns:
            What is wrong with the cases that could not be built.

        Raises:
            BratsError: The home cannot take the entries.
        """
        missing = self.missing(cases)
        if not missing:
            return []
        problems: list[Problem] = []
        loader = DataLoader(
            _Building(self, missing),
            batch_size=None,
            num_workers=min(workers, len(missing), MOST_WORKERS),
            collate_fn=cast("Any", _as_is),  # without a batch size it gets one item, not a list
            prefetch_factor=1 if workers else None,
            generator=torch.Generator(),  # the global one belongs to the network: a cold cache must not move it
        )
        with _progress() as progress:
            for built in progress.track(loader, total=len(missing), description=self._doing()):
                if built.error is not None:
                    raise BratsError(built.error)
                problems += built.problems
                if built.sample is not None:
                    self.home.save(self._name(built.case), built.sample)
        return problems

    def _doing(self) -> str:
        return "Preprocessing cases" if self._keeps else "Checking cases"

    @property
    def _keeps(self) -> bool:
        return not isinstance(self.home, NoHome)

    def _name(self, case: Case) -> str:
        """The entry's name: the case's id for people, the key for the program."""
        if case.id not in self._names:
            about = f"{FORMAT_VERSION} {case.id} {case.edition} {self.preprocessing.fingerprint}"
            digest = xxhash.xxh3_128(about.encode())
            key = cache(partial(_file_key, kind=self.file_key))  # a 4-D file holds several modalities
            for modality in self.preprocessing.modalities:
                image = case.images[modality]
                path, channel = (image.path, image.channel) if isinstance(image, Volume4D) else (image, 0)
                # What a file stands for goes with its contents: files whose names were swapped make another entry.
                digest.update(f"{modality} {channel} ".encode() + key(path))
            digest.update(b"label " + (key(case.label) if case.label else b"none"))
            self._names[case.id] = f"{case.id}-{digest.hexdigest()[:20]}"
        return self._names[case.id]


def _file_key(path: Path, kind: FileKey) -> bytes:
    try:
        if kind == "stat":
            about = path.stat()
            return f"{path.name} {about.st_size} {about.st_mtime_ns}".encode()
        digest = xxhash.xxh3_128()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.digest()
    except OSError:
        return os.urandom(16)  # building the entry will say why, or else give one that no other file can be taken for


@dataclass(frozen=True)
class _Built:
    case: Case
    sample: Sample | None = None
    problems: tuple[Problem, ...] = ()
    error: str | None = None


class _Building(Dataset[_Built]):
    """Builds entries in worker processes; what went wrong comes back as a value, with its words."""

    def __init__(self, cache: CaseCache, cases: Sequence[Case]) -> None:
        self.cache = cache
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> _Built:
        case = self.cases[index]
        try:
            if not self.cache._keeps:
                read_case(case, modalities=self.cache.preprocessing.modalities)
                return _Built(case)
            sample = self.cache.preprocessing(case)
            if isinstance(self.cache.home, MemoryHome):
                return _Built(case, sample)
            self.cache.home.save(self.cache._name(case), sample)
            return _Built(case)
        except DatasetError as error:
            return _Built(case, problems=error.problems)
        except BratsError as error:
            return _Built(case, error=str(error))


def _as_is(built: _Built) -> _Built:
    return built


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
