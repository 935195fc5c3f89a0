"""From file names to cases: which file is which image of which case, in every edition's way of naming.

Files are grouped by the case's name inside their own names; which folders they lie in does not matter, except that the
images of one case lie together.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from brats_lightning.errors import Problem
from brats_lightning.labels import Modality

_ENDING = r"\.nii(?:\.gz)?$"
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (family, re.compile(pattern, re.IGNORECASE))
    for family, pattern in (
        ("2017", rf"^(brats17_.+)_(t1|t1ce|t2|flair|seg){_ENDING}"),
        ("2018", rf"^(brats18_.+)_(t1|t1ce|t2|flair|seg){_ENDING}"),
        ("2019", rf"^(brats19_.+)_(t1|t1ce|t2|flair|seg){_ENDING}"),
        ("2020", rf"^(brats20_.+)_(t1|t1ce|t2|flair|seg){_ENDING}"),
        ("2021", rf"^(brats2021_\d+)_(t1|t1ce|t2|flair|seg){_ENDING}"),
        ("PED", rf"^(brats-ped-\d{{5}}-\d{{3}})-(t1n|t1c|t2w|t2f|seg){_ENDING}"),
        ("GLI", rf"^(brats-gli-\d{{5}}-\d{{3}})-(t1n|t1c|t2w|t2f|seg){_ENDING}"),
        ("2023", rf"^(brats-(?:ssa|men|met)-\d{{5}}-\d{{3}})-(t1n|t1c|t2w|t2f|seg){_ENDING}"),
        ("2015", r"^VSD\.Brain[^.]*\.[^.]*\.(?:O|XX)\.(MR_T1|MR_T1c|MR_T2|MR_Flair|OT)\..*\.mha$"),
    )
)
_CASE_FOLDER = re.compile(r"^(brats1[789]_.+|brats20_\w+_\d+|brats2021_\d+|brats-[a-z]{3}-\d{5}-\d{3})$", re.IGNORECASE)
MODALITY_OF_NAME: Mapping[str, Modality] = {
    "t1": "t1n",
    "t1ce": "t1c",
    "t2": "t2w",
    "flair": "t2f",
    "t1n": "t1n",
    "t1c": "t1c",
    "t2w": "t2w",
    "t2f": "t2f",
    "mr_t1": "t1n",
    "mr_t1c": "t1c",
    "mr_t2": "t2w",
    "mr_flair": "t2f",
}
_VOLUME = re.compile(r"^[^.].*\.(nii|mha|mhd|nrrd|dcm)(\.|$)", re.IGNORECASE)
"""Files that might be an image, unfinished downloads included; pictures and tables are not."""
_LABEL_OF_CASE_355 = "w39_1998.09.19_segm.nii"


@dataclass
class CaseFiles:
    """Files of one case as met on the way.

    Args:
        case: Its id.
        family: Editions that name files this way; `GLI` and `PED` stand for two each.
        folder: In which they lie.
        found: Files by kind of image as the edition names it, `seg` for the segmentation.
        notes: Oddities, in words.
    """

    case: str
    family: str
    folder: Path
    found: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)


def group_files(root: Path) -> tuple[list[CaseFiles], list[Problem]]:
    """Sort the files below a folder by the case in their names.

    Args:
        root: Searched with all its folders.

    Returns:
        The files case by case; folders that are named like a case and hold none, and folders that cannot be read.
    """
    groups: dict[tuple[Path, str], CaseFiles] = {}
    problems: list[Problem] = []
    case_folders: list[Path] = []
    volumes: Counter[Path] = Counter()
    for folder, folders, names in walk(root, problems):
        for name in names:
            if recognised := recognise(folder, name):
                family, case, kind = recognised
                group = groups.setdefault((folder, case.lower()), CaseFiles(case, family, folder))
                group.found[kind.lower()].append(folder / name)
        if _CASE_FOLDER.match(folder.name):
            case_folders.append(folder)
            if not folders and all(name.startswith(".") for name in names):
                cure = "download the case again or remove the folder"
                problems.append(Problem(folder.name, "", "an empty folder", cure))
        count = sum(_VOLUME.match(name) is not None for name in names)
        volumes.update(dict.fromkeys((folder, *folder.parents), count))  # at or below each
        _add_label_of_case_355(groups.get((folder, "brats20_training_355")), names)
    recognised_in = {place for group in groups.values() for place in (group.folder, *group.folder.parents)}
    problems += [
        _misnamed(folder, volumes[folder]) for folder in case_folders if folder not in recognised_in and volumes[folder]
    ]
    return _join_sisters(_gather_2015(groups.values()), root), problems


def _misnamed(folder: Path, count: int) -> Problem:
    kinds = ("-t1n", "-t1c") if folder.name.lower().startswith("brats-") else ("_t1", "_t1ce")
    names = ", ".join(f"{folder.name}{kind}.nii.gz" for kind in kinds)
    return Problem(folder.name, "", f"{count} files, none named as an image of a case", f"rename them: {names} …")


def walk(root: Path, problems: list[Problem]) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Every folder below a folder with its folders and files, links to folders followed, none met twice.

    Args:
        root: Comes first.
        problems: Gets the folders that cannot be read.
    """

    def unreadable(error: OSError) -> None:
        problems.append(
            Problem(Path(error.filename).name, "", f"{error.strerror}: {error.filename}", "make it readable")
        )

    met: set[str] = set()
    for directory, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        if (place := os.path.realpath(directory)) in met:
            folders.clear()
            continue
        met.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))  # half-written or thrown away
        yield Path(directory), folders, sorted(names)


def recognise(folder: Path, name: str) -> tuple[str, str, str] | None:
    """Edition family, case and kind of image that a file's name tells."""
    for family, pattern in _PATTERNS:
        if match := pattern.match(name):
            if family == "2015":
                return family, folder.name, match[1]
            return family, match[1], match[2]
    return None


def _add_label_of_case_355(case: CaseFiles | None, names: Iterable[str]) -> None:
    """Copies of BraTS 2020 ship one segmentation under the name that it had before its release."""
    for name in names:
        if case is not None and name.lower().removesuffix(".gz") == _LABEL_OF_CASE_355:
            case.found["seg"].append(case.folder / name)
            case.notes.append(f"{name}: the segmentation, under its published wrong name")


def _gather_2015(groups: Iterable[CaseFiles]) -> list[CaseFiles]:
    """In 2012–2015 each image has a folder of its own: put those of one patient's folder together.

    Folders of 2012 and 2013 have numbers for names, the same ones below `HG` and `LG`.
    """
    gathered: list[CaseFiles] = []
    patients: dict[Path, CaseFiles] = {}
    for group in groups:
        if group.family != "2015":
            gathered.append(group)
            continue
        folder = group.folder.parent if group.folder.name.lower().startswith("vsd.") else group.folder
        name = f"{folder.parent.name}_{folder.name}" if folder.name.isdecimal() else folder.name
        patient = patients.setdefault(folder, CaseFiles(name, "2015", folder))
        for kind, paths in group.found.items():
            patient.found["seg" if kind == "ot" else kind] += paths
    return gathered + list(patients.values())


def _join_sisters(groups: Iterable[CaseFiles], root: Path) -> list[CaseFiles]:
    """Put a segmentation to its images where the two lie in folders of their own, such as `images` and `labels`.

    Only where it is plain which belong together: one folder has nothing of a case but its segmentation, and one other
    has images and no segmentation.
    """
    by_case: dict[tuple[str, str], list[CaseFiles]] = defaultdict(list)
    for group in groups:
        by_case[group.family, group.case.lower()].append(group)
    joined: list[CaseFiles] = []
    for sisters in by_case.values():
        labels = [group for group in sisters if set(group.found) == {"seg"}]
        images = [group for group in sisters if "seg" not in group.found]
        if len(sisters) != 2 or len(labels) != 1 or len(images) != 1:
            joined += sisters
            continue
        (label,), (image,) = labels, images
        image.found["seg"] = label.found["seg"]
        names = ", ".join(path.name for path in label.found["seg"])
        where = label.folder.relative_to(root).as_posix()
        image.notes += [*label.notes, f"{names}: the segmentation, in another folder ({where})"]
        joined.append(image)
    return joined
