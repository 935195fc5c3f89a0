"""A plot of a confusion matrix: what became of each class of the reference."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from brats_lightning.metrics.confusion import BACKGROUND, Counts, accuracy_of
from brats_lightning.reports.figures.colours import GRID, INK, MUTED, PAPER, region_colours
from brats_lightning.reports.figures.style import darker, dress, save, sheet

CELL = 0.86
"""Inches."""
SHADES = LinearSegmentedColormap.from_list("ink", [PAPER, "#9FB2C8", "#2B4A6F"])
"""From white to dark, which a printer keeps; no region has these."""
DARK = 0.55
"""Share from which on letters are white."""


def draw_confusion(counts: Counts, names: Sequence[str], *, path: Path, title: str, cases: int | None = None) -> None:
    """Draw a row a class of the reference: the share of its voxels that was predicted as each class, and how many.

    Args:
        counts: (1 + classes) squared, predicted class first, the background at 0, from `metrics.confusion.confusion`.
        names: Of the classes but the background.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything: the run and the cases.
        cases: That were pooled, where known.
    """
    classes = [BACKGROUND.lower(), *names]
    there = np.asarray(counts).T  # the reference down, the prediction along, as in textbooks
    totals = there.sum(axis=1, keepdims=True)
    shares = np.divide(there, totals, out=np.full(there.shape, np.nan), where=totals > 0)
    side = CELL * len(classes)
    pooled = [] if cases is None else [f"voxels of {cases} case{'s' * (cases != 1)} pooled"]
    accuracy = accuracy_of(counts)
    notes = [
        *pooled,
        "share of each row",
        *([] if np.isnan(accuracy) else [f"right of all voxels: {in_percent(accuracy)}"]),
    ]
    figure, (axes,) = sheet(title=title, notes=notes, width=side, height=side)
    dress(axes, x="predicted", y="reference", grid="")
    axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5))
    for row, column in np.ndindex(there.shape):
        _draw_cell(axes, row, column, share=float(shares[row, column]), voxels=int(there[row, column]))
    labels = ["back-\nground", *names]
    axes.set(xticks=range(len(classes)), yticks=range(len(classes)))
    axes.set_xticklabels(labels, color=INK, fontsize=9)
    axes.set_yticklabels(labels, color=INK, fontsize=9)
    axes.tick_params(length=0, pad=9)
    axes.spines[:].set_visible(False)
    for place, colour in enumerate(region_colours(list(names)).values(), start=1):
        for corner, width, height in (
            ((-0.61, place - 0.42), 0.07, 0.84),
            ((place - 0.42, len(classes) - 0.46), 0.84, 0.07),
        ):
            swatch = Rectangle(corner, width, height, facecolor=colour, edgecolor=darker(colour), linewidth=0.8)
            swatch.set_clip_on(False)
            axes.add_patch(swatch)
    save(figure, path)


def _draw_cell(axes: Axes, row: int, column: int, *, share: float, voxels: int) -> None:
    absent = np.isnan(share)
    axes.add_patch(
        Rectangle(
            (column - 0.48, row - 0.48),
            0.96,
            0.96,
            facecolor=PAPER if absent else SHADES(share),
            edgecolor=GRID,
            hatch="///" if absent else None,
            linewidth=0.8,
        )
    )
    colour = PAPER if share > DARK else INK
    if not absent:
        axes.text(column, row - 0.08, in_percent(share), color=colour, fontsize=10.5, ha="center", va="center",
                  weight="bold" if row == column else "normal")  # fmt: skip
    said = "absent" if absent else in_short(voxels)
    axes.text(column, row + 0.22, said, color=MUTED if share <= DARK or absent else PAPER, fontsize=7.5, ha="center",
              va="center")  # fmt: skip


def in_percent(share: float) -> str:
    """A share that is never rounded to all or nothing unless it is.

    Example:
        >>> in_percent(1.0), in_percent(0.99996), in_percent(0.00004), in_percent(0.812)
        ('100 %', '>99.9 %', '<0.1 %', '81.2 %')
    """
    if share in {0, 1}:
        return f"{100 * share:.0f} %"
    rounded = f"{100 * share:.1f} %"
    return {"0.0 %": "<0.1 %", "100.0 %": ">99.9 %"}.get(rounded, rounded)


def in_short(voxels: int) -> str:
    """A count in four characters or little more.

    Example:
        >>> in_short(812), in_short(1234), in_short(8_928_000)
        ('812', '1.23 k', '8.93 M')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if voxels >= size:
            return f"{voxels / size:.3g} {letter}"
    return str(voxels)
