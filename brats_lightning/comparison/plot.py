"""A picture of a comparison: every case's difference, the mean and its interval; right is where the first is better."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.comparison.results import Comparison
from brats_lightning.reports.figures.colours import INK, MUTED, PAPER, REGION_COLOURS
from brats_lightning.reports.figures.style import darker, plain
from brats_lightning.reports.scores import SHOWN

WIDTH, ROW = 3.4, 0.5
LEFT, HEAD, FOOT, TOP, MARGIN = 0.7, 0.85, 0.4, 0.9, 0.25
"""Inches of a panel and of its row for a region; beside, above and below a panel; above and around all."""
COLUMNS = 4
OUTLIERS = 8
"""Differences this many times as large as nine of ten bend the axis: a missed region costs 373 mm."""
DPI = 130


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw a band of panels for each pair, one for each score, with a row for each region.

    Args:
        comparison: What was found out.
        path: The picture, in any format Matplotlib writes; its folder must exist.
    """
    bands = _bands(comparison.tests)
    columns = max(2, *map(len, bands))
    heights = [ROW * max(map(len, band)) + 0.2 for band in bands]
    width = 2 * MARGIN + columns * (LEFT + WIDTH)
    height = TOP + sum(heights) + len(bands) * (HEAD + FOOT) + MARGIN
    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    top = height - TOP
    for band, tall in zip(bands, heights, strict=True):
        for column, tests in enumerate(band):
            own = ROW * len(tests) + 0.2
            left = MARGIN + LEFT + column * (LEFT + WIDTH)
            place = (left / width, (top - HEAD - own) / height, WIDTH / width, own / height)
            _draw(figure.add_axes(place, facecolor=PAPER), tests, comparison.alpha)
        top -= HEAD + tall + FOOT
    _caption(figure, comparison)
    figure.savefig(path, dpi=DPI, facecolor=PAPER)


def _bands(tests: Sequence[PairedTest]) -> list[list[list[PairedTest]]]:
    """Tests by pair, then by score; bands that would be too wide are broken."""
    pairs: dict[tuple[str, str], dict[str, list[PairedTest]]] = {}
    for test in tests:
        pairs.setdefault((test.first, test.second), {}).setdefault(test.score, []).append(test)
    scores = (list(by_score.values()) for by_score in pairs.values())
    return [panels[start : start + COLUMNS] for panels in scores for start in range(0, len(panels), COLUMNS)]


def _draw(axes: Axes, tests: Sequence[PairedTest], alpha: float) -> None:
    for row, test in enumerate(tests):
        differences = np.array(list(test.differences.values()))
        # Spread over the row, so that equal differences stay countable; each case at its own height.
        heights = row + 0.66 * (np.arange(1, differences.size + 1) * 0.618034 % 1 - 0.5)
        colour = REGION_COLOURS.get(test.region, INK)
        room = min(1.0, 10 / float(np.sqrt(differences.size)))  # of many cases one sees the density
        axes.scatter(
            differences, heights, s=20 * max(0.4, room), color=colour, alpha=0.9 * room, edgecolors=[darker(colour)],
            linewidths=0.5,
        )  # fmt: skip
        axes.plot(test.interval, [row, row], color=PAPER, linewidth=5, solid_capstyle="butt", zorder=3)
        axes.plot(test.interval, [row, row], color=INK, linewidth=2.2, solid_capstyle="butt", zorder=3)
        face = INK if test.verdict(alpha) in {"first", "second"} else PAPER
        axes.scatter([test.difference], [row], s=48, marker="D", color=face, edgecolors=INK, linewidths=1.4, zorder=4)
    axes.axvline(0, color=MUTED, linewidth=1, zorder=1)
    _scale(axes, tests)
    axes.set(ylim=(len(tests) - 0.4, -0.6), yticks=range(len(tests)))
    axes.set_yticklabels([test.region for test in tests], color=INK, fontsize=11)
    axes.tick_params(axis="x", which="both", colors=MUTED, labelsize=9)
    axes.tick_params(axis="y", length=0)
    axes.spines[:].set_visible(False)
    axes.spines["bottom"].set(visible=True, color=MUTED)
    axes.set_title(SHOWN.get(tests[0].score, tests[0].score), color=INK, fontsize=12, pad=24)
    for x, text, side in ((0.0, f"◂ {_short(tests[0].second)} better", "left"),
                          (1.0, f"{_short(tests[0].first)} better ▸", "right")):  # fmt: skip
        axes.text(x, 1.02, plain(text), transform=axes.transAxes, color=MUTED, fontsize=9, ha=side, va="bottom")


def _scale(axes: Axes, tests: Sequence[PairedTest]) -> None:
    """Zero in the middle; far ends of distances and volumes in logarithms where few are much larger than the rest."""
    sizes = np.abs([size for test in tests for size in (*test.differences.values(), *test.interval)])
    reach = float(sizes.max()) or 1.0
    usual = float(np.quantile(sizes, 0.9))
    if 0 < OUTLIERS * usual < reach and tests[0].better != "higher":
        axes.set_xscale("symlog", linthresh=usual, linscale=1.5)
        ticks = [-reach, -usual, 0, usual, reach]
        axes.set_xticks(ticks, [f"{tick:.0f}" if abs(tick) >= 10 else f"{tick:.2g}" for tick in ticks])
        axes.set_xticks([], minor=True)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    towards = 1 if tests[0].better == "higher" else -1
    axes.set_xlim(-1.08 * reach * towards, 1.08 * reach * towards)


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:7]}…{name[-8:]}"


def _caption(figure: Figure, comparison: Comparison) -> None:
    width, height = figure.get_size_inches().tolist()
    ranks = "  ".join(f"{_short(standing.name)} {standing.rank:.2f}" for standing in comparison.standings)
    pairs = {(test.first, test.second) for test in comparison.tests}
    named = " against ".join(map(_short, pairs.pop())) if len(pairs) == 1 else "Each against each"
    title = f"{named}: differences in {len(comparison.cases)} cases"
    mixed = " · MIXED CONVENTIONS" if comparison.mixed else ""
    meaning = f"dot: a case · diamond and bar: mean, 95 % interval · filled: shown at {comparison.alpha:g} after Holm"
    ranking = f"mean rank: {ranks}" if ranks else ""
    for y, text, colour, size in (
        (0.3, title + mixed, INK, 13), (0.57, meaning, MUTED, 9), (0.78, ranking, MUTED, 9)
    ):  # fmt: skip
        figure.text(MARGIN / width, 1 - y / height, plain(text), color=colour, fontsize=size, va="center")
