"""Plots of scores over cases: a box and every case for each region, and Dice against the tumour's volume."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from scipy.stats import spearmanr

from brats_lightning.reports.figures.colours import INK, MUTED, OTHER_COLOURS, PAPER, region_colours
from brats_lightning.reports.figures.style import FAR, darker, dress, nothing, save, sheet
from brats_lightning.reports.score_files import Row
from brats_lightning.reports.scores import SHOWN

Values = Mapping[Row, float]
Floats = npt.NDArray[np.floating]
GOLDEN = 0.618034
FEW = 5
"""Cases from which on quartiles say something, and a box is drawn."""
FEW_FOR_RANKS = 10
SPREAD, BOX = 0.5, 0.62
"""Shares of a region's place that its dots and its box take."""


def draw_scores(
    scores: Mapping[str, Mapping[str, Values]],
    *,
    path: Path,
    title: str,
    names: Sequence[str] = ("dice", "hd95_mm"),
    regions: Sequence[str] | None = None,
) -> None:
    """Draw a panel a score: for each region a dot a case, their quartiles as a box, and their mean.

    Args:
        scores: Of each run, by the name of the score, as `score_files.ScoreFile.scores`; several runs stand side by
            side.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything: the run and the cases.
        names: Which scores, in the order of the panels.
        regions: In their order; all that were scored where None.
    """
    rows = [row for values in scores.values() for columns in values.values() for row in columns]
    shown = list(regions or dict.fromkeys(region for _, region in rows))
    key = [
        Patch(facecolor=_run_colour(number), edgecolor=darker(_run_colour(number)), label=run)
        for number, run in enumerate(scores if len(scores) > 1 else ())
    ]
    width = max(2.2, 0.42 + len(shown) * (0.3 + 0.32 * len(scores)))
    cases = len({case for case, _ in rows})
    notes = [f"{cases} case{'s' * (cases != 1)}", "dot: a case"]
    notes += ["diamond: mean"] if cases > 1 else []
    notes += [f"box: quartiles and median of {FEW} cases or more"] if cases > 1 else []
    figure, axes = sheet(
        columns=len(names), title=title, notes=notes if rows else ["no scores"], key=key, width=width, height=3.0
    )
    for panel, name in zip(axes, names, strict=True):
        _draw_score(panel, name, {run: columns.get(name, {}) for run, columns in scores.items()}, shown)
    save(figure, path)


def _draw_score(axes: Axes, name: str, runs: Mapping[str, Values], regions: Sequence[str]) -> None:
    dress(axes, title=SHOWN.get(name, name.replace("_", " ")))
    finite = np.array([value for values in runs.values() for value in values.values() if math.isfinite(value)])
    if not finite.size:
        dress(axes, title=SHOWN.get(name, name.replace("_", " ")), grid="")
        nothing(axes, "not scored" if not any(runs.values()) else "undefined in every case")
        return
    _scale(axes, finite)
    colours = region_colours(regions)
    labels = []
    for place, region in enumerate(regions):
        undefined = 0
        for number, values in enumerate(runs.values()):
            own = [value for (_, at), value in values.items() if at == region]
            kept = np.array([value for value in own if math.isfinite(value)])
            undefined += len(own) - kept.size
            x = place + (number - (len(runs) - 1) / 2) / len(runs) * 0.84
            colour = colours[region] if len(runs) == 1 else _run_colour(number)
            _draw_group(axes, kept, x, colour, 0.84 / len(runs))
        labels.append(region + (f"\n{undefined} undef." if undefined else ""))
    axes.set(xlim=(-0.6, len(regions) - 0.4), xticks=range(len(regions)))
    axes.set_xticklabels(labels, color=INK, fontsize=9)
    axes.tick_params(axis="x", length=0)


def _draw_group(axes: Axes, values: Floats, x: float, colour: str, room: float) -> None:
    """Cases of one region and run; behind them a box where there are enough."""
    if not values.size:
        axes.text(x, 0.02, "–", transform=axes.get_xaxis_transform(), color=MUTED, ha="center")
        return
    if values.size >= FEW:
        edge = {"color": INK, "linewidth": 1.1}
        axes.boxplot(
            [values], positions=[x], widths=[BOX * room], showfliers=False, patch_artist=True, manage_ticks=False,
            boxprops={"facecolor": (*darker(colour, 1.0), 0.25), "edgecolor": INK, "linewidth": 1.1},
            medianprops={"color": INK, "linewidth": 2}, whiskerprops=edge, capprops=edge, zorder=2,
        )  # fmt: skip
    aside = SPREAD * room * (np.arange(1, values.size + 1) * GOLDEN % 1 - 0.5) if values.size > 1 else np.zeros(1)
    small = min(1.0, math.sqrt(40 / values.size))
    axes.scatter(
        x + aside, values, s=20 * max(0.25, small), color=colour, edgecolors=[darker(colour)], linewidths=0.5,
        alpha=max(0.45, 0.9 * small), zorder=3,
    )  # fmt: skip
    if values.size > 1:
        axes.scatter([x], [values.mean()], s=34, marker="D", color=PAPER, edgecolors=INK, linewidths=1.2, zorder=4)


def _scale(axes: Axes, finite: Floats) -> None:
    """Shares from 0 to 1; distances from 0, in logarithms where few are much larger than the rest."""
    if finite.min() >= 0 and finite.max() <= 1:
        axes.set_ylim(-0.02, 1.02)
        return
    if finite.min() >= 0 and finite.max() > FAR * float(np.median(finite)) > 0:
        axes.set_yscale("symlog", linthresh=1, linscale=0.5)
        axes.yaxis.set_major_locator(FixedLocator([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_ylim(0, 1.25 * float(finite.max()))
    elif finite.min() >= 0:
        axes.set_ylim(0, 1.06 * float(finite.max()))


def _run_colour(number: int) -> str:
    return OTHER_COLOURS[number % len(OTHER_COLOURS)]


@dataclass(frozen=True)
class Sized:
    """Cases of one region that have a volume.

    Args:
        volumes_ml: Of the reference, above 0.
        dice: Of the same cases.
        absent: Dice of cases whose reference does not have the region.
        undefined: Cases without a Dice or a volume.
    """

    volumes_ml: Floats
    dice: Floats
    absent: Floats
    undefined: int


def sized(dice: Values, volumes_ml: Values, region: str) -> Sized:
    """Pair the scores of a region with its volumes."""
    own = {case: value for (case, at), value in dice.items() if at == region}
    pairs = np.array([(volumes_ml.get((case, region), math.nan), value) for case, value in own.items()]).reshape(-1, 2)
    whole = pairs[np.isfinite(pairs).all(axis=1)]
    there = whole[whole[:, 0] > 0]
    return Sized(there[:, 0], there[:, 1], whole[whole[:, 0] <= 0][:, 1], len(pairs) - len(whole))


def draw_dice_against_volume(
    dice: Values, volumes_ml: Values, *, path: Path, title: str, regions: Sequence[str] | None = None
) -> None:
    """Draw a panel a region: a dot a case, its volume in the reference on a logarithmic axis.

    Cases without the region stand apart at the left.

    Args:
        dice: Of cases and regions.
        volumes_ml: Of the references.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything: the run and the cases.
        regions: In their order; all that were scored where None.
    """
    shown = list(regions or dict.fromkeys(region for _, region in dice))
    found = {region: sized(dice, volumes_ml, region) for region in shown}
    every = np.concatenate([np.empty(0), *(each.volumes_ml for each in found.values())])
    low, high = (every.min(), every.max()) if every.size else (1.0, 100.0)
    limits = 10 ** math.floor(math.log10(low) - 0.1), 10 ** math.ceil(math.log10(high) + 0.1)
    columns = min(max(len(shown), 1), 3)
    notes = ["dot: a case", "volume of the reference"] if shown else ["no scores"]
    figure, axes = sheet(rows=math.ceil(max(len(shown), 1) / columns), columns=columns, title=title, notes=notes)
    colours = region_colours(shown)
    for panel, (region, each) in zip(axes, found.items(), strict=False):
        _draw_sized(panel, region, each, colours[region], limits)
    for panel in axes[len(shown) :]:
        panel.remove() if shown else nothing(panel, "no scores")
    save(figure, path)


def _draw_sized(axes: Axes, region: str, each: Sized, colour: str, limits: tuple[float, float]) -> None:
    if not each.volumes_ml.size and not each.absent.size:
        dress(axes, title=region, grid="")
        nothing(axes, f"{each.undefined} case{'s' * (each.undefined != 1)} without a volume or a Dice")
        return
    dress(axes, title=region, x="volume (ml)", y="Dice", grid="both")
    left = limits[0] / 4
    axes.set_xscale("log")
    axes.set(xlim=(left / 2 if each.absent.size else limits[0], limits[1]), ylim=(-0.03, 1.03))
    axes.xaxis.set_major_locator(LogLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value >= limits[0] else ""))
    _dots(axes, each.volumes_ml, each.dice, colour)
    if each.absent.size:
        axes.axvspan(left / 2, limits[0], color="#F3F4F6", zorder=0.5)
        _dots(axes, left * 2.5 ** (np.arange(each.absent.size) * GOLDEN % 1 - 0.2), each.absent, colour, marker="s")
        axes.text(left * math.sqrt(2), 0.5, "absent", color=MUTED, fontsize=8, ha="center", va="center", rotation=90)
    said = [f"{each.volumes_ml.size} case{'s' * (each.volumes_ml.size != 1)}"]
    if each.undefined:
        said.append(f"{each.undefined} undef.")
    if each.volumes_ml.size >= FEW_FOR_RANKS and np.ptp(each.dice) > 0:
        said.append(f"Spearman {spearmanr(each.volumes_ml, each.dice).statistic:.2f}")
    axes.set_title("  ·  ".join(said), color=MUTED, fontsize=8.5, loc="right", pad=7)


def _dots(axes: Axes, x: Floats, y: Floats, colour: str, *, marker: str = "o") -> None:
    axes.scatter(
        x, y, s=24, color=colour, marker=marker, edgecolors=[darker(colour)], linewidths=0.6, alpha=0.8, zorder=3
    )
