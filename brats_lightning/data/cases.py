"""Find the cases of a folder: any edition, nested or flat, its quirks and published defects known."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.data.case import Case
from brats_lightning.data.decathlon import decathlon_cases
from brats_lightning.data.naming import MODALITY_OF_NAME, CaseFiles, group_files
from brats_lightning.data.pictures import is_picture, picture_cases, picture_files
from brats_lightning.data.schemes import LabelSchemes
from brats_lightning.errors import ConfigError, DatasetError, Problem
from brats_lightning.labels import EDITIONS, MODALITIES, Modality
from brats_lightning.nifti import UnreadableVolumeError

EXPECTED = (
    "case folders of BraTS 2012–2024 (such as BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz) "
    "or the MSD Task01 folder with its dataset.json"
)
PICTURES = "single slices of one modality (.mat of figshare 1512427, .png, .jpg, .nii, .nii.gz)"
_SCAN_2015 = re.compile(r"^(brats_.+_pat\d+)_\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """What a folder holds.

    Args:
        cases: Complete by their names, sorted by id.
        problems: Everything else that looks like a case and is none.
    """

    cases: tuple[Case, ...]
    problems: tuple[Problem, ...] = ()


def find_cases(root: Path, *, modalities: Iterable[Modality] = MODALITIES, edition: str | None = None) -> Found:
    """List the cases below a folder.

    Where one modality is asked for, pictures of single slices are cases too: every `.mat` file of figshare 1512427,
    which says itself what it is; and if there is no `.mat` and nothing of BraTS, every PNG, JPEG and single-slice NIfTI
    of any name, which have no segmentation. Beside cases of BraTS or of figshare such pictures are figures and maps
    that somebody has drawn, and beside cases of BraTS `.mat` files of other contents are passed over too.

    Args:
        root: Folder of one or several editions.
        modalities: Those that every case must have.
        edition: Name of `labels.EDITIONS` whose label values hold for all cases, instead of the recognised ones.

    Raises:
        ConfigError: The folder is not there or out of reach, the edition is none, or no modality is asked for.
        DatasetError: Nothing in it looks like a case.
    """
    if edition is not None and edition not in EDITIONS:
        raise ConfigError(f"edition {edition!r} is unknown: expected one of {', '.join(EDITIONS)}")
    wanted = tuple(modalities)
    if not wanted:
        raise ConfigError(f"no modalities: give at least one of {', '.join(MODALITIES)}")
    try:
        there = root.is_dir()
    except OSError as error:
        raise ConfigError(f"{root} is out of reach ({error.strerror}): make it readable") from error
    if not there:
        raise ConfigError(f"no folder {root}: expected one that holds {EXPECTED}")
    groups, problems = group_files(root)
    cases = decathlon_cases(root, problems)
    known_editions = LabelSchemes(edition, groups)
    for group in groups:
        case = _case(group, wanted, known_editions, problems)
        if case is not None:
            cases.append(case)
    if len(wanted) == 1:
        beside = bool(cases or problems)
        cases += picture_cases(root, modality=wanted[0], edition=edition, problems=problems, beside=beside)
    cases, twice = _without_duplicates(cases)
    problems += twice
    if not cases and not problems:
        cure = f"expected {EXPECTED}{_pictures_too(root, wanted)}"
        raise DatasetError(Problem(str(root), "", "no case of a known edition in this folder", cure))
    return Found(tuple(sorted(cases, key=lambda case: case.id)), tuple(problems))


def _pictures_too(root: Path, wanted: tuple[Modality, ...]) -> str:
    """What to add where pictures would have been cases, or may be."""
    if len(wanted) == 1:
        return f", or {PICTURES}"
    pictures = [path.name for path in picture_files(root) if is_picture(path)]
    return f"; pictures such as {pictures[0]} are cases where exactly one modality is asked for" if pictures else ""


def _case(
    group: CaseFiles, modalities: tuple[Modality, ...], editions: LabelSchemes, problems: list[Problem]
) -> Case | None:
    """Put one case together, or say why it is none."""
    images: dict[Modality, Path] = {}
    label: Path | None = None
    wrong: list[Problem] = []
    for kind, paths in group.found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            wrong.append(Problem(group.case, names, "two files for one image", "keep one of them"))
        if kind == "seg":
            label = paths[0]
        else:
            images[MODALITY_OF_NAME[kind]] = paths[0]
    if missing := [modality for modality in modalities if modality not in images]:
        wrong.append(
            Problem(group.case, "", f"no {', '.join(missing)} among its files", "add it or leave the case out")
        )
    edition = ""
    if images and not missing:
        try:
            edition = editions.of(group)
        except UnreadableVolumeError as error:
            wrong.append(Problem(group.case, "", str(error), "download the file again"))
        except LookupError as error:
            wrong.append(Problem(group.case, "", str(error), "say which with `edition` (2023 or 2024-PED)"))
    if wrong:
        problems += wrong
        return None
    odd_names = [f"{path.name}: unusual letter case" for path in images.values() if _unusual_case(path, group.case)]
    return Case(group.case, _patient(group), edition, images, label, (*group.notes, *odd_names))


def _unusual_case(path: Path, case: str) -> bool:
    kind = path.name[len(case) :]
    return kind != kind.lower() and not path.name.startswith("VSD")


def _patient(group: CaseFiles) -> str:
    """2017 to 2019 number the scans of a patient at the end, 2023 and 2024 the time points, 2015 the day."""
    if group.family in {"GLI", "PED", "2023"}:
        return group.case.rpartition("-")[0]
    if group.family in {"2017", "2018", "2019"}:
        return group.case.partition("_")[2].rpartition("_")[0]  # the same patients have the same names in both years
    if group.family == "2015" and (match := _SCAN_2015.match(group.case)):
        return match[1]
    return group.case


def _without_duplicates(cases: list[Case]) -> tuple[list[Case], list[Problem]]:
    counts = Counter(case.id.lower() for case in cases)
    problems = []
    for case in cases:
        if counts[case.id.lower()] > 1:
            file = case.files[0]
            where, cure = (file, "rename one") if is_picture(file) else (file.parent, "keep one of the folders")
            problems.append(Problem(case.id, str(where), "two cases of one name", cure))
    return [case for case in cases if counts[case.id.lower()] == 1], problems
