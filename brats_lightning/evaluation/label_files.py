"""Label maps that anybody wrote: which file of a folder belongs to which case, and what it holds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.data.naming import MODALITY_OF_NAME, group_files, recognise, walk
from brats_lightning.errors import ConfigError, DatasetError, Problem
from brats_lightning.labels import label_values
from brats_lightning.nifti import Grid, UnreadableVolumeError, Volume, read_labels

_ENDING = re.compile(r"\.(?:nii|nii\.gz|mha)$", re.IGNORECASE)
_WORDS = r"(?:seg|segmentation|pred\w*|labels?|gt)"
_LABEL_SUFFIX = re.compile(rf"[-_.]{_WORDS}$", re.IGNORECASE)
_LABEL_NAME = re.compile(_WORDS, re.IGNORECASE)
_IMAGE_SUFFIX = re.compile(rf"[-_.](?:{'|'.join(MODALITY_OF_NAME)}|t1gd)$", re.IGNORECASE)
_DECATHLON_CASE = re.compile(r"BRATS_\d{3}", re.IGNORECASE)
_DECATHLON_IMAGES = {"imagesTr", "imagesTs"}
_WRITE_AGAIN = "write it again as one 3-D map of whole-number labels"


@dataclass(frozen=True)
class LabelFile:
    """A file by its name.

    Args:
        case: Whose label map it is.
        path: Of the file.
        family: Editions that name cases this way, as in `data.naming`, or `MSD`; empty for names of one's own.
    """

    case: str
    path: Path
    family: str


@dataclass(frozen=True, eq=False)
class LabelMap:
    """What a file holds.

    Args:
        file: Which one.
        grid: Of its voxels.
        values: Labels that occur, background left out.
    """

    file: LabelFile
    grid: Grid
    values: frozenset[int]


def find_label_files(root: Path, *, beside_images: bool) -> tuple[dict[str, LabelFile], list[Problem]]:
    """Label maps below a folder by the lower-case id of their case.

    Files are `<case>.nii.gz`, `<case>_seg`, `<case>-seg`, `<case>_pred…`, or `seg.nii.gz` in a folder named like the
    case; `.nii` and `.mha` too, in nested case folders or all in one. Files named after a modality are images.

    Args:
        root: Searched with all its folders.
        beside_images: Where a file of a folder is named as a segmentation, those not named so are none.

    Returns:
        The files; cases that have several, and folders that cannot be read.

    Raises:
        ConfigError: The folder is not there.
        DatasetError: It holds no label map.
    """
    if not root.is_dir():
        raise ConfigError(f"no folder {root}: expected one of NIfTI label maps")
    problems: list[Problem] = []
    found: dict[str, list[LabelFile]] = {}
    for file in _files(root, beside_images, problems):
        found.setdefault(file.case.lower(), []).append(file)
    if not found:
        cure = "expected files such as <case>.nii.gz or <case>_seg.nii.gz"
        raise DatasetError([*problems, Problem(str(root), "", "no label map in this folder", cure)])
    for files in found.values():
        if len(files) > 1:
            names = ", ".join(str(file.path.relative_to(root)) for file in files)
            problems.append(Problem(files[0].case, names, "several label maps for one case", "keep one of them"))
    return {case: files[0] for case, files in found.items() if len(files) == 1}, problems


def read_label_map(path: Path) -> Volume:
    """Read one label map.

    Raises:
        UnreadableVolumeError: No readable file of whole numbers on three axes, or one labelled all over.
    """
    volume = read_labels(path)
    if volume.array.ndim != 3:
        raise UnreadableVolumeError(f"expected three dimensions, found shape {volume.array.shape}")
    if volume.array.all():
        raise UnreadableVolumeError("every voxel is labelled, there is no background")
    return volume


def inspect(file: LabelFile) -> LabelMap | Problem:
    """Read a file and keep what tells its edition and its place, or say why it cannot be read."""
    try:
        volume = read_label_map(file.path)
    except UnreadableVolumeError as error:
        return Problem(file.case, file.path.name, str(error), _WRITE_AGAIN)
    return LabelMap(file, volume.grid, frozenset(label_values(volume.array) - {0}))


def _files(root: Path, beside_images: bool, problems: list[Problem]) -> Iterator[LabelFile]:
    groups, _ = group_files(root)
    known = {path for group in groups for paths in group.found.values() for path in paths}
    segmentations = [LabelFile(group.case, path, group.family) for group in groups for path in group.found["seg"]]
    yield from segmentations
    named = {file.path.parent for file in segmentations}
    for folder, _, names in walk(root, problems):
        if folder.name in _DECATHLON_IMAGES:
            continue
        stems = {name: _ENDING.sub("", name) for name in names if _ENDING.search(name) and not name.startswith(".")}
        as_label = {name for name, stem in stems.items() if _LABEL_SUFFIX.search(stem) or _LABEL_NAME.fullmatch(stem)}
        only_named = beside_images and bool(as_label or folder in named)
        for name, stem in stems.items():
            is_image = _IMAGE_SUFFIX.search(stem) or (only_named and name not in as_label)
            if folder / name not in known and not is_image:
                case = _case(stem, folder, root)
                yield LabelFile(case, folder / name, _family(case))


def _case(stem: str, folder: Path, root: Path) -> str:
    """`BraTS2021_00001_pred` is of that case, and so is `BraTS2021_00001/pred`."""
    if _LABEL_NAME.fullmatch(stem) and folder != root:
        return folder.name
    return _LABEL_SUFFIX.sub("", stem)


def _family(case: str) -> str:
    for name in (f"{case}_seg.nii", f"{case}-seg.nii"):
        if recognised := recognise(Path(), name):
            return recognised[0]
    return "MSD" if _DECATHLON_CASE.fullmatch(case) else ""
