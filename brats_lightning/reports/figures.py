"""Pictures of a case: its modalities and segmentations in three planes, in the orientation radiologists read.

The patient's right is on the left of the picture; the sagittal view has the face on the left.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from brats_lightning.labels import LABELS, MODALITIES, TISSUES, WHOLE

REGION_COLOURS: Mapping[str, str] = {
    "ET": "#F0E442", "ED": "#56B4E9", "NCR": "#D55E00", "RC": "#009E73", "CC": "#CC79A7",
    "WT": "#0072B2", "TC": "#E69F00",
}  # fmt: skip
"""A region's colour in every picture, told apart by every eye (Okabe and Ito, Color Universal Design, 2008)."""

TITLES = {"t1n": "T1", "t1c": "T1 contrast", "t2w": "T2", "t2f": "FLAIR"}
REGION_TITLES = {
    "ET": "ET  enhancing tumour", "ED": "ED  oedema", "NCR": "NCR  necrotic core", "WT": "WT  whole tumour",
}  # fmt: skip
OUTSIDE_IN: Mapping[str, int] = {"WT": WHOLE, **{name: LABELS[name] for name in ("ED", "RC", "CC", "ET", "NCR")}}
"""What is drawn, with its label, in this order: tumour of no stated tissue has the colour of the whole tumour."""
BACKGROUND, TEXT, FAINT = "#000000", "#F2F4F7", "#9AA4B2"
FILL_OPACITY = 0.35
MARGIN_MM, SCALE_BAR_MM, MM_PER_INCH = 9.0, 50.0, 62.0
LEFT, BOTTOM, TOP, GAP = 0.34, 0.46, 0.82, 0.04
"""Inches beside, below, above and between the panels."""
Array = npt.NDArray[Any]
Extent = tuple[float, float]


@dataclass(frozen=True)
class View:
    """A plane through a volume in RAS order; its horizontal axis runs against its index.

    Args:
        name: Of the plane.
        axis: Across the plane.
        marks: Letters at left, right, bottom and top.
    """

    name: str
    axis: int
    marks: str

    def cut(self, volume: Array, centre: Sequence[int]) -> Array:
        """The plane through `centre` as (rows, columns), the first row at the bottom."""
        plane: Array = np.take(volume, centre[self.axis], axis=self.axis).T[:, ::-1]
        return plane


AXIAL, CORONAL, SAGITTAL = View("axial", 2, "RLPA"), View("coronal", 1, "RLIS"), View("sagittal", 0, "APIS")


def overlay(
    image: Array,
    label: Array,
    *,
    spacing_mm: Sequence[float],
    path: Path,
    title: str,
    prediction: Array | None = None,
    modalities: Sequence[str] = MODALITIES,
) -> None:
    """Draw a case: a row of bare images, one with the reference, and one with the prediction if given.

    Args:
        image: (4, X, Y, Z), axes growing right, anterior and superior.
        label: (X, Y, Z) integers as inside the program; without a tumour the middle slices are shown.
        spacing_mm: Distance between voxels along each axis, in mm.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything.
        prediction: (X, Y, Z) integers to compare with the reference.
        modalities: Names of the image's channels in their order.
    """
    box = foreground_box(image, spacing_mm)
    grey = np.stack([windowed(channel, box) for channel in image])
    segmentations = {"reference": label[box]} | ({} if prediction is None else {"prediction": prediction[box]})
    centre = _centre(segmentations.values(), grey.shape[1:])
    names = [TITLES.get(name, name) for name in modalities]
    best = names.index("FLAIR") if "FLAIR" in names else 0  # the whole tumour is bright on FLAIR
    panels = [(AXIAL, channel, name) for channel, name in enumerate(names)]
    panels += [(view, best, f"{names[best]}, {view.name}") for view in (CORONAL, SAGITTAL)]
    lengths_mm = np.multiply(grey.shape[1:], spacing_mm)
    extents = [(float(w), float(h)) for w, h in (np.delete(lengths_mm, view.axis) for view, _, _ in panels)]

    figure, cells = canvas(extents, rows=1 + len(segmentations))
    for column, (view, channel, name) in enumerate(panels):
        for row, segmentation in zip(cells, [None, *segmentations.values()], strict=True):
            colours = None if segmentation is None else view.cut(segmentation, centre)
            draw(row[column], view.cut(grey[channel], centre), colours, extents[column])
        cells[0][column].set_title(name, color=TEXT, fontsize=12, pad=7)
        mark(cells[0][column], view)
    for row, name in zip(cells, ["image", *segmentations], strict=True):
        row[0].set_ylabel(name, color=FAINT, fontsize=11)
    scale_bar(cells[0][len(image) - 1])
    caption(figure, title, set(np.unique(np.stack(list(segmentations.values()))).tolist()))
    figure.savefig(path, dpi=130, facecolor=BACKGROUND)


def foreground_box(image: Array, spacing_mm: Sequence[float]) -> tuple[slice, slice, slice]:
    """Bounding box of what differs from the corner's value, with a margin."""
    foreground = (image != image[:, :1, :1, :1]).any(axis=0)
    box = []
    for axis, spacing in enumerate(spacing_mm):
        inside = np.flatnonzero(foreground.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (inside[0], inside[-1]) if inside.size else (0, foreground.shape[axis] - 1)
        margin = round(MARGIN_MM / spacing)
        box.append(slice(max(0, int(first) - margin), int(last) + 1 + margin))
    return box[0], box[1], box[2]


def windowed(channel: Array, box: tuple[slice, slice, slice]) -> Array:
    """Grey values from 0 to 1 inside a box, the background black."""
    cropped = channel[box].astype(np.float32)
    foreground = channel[box] != channel[0, 0, 0]
    if not foreground.any():
        return np.zeros_like(cropped)
    low, high = np.percentile(cropped[foreground][::7], (0.5, 99.7))
    return np.where(foreground, np.clip((cropped - low) / max(high - low, 1e-6), 0, 1), 0)


def _centre(segmentations: Iterable[Array], shape: Sequence[int]) -> tuple[int, ...]:
    """The plane across each axis with the most tumour, of the first segmentation that has one."""
    for segmentation in segmentations:
        if segmentation.any():
            areas = (np.count_nonzero(segmentation, axis=tuple({0, 1, 2} - {axis})) for axis in range(3))
            return tuple(int(area.argmax()) for area in areas)
    return tuple(size // 2 for size in shape)


def canvas(extents_mm: Sequence[Extent], *, rows: int) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows of axes of equal height, all on one scale of mm to the inch."""
    widths = [width / MM_PER_INCH for width, _ in extents_mm]
    tallest_mm = max(height for _, height in extents_mm)
    height = tallest_mm / MM_PER_INCH
    total = (LEFT + sum(widths) + GAP * len(widths), BOTTOM + TOP + height * rows + GAP * (rows - 1))
    figure = Figure(figsize=total, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    cells: list[list[Axes]] = [[] for _ in range(rows)]
    for row, cell in enumerate(cells):
        left, bottom = LEFT, BOTTOM + (rows - 1 - row) * (height + GAP)
        for width, (_, height_mm) in zip(widths, extents_mm, strict=True):
            place = (left / total[0], bottom / total[1], width / total[0], height / total[1])
            axes = figure.add_axes(place, facecolor=BACKGROUND, xticks=[], yticks=[], autoscale_on=False)
            axes.set(xlim=(0, width * MM_PER_INCH), ylim=np.array([-0.5, 0.5]) * tallest_mm + height_mm / 2)
            axes.spines[:].set_visible(False)
            cell.append(axes)
            left += width + GAP
    return figure, cells


def draw(axes: Axes, plane: Array, segmentation: Array | None, extent_mm: Extent) -> None:
    """Draw a plane in grey, and fill and outline the labels of its segmentation."""
    width, height = extent_mm
    extent = (0.0, width, 0.0, height)
    axes.imshow(plane, cmap="gray", vmin=0, vmax=1, origin="lower", extent=extent, interpolation="bicubic")
    if segmentation is None:
        return
    rows, columns = ((np.arange(-1, n + 1) + 0.5) / n for n in segmentation.shape)  # padded: outlines close
    fill = np.zeros((*segmentation.shape, 4))
    for name, value in OUTSIDE_IN.items():  # neighbours share a border: the inner outline is drawn last, on top
        mask = segmentation == value
        if mask.any():
            fill[mask] = to_rgba(REGION_COLOURS[name], FILL_OPACITY)
            padded = np.pad(mask, 1).astype(float)
            axes.contour(columns * width, rows * height, padded, [0.5], colors=REGION_COLOURS[name], linewidths=1.0)
    axes.imshow(fill, origin="lower", extent=extent, interpolation="nearest")


def mark(axes: Axes, view: View) -> None:
    """Name the directions at the four edges."""
    for letter, (x, y) in zip(view.marks, ((0.03, 0.5), (0.97, 0.5), (0.5, 0.03), (0.5, 0.97)), strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, color=FAINT, fontsize=9, ha="center", va="center")


def scale_bar(axes: Axes) -> None:
    """Draw a bar of 5 cm at the right of the bottom."""
    right, bottom = axes.get_xlim()[1] - 3, axes.get_ylim()[0] + 4
    axes.plot([right - SCALE_BAR_MM, right], [bottom] * 2, color=TEXT, linewidth=2, solid_capstyle="butt")
    axes.text(
        right - SCALE_BAR_MM / 2, bottom + 2, f"{SCALE_BAR_MM:g} mm", color=TEXT, fontsize=8, ha="center", va="bottom"
    )


def caption(figure: Figure, title: str, values: set[int]) -> None:
    """Write the title above, and below the legend: whatever was found, and the three tissues unless it is masks."""
    width, height = figure.get_size_inches().tolist()
    figure.text(LEFT / width, 1 - 0.27 / height, title, color=TEXT, fontsize=15, va="center")
    found = [name for name, value in OUTSIDE_IN.items() if value in values]
    always = () if found == ["WT"] else TISSUES
    names = [*always, *(name for name in found if name not in always)]
    fills = [to_rgba(REGION_COLOURS[name], FILL_OPACITY) for name in names]
    patches = [
        Patch(facecolor=fill, edgecolor=REGION_COLOURS[name], label=REGION_TITLES.get(name, name))
        for fill, name in zip(fills, names, strict=True)
    ]
    legend = figure.legend(handles=patches, loc="lower left", ncols=len(names), frameon=False, labelcolor=TEXT)
    legend.set_bbox_to_anchor(((LEFT - 0.1) / width, 0))
