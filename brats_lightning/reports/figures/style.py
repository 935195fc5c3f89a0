"""How plots look: dark on white, for a page or a printer; and how every picture is saved."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, Normal, Stroke

from brats_lightning.reports.figures.colours import GRID, INK, MUTED, PAPER
from brats_lightning.whole_files import whole_file

DPI = 130
WIDTH, HEIGHT = 3.3, 2.5
"""Inches of a panel."""
LEFT, RIGHT, TOP, BOTTOM, FIRST, MARGIN = 0.72, 0.42, 0.42, 0.5, 0.5, 0.1
"""Inches beside, above and below a panel, above the first row for the title, and around all."""
LINE, LETTER, KEY = 0.18, 0.068, 0.6
"""Inches of a line of notes, of a letter at 9 points, and of a legend's sign."""
TITLE_LINE = 0.24
"""Inches of a further line of a title."""
LEAST_TITLE = 10.0
"""Points; a title that is longer is broken."""
LINE_WIDTH = 1.4
FAR = 20
"""Values of which some are this many times as large as their median are drawn in logarithms."""


def sheet(
    *,
    rows: int = 1,
    columns: int = 1,
    title: str,
    notes: Sequence[str] = (),
    key: Sequence[Artist] = (),
    width: float = WIDTH,
    height: float = HEIGHT,
) -> tuple[Figure, list[Axes]]:
    """A white figure with panels in reading order.

    Args:
        rows: Of panels.
        columns: Of panels.
        title: Stands above everything: the run and the cases.
        notes: In smaller letters below the title: above all what is missing.
        key: Signs of a legend for all panels.
        width: Of a panel in inches.
        height: Of a panel in inches.
    """
    wide = 2 * MARGIN + columns * (LEFT + width + RIGHT)
    heading, size = fitted(title, wide - 0.4, largest=13.0)
    lines = textwrap.wrap(" · ".join(notes), int((wide - 0.4) / LETTER))
    signs, layers = legend_columns(key, wide - 0.4)
    foot = MARGIN + (0.12 + 0.22 * layers if key else 0)
    first = FIRST + TITLE_LINE * (len(heading) - 1)
    tall = first + LINE * len(lines) + rows * (TOP + height + BOTTOM) + foot
    figure = Figure(figsize=(wide, tall), facecolor=PAPER)
    FigureCanvasAgg(figure)
    x = (MARGIN + 0.1) / wide
    figure.text(x, 1 - 0.17 / tall, plain("\n".join(heading)), color=INK, fontsize=size, va="top", weight="bold")
    figure.text(
        x, 1 - (first - 0.05) / tall, plain("\n".join(lines)), color=MUTED, fontsize=9, va="top", linespacing=1.25
    )
    if key:
        legend = figure.legend(
            handles=with_plain_labels(key), loc="lower left", ncols=signs, frameon=False, labelcolor=INK
        )
        legend.set_bbox_to_anchor((MARGIN / wide, 0))
        for text in legend.get_texts():
            text.set_fontsize(9)
    lefts = [MARGIN + LEFT + column * (LEFT + width + RIGHT) for column in range(columns)]
    lows = [foot + BOTTOM + row * (TOP + height + BOTTOM) for row in reversed(range(rows))]
    places = [(left / wide, low / tall, width / wide, height / tall) for low in lows for left in lefts]
    return figure, [figure.add_axes(place) for place in places]


def plain(text: str) -> str:
    r"""Text that Matplotlib writes as it stands: two dollar signs would make a formula, and most names are none.

    Example:
        >>> plain("cost_$lr$")
        'cost_\\$lr\\$'
    """
    return text.replace("$", r"\$")


def with_plain_labels(key: Sequence[Artist]) -> list[Artist]:
    """Signs of a legend whose names are written as they stand."""
    for sign in key:
        sign.set_label(plain(str(sign.get_label())))
    return list(key)


def fitted(title: str, inches: float, *, largest: float) -> tuple[list[str], float]:
    """Lines of a title and the size of its letters in points, so that it is no wider than that."""
    letter = 0.0092  # inches a point, of bold letters
    size = min(largest, max(LEAST_TITLE, inches / (letter * max(1, len(title)))))
    return textwrap.wrap(title, max(1, int(inches / (letter * size)))) or [""], size


def legend_columns(key: Sequence[Artist], inches: float) -> tuple[int, int]:
    """Columns and rows of a legend that is no wider than that."""
    labels = [str(sign.get_label()) for sign in key]
    for columns in range(len(labels), 1, -1):
        rows = math.ceil(len(labels) / columns)  # a legend is filled column by column
        parts = (labels[first : first + rows] for first in range(0, len(labels), rows))
        if sum(max(map(len, part)) * LETTER * 10 / 9 + KEY for part in parts) < inches:
            return columns, rows
    return 1, max(1, len(labels))


def dress(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: str = "y") -> None:
    """Give a panel its headings and the look of the house.

    Args:
        axes: The panel.
        title: Above it.
        x: What is along it, with its unit.
        y: What is up it, with its unit.
        grid: Lines behind the data: x, y, both or "".
    """
    axes.set_facecolor(PAPER)
    axes.set_title(title, color=INK, fontsize=10.5, loc="left", pad=7)
    axes.set_xlabel(x, color=MUTED, fontsize=9)
    axes.set_ylabel(y, color=MUTED, fontsize=9)
    axes.tick_params(which="both", colors=MUTED, labelsize=8.5, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]


def nothing(axes: Axes, words: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_color(GRID)
    axes.text(0.5, 0.5, words, transform=axes.transAxes, color=MUTED, fontsize=9, ha="center", va="center", wrap=True)


def darker(colour: str, share: float = 0.55) -> tuple[float, float, float]:
    """The same hue with less light: an edge that a pale colour needs on white."""
    red, green, blue = to_rgb(colour)
    return red * share, green * share, blue * share


def casing(colour: str, width: float = LINE_WIDTH) -> list[AbstractPathEffect]:
    """A dark edge around a line: yellow on white is not seen without."""
    return [Stroke(linewidth=width + 0.9, foreground=darker(colour)), Normal()]


def label_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name lines at the right edge of a panel, where they end; names move apart where lines end together.

    Args:
        axes: Whose limits are final.
        ends: Height of each end in data coordinates, name, colour.
    """
    if not ends:
        return
    to_panel = axes.transData + axes.transAxes.inverted()
    x = axes.get_xlim()[1]
    inches = float(axes.get_position().height * axes.figure.get_figure(root=True).get_size_inches()[1])
    ordered = sorted((float(to_panel.transform((x, end))[1]), name, colour) for end, name, colour in ends)
    places = apart([height for height, _, _ in ordered], least=10.5 / 72 / inches)
    for place, (_, name, colour) in zip(places, ordered, strict=True):
        axes.text(1.015, place, name, transform=axes.transAxes, color=darker(colour, 0.75), fontsize=8.5, va="center")


def apart(heights: Sequence[float], *, least: float) -> list[float]:
    """Heights from 0 to 1, moved as little as leaves that much between neighbours; in rising order.

    Example:
        >>> apart([0.0, 0.5, 0.5, 1.0], least=0.25)
        [0.0, 0.375, 0.625, 1.0]
    """
    # With each one's share taken off, what is left must not fall: neighbours that do are levelled to their mean.
    levels: list[tuple[float, int]] = []
    for number, height in enumerate(heights):
        levels.append((height - least * number, 1))
        while len(levels) > 1 and levels[-1][0] < levels[-2][0]:
            (low, fewer), (high, more) = levels[-2:]
            levels[-2:] = [((low * fewer + high * more) / (fewer + more), fewer + more)]
    room = max(0.0, 1 - least * (len(heights) - 1))
    flat = [min(max(level, 0.0), room) for level, members in levels for _ in range(members)]
    return [level + least * number for number, level in enumerate(flat)]


def save(figure: Figure, path: Path) -> None:
    """Write a picture in the format that its name says; an SVG keeps its text as text."""
    is_svg = path.suffix == ".svg"
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "brats"}):  # the same numbers give the same file
        metadata = {"Date": None} if is_svg else None
        with whole_file(path) as part:
            kind = path.suffix.removeprefix(".")
            figure.savefig(part, format=kind, dpi=DPI, facecolor=figure.get_facecolor(), metadata=metadata)
