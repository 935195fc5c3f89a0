"""Pictures of a case slice by slice: each modality bare and with its segmentations, as radiologists look at it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from brats_lightning.labels import MODALITIES
from brats_lightning.reports.figures.canvas import (
    TITLES,
    canvas,
    draw_labels,
    draw_plane,
    mark,
    region_key,
    scale_bar,
)
from brats_lightning.reports.figures.colours import FAINT, TEXT
from brats_lightning.reports.figures.planes import AXIAL, Array, foreground_box, windowed
from brats_lightning.reports.figures.remarks import remarks
from brats_lightning.reports.figures.style import save

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

    An image of one modality is drawn as one row a slice, its segmentations beside it.

    Args:
        image: (C, X, Y, Z), axes growing right, anterior and superior; Z may be 1.
        segmentations: Each (X, Y, Z) integers as inside the program, by its name; the first that has a tumour says
            which slices are drawn.
        spacing_mm: Distance between voxels along each axis, in mm.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything.
        modalities: Names of the image's channels in their order.
        slices: How many at most, those with the most tumour.
        tilt_degrees: Of the grid against the patient's axes, from `planes.tilt_degrees`.
        placed: Whether directions and spacing are those of the patient, and may be marked.
    """
    x, y, _ = foreground_box(image, spacing_mm)
    grey = np.stack([windowed(channel, (x, y, slice(None))) for channel in image])
    labels = {name: segmentation[x, y] for name, segmentation in segmentations.items()}
    chosen = slices_with_most(list(labels.values()), count=slices, spacing_mm=spacing_mm[2])
    names = [TITLES.get(name, name) for name in modalities]
    extent = AXIAL.extent_mm(grey.shape[1:], spacing_mm)
    kinds: list[tuple[str, Array | None]] = [("image", None), *labels.items()]
    beside = len(names) == 1
    figure, cells = canvas(
        [extent] * (len(kinds) if beside else len(names)),
        rows=len(chosen) * (1 if beside else len(kinds)),
        title=title,
        notes=remarks(segmentations, spacing_mm=spacing_mm, tilt_degrees=tilt_degrees, placed=placed),
        key=region_key({value for each in labels.values() for value in np.unique(each).tolist()}),
    )
    for row, index in enumerate(chosen):
        for column, (kind, segmentation) in enumerate(kinds):
            panels = [cells[row][column]] if beside else cells[row * len(kinds) + column]
            for axes, channel in zip(panels, grey, strict=True):
                draw_plane(axes, AXIAL.cut(channel, index), extent)
                if segmentation is not None:
                    draw_labels(axes, AXIAL.cut(segmentation, index), extent)
            where = f"slice {index}" if grey.shape[3] > 1 else ""
            panels[0].set_ylabel(where if beside else " · ".join(filter(None, (kind, where))), color=FAINT, fontsize=11)
            if column == 0 and placed:
                mark(panels[0], AXIAL)
    headings = [f"{names[0]}, {kind}" if kind == "image" else kind for kind, _ in kinds] if beside else names
    for axes, heading in zip(cells[0], headings, strict=True):
        axes.set_title(heading, color=TEXT, fontsize=12, pad=7)
    if placed:
        scale_bar(cells[0][-1])
    save(figure, path)


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
