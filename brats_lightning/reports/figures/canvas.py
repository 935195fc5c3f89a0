"""Black figures of panels on one scale of mm to the inch, and what is drawn into a panel."""

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from brats_lightning.reports.figures.colours import (
    BACKGROUND,
    FAINT,
    FILL_OPACITY,
    OUTSIDE_IN,
    REGION_COLOURS,
    REGION_TITLES,
    TEXT,
    regions_in_key,
)
from brats_lightning.reports.figures.planes import Array, Extent, View
from brats_lightning.reports.figures.style import (
    LETTER,
    LINE,
    TITLE_LINE,
    fitted,
    legend_columns,
    plain,
    with_plain_labels,
)

TITLES = {"t1n": "T1", "t1c": "T1 contrast", "t2w": "T2", "t2f": "FLAIR"}
MM_PER_INCH = 62.0
"""As long as the longest side of a panel is then within `PANEL` inches."""
PANEL = 1.5, 4.4
LEFT, BOTTOM, TOP, GAP = 0.34, 0.46, 0.98, 0.04
"""Inches beside, below, above and between the panels; `TOP` with one line of notes, `BOTTOM` with one of the legend."""
SCALE_BAR_MM = 50.0
"""In a small panel less."""
HEADING = 0.22
"""Inches of a line of a heading."""
DASHES = (0, (2.2, 1.4))


def canvas(
    extents_mm: Sequence[Extent],
    *,
    rows: int,
    title: str,
    notes: Sequence[str] = (),
    key: Sequence[Artist] = (),
    gap: float = GAP,
    headings: int = 1,
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with rows of axes of equal height, all on one scale.

    Args:
        extents_mm: Width and height of each column's panels.
        rows: How many.
        title: Stands above everything.
        notes: Below it.
        key: Signs of the legend.
        gap: Between rows, in inches.
        headings: Lines of the headings of columns.
    """
    tallest_mm = max(height for _, height in extents_mm)
    longest_mm = max(map(max, extents_mm))
    mm_per_inch = longest_mm / float(np.clip(longest_mm / MM_PER_INCH, *PANEL))
    widths = [width / mm_per_inch for width, _ in extents_mm]
    height = tallest_mm / mm_per_inch
    total = max(LEFT + sum(widths) + GAP * len(widths), LEFT + 3.4)
    lines = textwrap.wrap(" · ".join(notes), int((total - LEFT) / LETTER)) or [""]
    heading, size = fitted(title, total - LEFT, largest=15.0)
    first = 0.42 + TITLE_LINE * (len(heading) - 1)
    top = TOP - 0.42 + first + LINE * (len(lines) - 1) + HEADING * (headings - 1)
    columns, signs = legend_columns(key, total - LEFT)
    bottom = BOTTOM + 0.22 * (signs - 1)
    tall = bottom + top + height * rows + gap * (rows - 1)
    figure = Figure(figsize=(total, tall), facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    x = LEFT / total
    figure.text(x, 1 - 0.14 / tall, plain("\n".join(heading)), color=TEXT, fontsize=size, va="top")
    figure.text(x, 1 - first / tall, plain("\n".join(lines)), color=FAINT, fontsize=9, va="top", linespacing=1.25)
    if key:
        legend = figure.legend(
            handles=with_plain_labels(key), loc="lower left", ncols=columns, frameon=False, labelcolor=TEXT
        )
        legend.set_bbox_to_anchor(((LEFT - 0.1) / total, 0))
    lows = [bottom + (rows - 1 - row) * (height + gap) for row in range(rows)]
    return figure, [_row(figure, extents_mm, widths, low=low, height=height) for low in lows]


def _row(
    figure: Figure, extents_mm: Sequence[Extent], widths: Sequence[float], *, low: float, height: float
) -> list[Axes]:
    """Axes beside each other; widths, the row's lower edge and its height are in inches."""
    total, tall = figure.get_size_inches()
    tallest_mm = max(height_mm for _, height_mm in extents_mm)
    made, left = [], LEFT
    for width, (width_mm, height_mm) in zip(widths, extents_mm, strict=True):
        axes = figure.add_axes(
            (left / total, low / tall, width / total, height / tall),
            facecolor=BACKGROUND, xticks=[], yticks=[], autoscale_on=False,
        )  # fmt: skip
        axes.set(xlim=(0, width_mm), ylim=np.array([-0.5, 0.5]) * tallest_mm + height_mm / 2)
        axes.spines[:].set_visible(False)
        made.append(axes)
        left += width + GAP
    return made


def region_key(values: Iterable[int], *, short: bool = False) -> list[Artist]:
    """Signs of the regions found, and of the three tissues unless it is masks."""
    return [
        Patch(
            facecolor=to_rgba(REGION_COLOURS[name], FILL_OPACITY),
            edgecolor=REGION_COLOURS[name],
            label=name if short else REGION_TITLES[name],
        )
        for name in regions_in_key(set(values))
    ]


def line_key(name: str, *, dashed: bool = False) -> Artist:
    """Sign of a kind of outline."""
    return Line2D([], [], color=TEXT, linewidth=1.3, linestyle=DASHES if dashed else "-", label=name)


def draw_plane(axes: Axes, plane: Array, extent_mm: Extent) -> None:
    """Draw a plane of grey values from 0 to 1."""
    width, height = extent_mm
    extent = (0.0, width, 0.0, height)
    axes.imshow(plane, cmap="gray", vmin=0, vmax=1, origin="lower", extent=extent, interpolation="bicubic")


def draw_labels(
    axes: Axes, labels: Array, extent_mm: Extent, *, fill: float = FILL_OPACITY, dashed: bool = False
) -> None:
    """Outline the labels of a plane in their regions' colours, and fill them."""
    colours = np.zeros((*labels.shape, 4))
    for name, value in OUTSIDE_IN.items():  # neighbours share a border: the inner outline is drawn last, on top
        mask = labels == value
        if mask.any():
            colours[mask] = to_rgba(REGION_COLOURS[name], fill)
            outline(axes, mask, extent_mm, colour=REGION_COLOURS[name], dashed=dashed)
    if fill:
        paint(axes, colours, extent_mm)


def paint(axes: Axes, colours: Array, extent_mm: Extent) -> None:
    """Lay (rows, columns, 4) colours over a plane, voxel by voxel."""
    width, height = extent_mm
    axes.imshow(colours, origin="lower", extent=(0.0, width, 0.0, height), interpolation="nearest")


def outline(axes: Axes, mask: Array, extent_mm: Extent, *, colour: str, dashed: bool = False) -> None:
    """Draw the border of a mask (rows, columns)."""
    # Padded, so that outlines close at the border; and cut to the mask, since empty space takes time too.
    low, high = zip(*((places.min(), places.max() + 1) for places in np.nonzero(mask)), strict=True)
    padded = np.pad(mask[low[0] : high[0], low[1] : high[1]], 1).astype(float)
    rows, columns = (
        (np.arange(first - 1, last + 1) + 0.5) / size for first, last, size in zip(low, high, mask.shape, strict=True)
    )
    width, height = extent_mm
    style = [DASHES] if dashed else ["solid"]
    axes.contour(columns * width, rows * height, padded, [0.5], colors=colour, linewidths=1.0, linestyles=style)


def mark(axes: Axes, view: View, *, edges: int = 4) -> None:
    """Name the directions at the edges: left, right, bottom and top, or the first of them only."""
    for letter, (x, y) in zip(view.marks[:edges], ((0.03, 0.5), (0.97, 0.5), (0.5, 0.03), (0.5, 0.97)), strict=False):
        axes.text(x, y, letter, transform=axes.transAxes, color=FAINT, fontsize=9, ha="center", va="center")


def scale_bar(axes: Axes) -> None:
    """Draw a bar at the right of the bottom, no longer than half the panel."""
    width, (bottom, top) = axes.get_xlim()[1], axes.get_ylim()
    length = max((size for size in (1, 2, 5, 10, 20, SCALE_BAR_MM) if size <= 0.45 * width), default=1)
    right, low = 0.98 * width, bottom + 0.025 * (top - bottom)
    axes.plot([right - length, right], [low] * 2, color=TEXT, linewidth=2, solid_capstyle="butt")
    axes.text(right - length / 2, low + 0.012 * (top - bottom), f"{length:g} mm", color=TEXT, fontsize=8, ha="center",
              va="bottom")  # fmt: skip
