"""Plots of what a run, or several, logged along its way: losses, scores, learning rate and speed."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from brats_lightning.reports.figures.colours import INK, region_colours
from brats_lightning.reports.figures.line_panels import Line, LinePanel, draw_panels, look
from brats_lightning.reports.figures.style import LINE_WIDTH
from brats_lightning.reports.run.history import Curve, History, smoothed
from brats_lightning.reports.scores import SHOWN

LOSSES = {"val/loss": "validation", "train/loss_epoch": "training", "train/loss_step": "training, single steps"}
LOSS_COLOURS = {"val/loss": INK, "train/loss_epoch": "#8A94A3", "train/loss_step": "#C9CFD8"}
SPEEDS = {"speed/samples_per_s": "samples/s", "speed/waiting": "share of time waiting for data",
          "speed/gpu_gb": "GPU memory (GB)"}  # fmt: skip
RATE = "lr-"
NO_RATES = ("-momentum", "-weight_decay", "-betas")
"""Endings of what the learning rate's callback logs beside it."""
MOST_POINTS = 400
"""Of a line: of more steps one sees only noise."""


def draw_curves(
    runs: Mapping[str, History], *, path: Path, title: str, scores: Sequence[str] = ("dice", "hd95_mm")
) -> None:
    """Draw losses and the scores of validation.

    Of one run a panel shows the losses, and one a score all regions in their colours. Of several runs each loss, and
    each score of each region, has a panel with a line a run.

    Args:
        runs: What each logged, by the run's name.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything.
        scores: Names as in `val/<score>_<region>`.
    """
    if len(runs) == 1:
        (history,) = runs.values()
        at = clock(history)
        panels = [_loss_panel(history, at), *(_score_panel(history, score, at) for score in scores)]
        draw_panels(panels, path=path, title=title, runs=list(runs), notes=_notes(runs), x=_unit(runs))
        return
    panels = [_panel_of_runs(f"{said} loss", name, runs) for name, said in list(LOSSES.items())[:2]]
    for score in scores:
        regions = dict.fromkeys(region for history in runs.values() for region in history.regions(score))
        said = SHOWN.get(score, score.replace("_", " "))
        panels += [
            _panel_of_runs(f"{said} {region}", f"val/{score}_{region}", runs, bounded=_is_share(score))
            for region in regions
        ] or [LinePanel(f"{said}, validation", [])]
    draw_panels(panels, path=path, title=title, runs=list(runs), notes=_notes(runs), x=_unit(runs))


def draw_speed(runs: Mapping[str, History], *, path: Path, title: str) -> None:
    """Draw learning rate, samples a second, the share of time spent waiting and the GPU's memory.

    Args:
        runs: What each logged, by the run's name.
        path: The picture, in any format Matplotlib writes; its folder must exist.
        title: Stands above everything.
    """
    rates = dict.fromkeys(
        name for history in runs.values() for name in history.curves
        if name.startswith(RATE) and not name.endswith(NO_RATES)
    )  # fmt: skip
    several = len(rates) > 1
    panels = [
        _panel_of_runs("learning rate" + (f", {name.removeprefix(RATE)}" if several else ""), name, runs)
        for name in rates
    ] or [LinePanel("learning rate", [])]
    logged = {name for history in runs.values() for name in history.curves}
    panels += [
        _panel_of_runs(said, name, runs, bounded=name == "speed/waiting")
        for name, said in SPEEDS.items()
        if name in logged or name != "speed/gpu_gb"  # a processor has none
    ]
    draw_panels(panels, path=path, title=title, runs=list(runs), notes=_notes(runs), x=_unit(runs))


def clock(history: History) -> Callable[[Sequence[int]], list[float]]:
    """From steps to epochs done, with fractions within an epoch; steps alone where no epoch was logged.

    Example:
        >>> from brats_lightning.reports.run.history import history_of
        >>> at = clock(history_of({"step": step, "epoch": step // 4, "val/loss": 1.0} for step in (1, 3, 5, 7)))
        >>> at([1, 3, 5, 7])
        [0.5, 1.0, 1.5, 2.0]
    """
    last: dict[float, int] = {}
    first_step = math.inf
    for curve in history.curves.values():
        for step, epoch in zip(curve.steps, curve.epochs, strict=True):
            if not math.isnan(epoch):
                last[epoch] = max(step, last.get(epoch, 0))
                first_step = min(first_step, step)
    if not last:
        return lambda steps: [float(step) for step in steps]
    epochs = sorted(last)
    # A run that went on from another begins in the midst of things; else epoch 0 begins with step 0.
    knots = {0.0: 0} if epochs[0] == 0 else {epochs[0]: int(first_step)}
    knots |= {epoch + 1: last[epoch] + 1 for epoch in epochs}
    whole = sorted(knots.items())
    if len(whole) > 2:  # the last epoch may have been cut short: it is as long as the others
        lengths = [(to[1] - start[1]) / (to[0] - start[0]) for start, to in pairwise(whole[:-1])]
        usual = float(np.median(lengths))
        (before, start), (end, stop) = whole[-2:]
        whole[-1] = (end, max(stop, round(start + usual * (end - before))))
    x, y = [step for _, step in whole], [epoch for epoch, _ in whole]
    return lambda steps: np.interp(np.add(steps, 1), x, y).tolist()


def _loss_panel(history: History, at: Callable[[Sequence[int]], list[float]]) -> LinePanel:
    lines = []
    for name, said in reversed(LOSSES.items()):
        if curve := history.curves.get(name):
            thin = _thinned(curve)
            width = 1.0 if name == "train/loss_step" else LINE_WIDTH
            lines.append(Line(said, at(thin.steps), thin.values, LOSS_COLOURS[name], width=width))
    return LinePanel("loss", lines)


def _score_panel(history: History, score: str, at: Callable[[Sequence[int]], list[float]]) -> LinePanel:
    found = history.regions(score)
    colours = region_colours(list(found))
    lines = [
        Line(region, at(curve.steps), curve.values, colours[region], cased=True) for region, curve in found.items()
    ]
    said = SHOWN.get(score, score.replace("_", " "))
    return LinePanel(f"{said}, validation", lines, bounded=_is_share(score), direct=True)


def _panel_of_runs(title: str, name: str, runs: Mapping[str, History], *, bounded: bool = False) -> LinePanel:
    lines = []
    for number, (run, history) in enumerate(runs.items()):
        if curve := history.curves.get(name):
            thin = _thinned(curve)
            colour, dashes = look(number) if len(runs) > 1 else (INK, "-")
            lines.append(Line(run, clock(history)(thin.steps), thin.values, colour, dashes))
    return LinePanel(title, lines, bounded=bounded)


def _thinned(curve: Curve) -> Curve:
    return smoothed(curve, over=math.ceil(len(curve.steps) / MOST_POINTS)) if len(curve.steps) > MOST_POINTS else curve


def _is_share(score: str) -> bool:
    return not score.endswith("_mm")


def _notes(runs: Mapping[str, History]) -> list[str]:
    empty = [name for name, history in runs.items() if not history.curves]
    if not empty:
        return []
    return ["nothing was logged" if len(runs) == 1 else f"nothing was logged by {', '.join(empty)}"]


def _unit(runs: Mapping[str, History]) -> str:
    return "epoch" if any(history.epochs for history in runs.values()) else "step"
