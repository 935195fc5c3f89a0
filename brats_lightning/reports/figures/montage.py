"""A picture of a case slice by slice across its tumour, reference and prediction on one another."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from brats_lightning.labels import Plane
from brats_lightning.reports.figures.canvas import (
    TITLES,
    canvas,
    draw_labels,
    draw_plane,
    line_key,
    mark,
    region_key,
    scale_bar,
)
from brats_lightning.reports.figures.colours import FAINT
from brats_lightning.reports.figures.planes import VIEWS, Array, foreground_box, views_of, windowed
from brats_lightning.reports.figures.remarks import PREDICTION, REFERENCE, remarks
from brats_lightning.reports.figures.style import save

BREADTH = 1.7
"""Width of the picture for a height of 1, about."""


def draw_montage(
    image: Array,
    *,
    spacing_mm: Sequence[float],
    path: Path,
    title: str,
    reference: Array | None = None,
    prediction: Array | None = None,
    modality: str = "t2f",
    plane: Plane = "axial",
    slices: int = 12,
    tilt_degrees: float = 0.0,
    placed: bool = True,
) -> None:
    """Draw slices at equal distances from one end of the tumour to the other, each with both outlines.

    Args:
        image: (X, Y, Z) of one modality, axes growing right, anterior and superior.
        spacing_mm: Distance between voxels along each axis, in mm.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything: the case and the run.
        reference: (X, Y, Z) integers as inside the program; its outlines are whole.
        prediction: The same; its outlines are dashed.
        modality: Name of the image's.
        plane: Of the slices; that of a volume of one slice is its own.
        slices: How many at most.
        tilt_degrees: Of the grid against the patient's axes, from `planes.tilt_degrees`.
        placed: Whether directions and spacing are those of the patient, and may be marked.
    """
    possible = views_of(image.shape)
    view = VIEWS[plane] if VIEWS[plane] in possible else possible[0]
    box = foreground_box(image[None], spacing_mm)
    grey = windowed(image, box)
    given = {REFERENCE: reference, PREDICTION: prediction}
    segmentations = {name: labels[box] for name, labels in given.items() if labels is not None}
    shown = across(list(segmentations.values()) or [grey > 0], axis=view.axis, count=slices)
    first = box[view.axis].start
    extent = view.extent_mm(grey.shape, spacing_mm)
    columns = min(len(shown), max(1, round(math.sqrt(len(shown) * BREADTH * extent[1] / extent[0]))))
    rows = math.ceil(len(shown) / columns)
    columns = math.ceil(len(shown) / rows)
    apart = f", {(shown[1] - shown[0]) * spacing_mm[view.axis]:.3g} mm apart" if placed and len(shown) > 1 else ""
    shown_as = f"{view.name} " * placed + "slice" + "s" * (len(shown) > 1)
    values = {value for labels in segmentations.values() for value in np.unique(labels).tolist()}
    about = remarks(given, spacing_mm=spacing_mm, tilt_degrees=tilt_degrees, placed=placed)
    key = [line_key(name, dashed=name == PREDICTION) for name in segmentations]
    figure, cells = canvas(
        [extent] * columns,
        rows=rows,
        title=title,
        notes=[f"{TITLES.get(modality, modality)}, {shown_as}{apart}", *about],
        key=[*key, *region_key(values, short=True)] if segmentations else [],
        headings=0,
    )
    panels = [axes for row in cells for axes in row]
    for axes, index in zip(panels, shown, strict=False):
        draw_plane(axes, view.cut(grey, index), extent)
        for name, labels in segmentations.items():
            draw_labels(axes, view.cut(labels, index), extent, fill=0, dashed=name == PREDICTION)
        axes.text(0.03, 0.97, str(first + index), transform=axes.transAxes, color=FAINT, fontsize=9, va="top")
        if placed:
            mark(axes, view, edges=4 if index == shown[0] else 1)
    if placed:
        scale_bar(panels[len(shown) - 1])
    save(figure, path)


def across(masks: Sequence[Array], *, axis: int, count: int) -> list[int]:
    """Indices at equal distances from the first to the last plane that any of the masks (X, Y, Z) has.

    Example:
        >>> mask = np.zeros((2, 2, 40), bool)
        >>> mask[..., 10:31] = True
        >>> across([mask], axis=2, count=5)
        [10, 15, 20, 25, 30]
    """
    found = [np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for mask in masks]
    planes = np.concatenate(found)
    if not planes.size:
        return [masks[0].shape[axis] // 2]
    first, length = int(planes.min()), int(planes.max() - planes.min())
    if count == 1:
        return [first + length // 2]
    step = max(1, length // (count - 1))
    shown = min(count, length // step + 1)
    start = first + (length - step * (shown - 1)) // 2  # what is left over is left at both ends
    return list(range(start, start + step * shown, step))
