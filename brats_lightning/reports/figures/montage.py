"""A picture of a case slice by slice across its tumour, reference and prediction on one another."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from brats_lightning.labels import Plane, label_values
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
from brats_lightning.reports.figures.planes import VIEWS, Array, Extent, View, foreground_box, views_of, windowed
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
    view = _view(plane, image.shape)
    box = foreground_box(image[None], spacing_mm)
    grey = windowed(image, box)
    given = {REFERENCE: reference, PREDICTION: prediction}
    segmentations = {name: labels[box] for name, labels in given.items() if labels is not None}
    shown = across(list(segmentations.values()) or [grey > 0], axis=view.axis, count=slices)
    extent = view.extent_mm(grey.shape, spacing_mm)
    columns, rows = layout(len(shown), extent)
    apart_mm = (shown[1] - shown[0]) * spacing_mm[view.axis] if placed and len(shown) > 1 else None
    said = _slices(len(shown), view.name if placed else "", apart_mm)
    about = remarks(given, spacing_mm=spacing_mm, tilt_degrees=tilt_degrees, placed=placed)
    notes = [f"{TITLES.get(modality, modality)}, {said}", *about]
    figure, cells = canvas([extent] * columns, rows=rows, title=title, notes=notes, key=_key(segmentations), headings=0)
    panels = [axes for row in cells for axes in row][: len(shown)]
    for axes, index in zip(panels, shown, strict=True):
        cuts = {name: view.cut(labels, index) for name, labels in segmentations.items()}
        _draw_slice(axes, view.cut(grey, index), cuts, extent, number=box[view.axis].start + index)
    if placed:
        _place(panels, view)
    save(figure, path)


def _draw_slice(axes: Axes, grey: Array, segmentations: Mapping[str, Array], extent_mm: Extent, *, number: int) -> None:
    draw_plane(axes, grey, extent_mm)
    for name, labels in segmentations.items():
        draw_labels(axes, labels, extent_mm, fill=0, dashed=name == PREDICTION)
    axes.text(0.03, 0.97, str(number), transform=axes.transAxes, color=FAINT, fontsize=9, va="top")


def _view(plane: Plane, shape: Sequence[int]) -> View:
    """The one that was asked for, unless a volume of one slice has but another."""
    possible = views_of(shape)
    return VIEWS[plane] if VIEWS[plane] in possible else possible[0]


def _slices(count: int, plane: str, apart_mm: float | None) -> str:
    """What is shown: `axial slices, 8 mm apart`."""
    said = " ".join(filter(None, (plane, "slices" if count > 1 else "slice")))
    return said if apart_mm is None else f"{said}, {apart_mm:.3g} mm apart"


def _place(panels: Sequence[Axes], view: View) -> None:
    """Name the directions, in full once, and draw the scale."""
    for number, axes in enumerate(panels):
        mark(axes, view, edges=1 if number else 4)
    scale_bar(panels[-1])


def layout(count: int, extent_mm: Extent) -> tuple[int, int]:
    """Columns and rows of that many panels, so that the whole is about `BREADTH` as wide as it is high.

    Example:
        >>> layout(12, (150.0, 180.0)), layout(1, (150.0, 180.0))
        ((4, 3), (1, 1))
    """
    width, height = extent_mm
    wanted = min(count, max(1, round(math.sqrt(count * BREADTH * height / width))))
    rows = math.ceil(count / wanted)
    return math.ceil(count / rows), rows


def _key(segmentations: Mapping[str, Array]) -> list[Artist]:
    """Signs of the kinds of outlines and of their colours."""
    if not segmentations:
        return []
    values = set().union(*map(label_values, segmentations.values()))
    return [*(line_key(name, dashed=name == PREDICTION) for name in segmentations), *region_key(values, short=True)]


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
