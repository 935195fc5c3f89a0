"""Pictures of a case slice by slice: each modality bare and with its segmentations, as radiologists look at it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from brats_lightning.labels import MODALITIES, label_values
from brats_lightning.reports.figures.canvas import TITLES
from brats_lightning.reports.figures.case_picture import CasePicture, Plane, as_grey, draw_case
from brats_lightning.reports.figures.planes import AXIAL, Array, foreground_box, windowed
from brats_lightning.reports.figures.remarks import remarks

APART_MM = 8.0
"""Least distance of two slices of a picture: neighbours look alike."""


def overlay_slices(
    image: Array,
    segmentations: Mapping[str, Array],
    *,
    spacing_mm: Sequence[float],
    path: Path,
    title: str,
    modalities: Sequence[str] = MODALITIES,
    slices: int = 2,
    tilt_degrees: float = 0.0,
    placed: bool = True,
) -> None:
    """Draw axial slices of a case: rows of bare images, and below each a row a segmentation.

    Args:
        image: (C, X, Y, Z), axes growing right, anterior and superior; Z may be 1.
        segmentations: Each (X, Y, Z) integers as inside the program, by its name.
        spacing_mm: Distance between voxels along each axis, in mm.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything.
        modalities: Names of the image's channels in their order.
        slices: How many at most.
        tilt_degrees: Of the grid against the patient's axes.
        placed: Whether directions and spacing are those of the patient.
    """
    picture = slices_of_case(
        image,
        segmentations,
        spacing_mm=spacing_mm,
        modalities=modalities,
        slices=slices,
        tilt_degrees=tilt_degrees,
        placed=placed,
    )
    draw_case(picture, path=path, title=title)


def slices_of_case(
    image: Array,
    segmentations: Mapping[str, Array],
    *,
    spacing_mm: Sequence[float],
    modalities: Sequence[str] = MODALITIES,
    slices: int = 2,
    tilt_degrees: float = 0.0,
    placed: bool = True,
) -> CasePicture:
    """Cut the slices out of a case that are drawn of it.

    An image of one modality is drawn as one row a slice, its segmentations beside it.

    Args:
        image: (C, X, Y, Z), axes growing right, anterior and superior; Z may be 1.
        segmentations: Each (X, Y, Z) integers as inside the program, by its name; the first that has a tumour says
            which slices are drawn.
        spacing_mm: Distance between voxels along each axis, in mm.
        modalities: Names of the image's channels in their order.
        slices: How many at most, those with the most tumour.
        tilt_degrees: Of the grid against the patient's axes, from `planes.tilt_degrees`.
        placed: Whether directions and spacing are those of the patient, and may be marked.
    """
    x, y, _ = foreground_box(image, spacing_mm)
    grey = np.stack([windowed(channel, (x, y, slice(None))) for channel in image])
    labels = {name: segmentation[x, y] for name, segmentation in segmentations.items()}
    names = [TITLES.get(name, name) for name in modalities]
    chosen = slices_with_most(list(labels.values()), count=slices, spacing_mm=spacing_mm[2])
    rows = [row for index in chosen for row in _rows(grey, labels, index, placed=placed)]
    kinds = ["image", *labels] if len(names) > 1 else [""]
    where = [f"slice {index}" if grey.shape[3] > 1 else "" for index in chosen]
    row_names = [" · ".join(filter(None, (kind, each))) for each in where for kind in kinds]
    headings = names if len(names) > 1 else [f"{names[0]}, image", *labels]
    return CasePicture(
        rows=rows,
        extents_mm=[AXIAL.extent_mm(grey.shape[1:], spacing_mm)] * len(headings),
        headings=headings,
        row_names=row_names,
        notes=remarks(segmentations, spacing_mm=spacing_mm, tilt_degrees=tilt_degrees, placed=placed),
        values=frozenset().union(*map(label_values, labels.values())),
        scaled=len(headings) - 1 if placed else None,
    )


def _rows(grey: Array, segmentations: Mapping[str, Array], index: int, *, placed: bool) -> list[list[Plane]]:
    """A slice of each channel (C, X, Y, Z) as a row, and below it a row a segmentation; of one channel all in one."""
    bare = [Plane(as_grey(AXIAL.cut(channel, index))) for channel in grey]
    cuts = [AXIAL.cut(labels, index).astype(np.uint8) for labels in segmentations.values()]
    labelled = [[replace(plane, labels=cut) for plane in bare] for cut in cuts]
    bare[0] = replace(bare[0], marked_as=AXIAL if placed else None)
    rows = [bare, *labelled]
    return rows if len(grey) > 1 else [[plane for (plane,) in rows]]


def slices_with_most(segmentations: Sequence[Array], *, count: int, spacing_mm: float) -> list[int]:
    """Indices along the last axis with the most tumour, in their order; the middle one where there is none.

    Args:
        segmentations: Each (X, Y, Z); the first that has a tumour decides.
        count: Of slices, at most.
        spacing_mm: Between slices; chosen ones are `APART_MM` apart at least.

    Example:
        >>> mask = np.zeros((4, 4, 40), np.uint8)
        >>> mask[:2, :2, 10:30], mask[:3, :3, 12] = 1, 1
        >>> slices_with_most([mask], count=2, spacing_mm=1)
        [12, 20]
    """
    for segmentation in segmentations:
        areas = np.count_nonzero(segmentation, axis=(0, 1))
        if not areas.any():
            continue
        chosen: list[int] = []
        for index in np.argsort(-areas, kind="stable").tolist():
            near = any(abs(index - other) * spacing_mm < APART_MM for other in chosen)
            if areas[index] and not near and len(chosen) < count:
                chosen.append(index)
        return sorted(chosen)
    return [segmentations[0].shape[2] // 2]
