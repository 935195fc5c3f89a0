"""One case's files as arrays: every check of a case's content stands here, and everything after it trusts its input."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.data.alignment import (
    LEAST_COVERAGE,
    RESAMPLED,
    coverage,
    on_one_grid,
    reference_modality,
    resample_by_header,
)
from brats_lightning.data.case import Case, Volume4D
from brats_lightning.data.pictures import cure_of, is_picture, read_picture, read_picture_mask, shows_whole_head
from brats_lightning.errors import DatasetError, Problem
from brats_lightning.labels import EDITIONS, LABELS, MODALITIES, WHOLE, Modality
from brats_lightning.nifti import Grid, UnreadableVolumeError, Volume, read_labels, read_volume

LARGEST = 1e30
"""A voxel beyond it could not be told from infinity in single precision once it was scaled."""


@dataclass(frozen=True, eq=False)
class CaseVolumes:
    """What the files of one case hold, in RAS axis order.

    Args:
        image: (C, X, Y, Z) float32, channels in the order asked for; background 0.
        brain: (X, Y, Z) boolean: voxels where any modality differs from its background.
        label: (X, Y, Z) uint8 with the labels of `labels.LABELS`, None for an unlabelled case.
        grid: Of these arrays.
        native: Grid of `reference_file`.
        notes: Harmless oddities, in words.
    """

    image: npt.NDArray[np.float32]
    brain: npt.NDArray[np.bool_]
    label: npt.NDArray[np.uint8] | None
    grid: Grid
    native: Grid
    notes: tuple[str, ...]


def reference_file(case: Case, *, modalities: Sequence[Modality] = MODALITIES, align: bool = False) -> Path:
    """The file whose grid is the case's own: what is written for the case takes its place in the world from there."""
    file = case.images[reference_modality(modalities, align=align)]
    return file.path if isinstance(file, Volume4D) else file


def read_case(case: Case, *, modalities: Sequence[Modality] = MODALITIES, align: bool = False) -> CaseVolumes:
    """Read and check one case.

    Args:
        case: From `find_cases`.
        modalities: Channels of the image.
        align: Resample images that lie on other grids to that of `reference_file` by their headers, and note it,
            instead of refusing them. A label must lie on it.

    Raises:
        DatasetError: Everything that is wrong with the case, not the first thing alone.
    """
    problems: list[Problem] = []
    notes = list(case.notes)
    volumes: dict[Modality, Volume] = {}
    read = cache(_read_file)  # a 4-D file holds several modalities
    for modality in modalities:
        file = case.images[modality]
        try:
            volume = _read_image(file, read)
            _require_content(volume.array)
        except UnreadableVolumeError as error:
            problems.append(Problem(case.id, _name(file), str(error), cure_of(error)))
        else:
            notes += [_of_file(case, file, quirk) for quirk in volume.quirks]
            volumes[modality] = volume
    label = None
    if case.label is not None:
        label = _read_label(case, case.label, problems, notes)
    if volumes:
        reference = reference_modality(list(volumes), align=align)
        problems += _grid_problems(case, volumes, label, reference, align=align)
    if problems:
        raise DatasetError(problems)
    native = volumes[reference].grid
    if align:
        _align(case, volumes, reference, notes)
    return _assemble(case, volumes, label, native, notes)


def read_reference(case: Case) -> npt.NDArray[np.uint8]:
    """The expert's labels (X, Y, Z) as inside the program, in RAS order, of a case that `read_case` has accepted."""
    if case.label is None:
        raise ValueError(f"{case.id} has no segmentation")
    stored = _read_labels(case.label)
    return Volume(EDITIONS[case.edition].decode(stored.array), stored.grid).ras().array


def _name(file: Path | Volume4D) -> str:
    return f"{file.path.name} channel {file.channel}" if isinstance(file, Volume4D) else file.name


def _of_file(case: Case, file: Path | Volume4D, note: str) -> str:
    """A note with the name of its file, which a picture that is the whole case does not need."""
    return note if isinstance(file, Path) and is_picture(file) and len(case.files) == 1 else f"{_name(file)}: {note}"


def _read_file(path: Path) -> Volume:
    return read_picture(path) if is_picture(path) else read_volume(path)


def _read_labels(path: Path) -> Volume:
    return read_picture_mask(path) if is_picture(path) else read_labels(path)


def _read_image(file: Path | Volume4D, read: Callable[[Path], Volume]) -> Volume:
    volume = read(file.path if isinstance(file, Volume4D) else file)
    if not isinstance(file, Volume4D):
        return _three_dimensional(volume)
    if volume.array.ndim != 4 or volume.array.shape[3] <= file.channel:
        raise UnreadableVolumeError(f"expected a fourth axis with channel {file.channel}, found {volume.array.shape}")
    return Volume(volume.array[..., file.channel], volume.grid, volume.quirks)


def _three_dimensional(volume: Volume) -> Volume:
    if volume.array.ndim != 3:
        raise UnreadableVolumeError(f"expected three dimensions, found shape {volume.array.shape}")
    return volume


def _require_content(array: npt.NDArray[Any]) -> None:
    if array.dtype.kind == "f" and (bad := array.size - np.count_nonzero(np.isfinite(array))):
        raise UnreadableVolumeError(f"{bad} voxels are NaN or infinite")
    lowest, highest = float(array.min()), float(array.max())
    if max(-lowest, highest) > LARGEST:
        raise UnreadableVolumeError(f"voxels from {lowest:.3g} to {highest:.3g}, which no scanner gives")
    if lowest == highest:
        raise UnreadableVolumeError(f"an empty image: every voxel is {array.flat[0]:g}")


def _read_label(case: Case, path: Path, problems: list[Problem], notes: list[str]) -> Volume | None:
    edition = EDITIONS[case.edition]
    try:
        stored = _three_dimensional(_read_labels(path))
        decoded = edition.decode(stored.array)
    except UnreadableVolumeError as error:
        problems.append(Problem(case.id, path.name, str(error), cure_of(error)))
        return None
    except ValueError as error:
        cure = "check the file; if the whole folder is of another edition, say so with `edition`"
        problems.append(Problem(case.id, path.name, str(error), cure))
        return None
    if decoded.all():
        problems.append(
            Problem(
                case.id,
                path.name,
                "every voxel is labelled as tumour",
                "replace the file: it is no segmentation",
            )
        )
        return None
    notes += [_of_file(case, path, quirk) for quirk in stored.quirks]
    return Volume(decoded, stored.grid)


def _grid_problems(
    case: Case, volumes: dict[Modality, Volume], label: Volume | None, reference: Modality, *, align: bool
) -> list[Problem]:
    """Every volume must lie on the grid of the reference, or images that can be aligned show the same place."""
    wanted, its_name = volumes[reference].grid, _name(case.images[reference])
    cure = "co-register the files and resample them to one grid"
    problems = []
    for modality, volume in volumes.items():
        if on_one_grid(volume.grid, wanted):
            continue
        name = _name(case.images[modality])
        if not align:
            by_header = f"{cure}, or, to predict, resample them by their headers with --align header"
            problems.append(Problem(case.id, name, _apart(volume.grid, its_name, wanted), by_header))
        elif (share := coverage(volume.grid, wanted)) < LEAST_COVERAGE:
            what = f"by its header it shows {share:.0%} of the place that {its_name} shows, too little to align them"
            problems.append(Problem(case.id, name, what, cure))
    if label is not None and case.label is not None and not on_one_grid(label.grid, wanted):
        problems.append(Problem(case.id, case.label.name, _apart(label.grid, its_name, wanted), cure))
    return problems


def _apart(grid: Grid, reference_name: str, reference: Grid) -> str:
    distance = grid.ras().distance_mm(reference.ras())
    apart = f", {distance:.3g} mm apart" if np.isfinite(distance) else ""
    return f"its grid ({grid}) is not that of {reference_name} ({reference}){apart}"


def _align(case: Case, volumes: dict[Modality, Volume], reference: Modality, notes: list[str]) -> None:
    """Put the volumes that lie on other grids onto that of the reference, and note it."""
    wanted, its_name = volumes[reference].grid, _name(case.images[reference])
    for modality, volume in volumes.items():
        if on_one_grid(volume.grid, wanted):
            continue
        missing = 1 - coverage(volume.grid, wanted)
        beside = f", {missing:.1%} of which lies outside its field of view" if missing else ""
        notes.append(f"{_name(case.images[modality])}: {RESAMPLED} onto the grid of {its_name}{beside}")
        background = background_value(volume.array) or 0.0
        volumes[modality] = resample_by_header(volume, wanted, background=background)


def _assemble(
    case: Case,
    volumes: dict[Modality, Volume],
    label: Volume | None,
    native: Grid,
    notes: list[str],
) -> CaseVolumes:
    grid = native.ras()
    # As in the files, x runs fastest: reordering the axes would cost as much as decompressing.
    image = np.empty((len(volumes), *grid.shape[::-1]), np.float32).transpose(0, 3, 2, 1)
    brain = np.zeros(grid.shape[::-1], np.bool_).transpose()
    for channel, (modality, volume) in enumerate(volumes.items()):
        array = volume.ras().array
        file = case.images[modality]
        heads = isinstance(file, Path) and shows_whole_head(file)
        background = None if heads else background_value(array)
        if background is None:
            if not heads:
                notes.append(_of_file(case, file, "no constant background, the whole image counts as brain"))
            brain[:] = True
            image[channel] = array
            continue
        brain |= array != background
        if not background:
            image[channel] = array
        else:
            np.subtract(array, background, out=image[channel], casting="unsafe")
            notes.append(_of_file(case, file, f"background {background:.4g}, shifted to 0"))
    labels = None
    if label is not None:
        labels = np.empty_like(brain, np.uint8)  # in the order of the others, which makes their comparison fast
        labels[:] = label.ras().array
        notes += _label_notes(labels, brain)
    return CaseVolumes(image, brain, labels, grid, native, tuple(notes))


def background_value(array: npt.NDArray[Any]) -> float | None:
    """The constant around a skull-stripped brain: what most voxels of the six faces of an (X, Y, Z) image hold.

    Usually 0, but some files were z-scored with their background. None where no value fills half of the faces.
    """
    faces = np.concatenate([np.moveaxis(array, axis, 0)[end].ravel() for axis in range(3) for end in (0, -1)])
    middle = np.partition(faces, faces.size // 2)[faces.size // 2]  # a value that fills half of them is their median
    return float(middle) if np.count_nonzero(faces == middle) * 2 >= faces.size else None


def _label_notes(labels: npt.NDArray[np.uint8], brain: npt.NDArray[np.bool_]) -> list[str]:
    notes = []
    if not labels.any():
        notes.append("the segmentation is empty")
    elif not ((labels == LABELS["ET"]) | (labels == WHOLE)).any():
        notes.append("no enhancing tumour")
    if outside := np.count_nonzero((labels != 0) & ~brain):
        notes.append(f"{outside} labelled voxels where all images are background")
    return notes
