"""Runs side by side: how long they took, what they reached, and in which settings they differ."""

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from brats_lightning.comparison.members import Member
from brats_lightning.reports.run.settings import differences
from brats_lightning.reports.run.wandb import duration
from brats_lightning.reports.run.words import NONE, epoch_text, number
from brats_lightning.reports.scores import SHOWN

COMPARED = ("dice", "hd95_mm")
DIGITS = 9
"""Of a digest: enough to tell two apart."""


@dataclass(frozen=True)
class RunRow:
    """One line of the table.

    Args:
        name: What it is.
        cells: Of each run.
    """

    name: str
    cells: tuple[str, ...]


def run_rows(members: Sequence[Member]) -> list[RunRow]:
    """Length, speed and memory; then validation scores by region, of the best network and of the last epoch."""
    said: list[tuple[str, Callable[[Member], str]]] = [
        ("network", lambda each: each.network or NONE),
        ("cases trained on / validated", lambda each: each.cases or NONE),
        ("git commit", lambda each: each.machine.get("git commit", NONE)),
        ("GPU", lambda each: each.machine.get("GPU", NONE)),
        ("data", lambda each: _digest(each, "data")),
        ("split", lambda each: _digest(each, "split")),
        ("epochs", lambda each: str(each.history.epochs or NONE)),
        ("steps", lambda each: str(each.history.steps or NONE)),
        ("time", lambda each: duration(each.seconds)),
        ("samples/s", lambda each: _typical(each, "speed/samples_per_s", "{:.3g}")),
        ("waiting for data", lambda each: _typical(each, "speed/waiting", "{:.0%}")),
        ("GPU memory", lambda each: _most(each, "speed/gpu_gb", "{:.1f} GB")),
        ("best network", lambda each: epoch_text(each.best)),
        ("lowest validation loss", _lowest_loss),
    ]
    rows = [RunRow(name, tuple(tell(each) for each in members)) for name, tell in said]
    return [*[row for row in rows if set(row.cells) != {NONE}], *_score_rows(members)]


def _score_rows(members: Sequence[Member]) -> Iterator[RunRow]:
    for score in COMPARED:
        for region in dict.fromkeys(region for each in members for region in each.history.regions(score)):
            cells = tuple(_best_and_last(each, f"val/{score}_{region}", score) for each in members)
            yield RunRow(f"{SHOWN[score]} {region}", cells)


def _best_and_last(member: Member, name: str, score: str) -> str:
    curve = member.history.curves.get(name)
    if curve is None:
        return NONE
    at_best = math.nan if member.best is None else curve.at(member.best.step)
    return f"{number(at_best, score)} / {number(curve.last, score)}"


def setting_rows(members: Sequence[Member]) -> list[RunRow]:
    """Settings in which runs differ; none where a configuration is not known."""
    if not all(member.settings for member in members):
        return []
    return [RunRow(key, values) for key, values in differences([member.settings for member in members]).items()]


def _digest(member: Member, name: str) -> str:
    """Equal letters stand for equal content."""
    return member.machine.get(name, NONE)[:DIGITS]


def _typical(member: Member, name: str, form: str) -> str:
    """The median over epochs: the first one warms up, and a neighbour may disturb some."""
    curve = member.history.curves.get(name)
    return form.format(statistics.median(curve.finite)) if curve is not None and curve.finite else NONE


def _most(member: Member, name: str, form: str) -> str:
    curve = member.history.curves.get(name)
    return form.format(max(curve.finite)) if curve is not None and curve.finite else NONE


def _lowest_loss(member: Member) -> str:
    curve = member.history.curves.get("val/loss")
    return f"{min(curve.finite):.4g}" if curve is not None and curve.finite else NONE
