"""Panels of lines: how curves over the epochs are drawn."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from brats_lightning.reports.figures.colours import MUTED, OTHER_COLOURS
from brats_lightning.reports.figures.style import (
    FAR,
    LINE_WIDTH,
    casing,
    darker,
    dress,
    label_ends,
    nothing,
    save,
    sheet,
)

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.4, 1.2)), (0, (6, 1.4, 1.4, 1.4)))
SMALL = 0.01
"""Below it Matplotlib would write a power of ten where the title stands."""


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Args:
        name: Of the region, the run or the kind of loss.
        x: Epochs done, or steps.
        y: Values; NaN leaves a gap.
        colour: Of the line.
        dashes: As Matplotlib takes them.
        cased: Whether it has a dark edge.
        width: In points.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashes: Any = "-"
    cased: bool = False
    width: float = LINE_WIDTH


@dataclass(frozen=True)
class LinePanel:
    """Lines on one pair of axes.

    Args:
        title: Above them.
        lines: In the order of drawing.
        unit: Up the panel.
        bounded: Whether its values lie between 0 and 1.
        direct: Whether lines are named where they end.
    """

    title: str
    lines: Sequence[Line]
    unit: str = ""
    bounded: bool = False
    direct: bool = False


def look(number: int) -> tuple[str, Any]:
    """Colour and dashes of a run: both differ, for eyes and for printers."""
    return OTHER_COLOURS[number % len(OTHER_COLOURS)], DASHES[number % len(DASHES)]


def draw_panels(
    panels: Sequence[LinePanel], *, path: Path, title: str, runs: Sequence[str], notes: Sequence[str], x: str
) -> None:
    """Draw panels side by side, three in a row.

    Args:
        panels: In reading order.
        path: The picture; its folder must exist.
        title: Stands above everything.
        runs: Names of runs; several have a legend for all panels.
        notes: Below the title.
        x: What is along the panels.
    """
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    many = len(runs) > 1
    key = []
    for number, run in enumerate(runs if many else ()):
        colour, dashes = look(number)
        key.append(Line2D([], [], color=colour, linestyle=dashes, linewidth=LINE_WIDTH, label=run))
    figure, axes = sheet(rows=math.ceil(len(panels) / columns), columns=columns, title=title, notes=notes, key=key)
    for place, panel in zip(axes, panels, strict=False):
        _draw_panel(place, panel, x=x, key=not many and len(panel.lines) > 1)
    for place in axes[len(panels) :]:
        place.remove()
    save(figure, path)


def _draw_panel(axes: Axes, panel: LinePanel, *, x: str, key: bool) -> None:
    dress(axes, title=panel.title, x=x, y=panel.unit)
    finite = [(a, b) for line in panel.lines for a, b in zip(line.x, line.y, strict=True) if math.isfinite(b)]
    if not finite:
        dress(axes, title=panel.title, grid="")
        nothing(axes, "no finite value was logged" if panel.lines else "not logged")
        return
    for line in panel.lines:
        y = [value if math.isfinite(value) else math.nan for value in line.y]
        alone = np.isfinite(y) & ~np.isfinite([math.nan, *y[:-1]]) & ~np.isfinite([*y[1:], math.nan])
        style = {"color": line.colour, "linewidth": line.width, "linestyle": line.dashes, "label": line.name}
        effects = casing(line.colour, line.width) if line.cased else None
        axes.plot(line.x, y, path_effects=effects, solid_joinstyle="round", **style)
        edge = darker(line.colour) if line.cased else line.colour
        axes.scatter(np.array(line.x)[alone], np.array(y)[alone], s=22, color=line.colour, edgecolors=[edge], zorder=3)
    _limits(axes, panel, finite)
    broken = [a for line in panel.lines for a, b in zip(line.x, line.y, strict=True) if not math.isfinite(b)]
    if broken:
        axes.plot(broken, [0.02] * len(broken), "x", transform=axes.get_xaxis_transform(), color=MUTED, markersize=4.5,
                  label="undefined")  # fmt: skip
    if panel.direct:
        ends = [([value for value in line.y if math.isfinite(value)], line) for line in panel.lines]
        label_ends(axes, [(values[-1], line.name, line.colour) for values, line in ends if values])
        _mark_best(axes, panel)
    elif key or broken:
        axes.legend(frameon=False, fontsize=8, labelcolor=MUTED, loc="best")


def _limits(axes: Axes, panel: LinePanel, points: Sequence[tuple[float, float]]) -> None:
    """From the beginning of the run; shares from 0 to 1; far values in logarithms."""
    x, y = (np.array(values) for values in zip(*points, strict=True))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    end = max(x.max(), 1.0)
    axes.set_xlim(min(0.0, x.min()), end * 1.01)
    if panel.bounded:
        axes.set_ylim(0, 1.02)
    elif y.min() >= 0 and y.max() > FAR * float(np.median(y)) > 0:
        if y.min() > 0:
            axes.set_yscale("log")
        else:
            axes.set_yscale("symlog", linthresh=float(y[y > 0].min()))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    elif y.min() >= 0:
        axes.set_ylim(0, 1.06 * float(y.max()) or 1.0)
        if y.max() < SMALL:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _mark_best(axes: Axes, panel: LinePanel) -> None:
    """A dot where each line has its best value."""
    for line in panel.lines:
        best: Callable[..., float] = np.nanargmax if panel.bounded else np.nanargmin
        y = np.where(np.isfinite(line.y), line.y, np.nan)
        if np.isfinite(y).any():
            place = int(best(y))
            axes.plot(line.x[place], y[place], "o", color=line.colour, markeredgecolor=darker(line.colour),
                      markersize=5, zorder=4)  # fmt: skip
