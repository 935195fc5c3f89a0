"""What a run logged while it trained: a curve for each number, read from `metrics.csv` or from other rows."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from brats_lightning.errors import BratsError
from brats_lightning.labels import TISSUES

METRICS = "metrics.csv"
STEP, EPOCH = "step", "epoch"
MEANS = ("val/dice_mean_ET_ED_NCR", "val/dice_mean_WT_TC_ET")
"""What the best epoch is chosen by where the configuration names nothing that was logged."""
_MOST_DIGITS = 19
"""Of a step: it is below 2⁶³."""
_AVERAGES = ("mean_", "class_", "micro_", "macro_")
"""Behind a score's name, what is no region."""
_REGIONS = (*TISSUES, "RC", "CC", "WT", "TC")


@dataclass(frozen=True)
class Curve:
    """One number over a run.

    Args:
        steps: At which it was logged, rising.
        epochs: In which, from 0; NaN where the row does not say.
        values: NaN and infinite ones too, as they were logged.
    """

    steps: tuple[int, ...]
    epochs: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def finite(self) -> list[float]:
        """Values that are numbers."""
        return [value for value in self.values if math.isfinite(value)]

    @property
    def last(self) -> float:
        """The value logged last."""
        return self.values[-1]

    def best(self, *, largest: bool) -> int | None:
        """Where the first of its best values stands, None where none is a number."""
        found = [index for index, value in enumerate(self.values) if math.isfinite(value)]
        sign = 1 if largest else -1
        return max(found, key=lambda index: (sign * self.values[index], -index), default=None)

    def at(self, step: int) -> float:
        """The value of a step, NaN where it has none."""
        return self.values[self.steps.index(step)] if step in self.steps else math.nan


@dataclass(frozen=True)
class Best:
    """The step whose network is the run's best one.

    Args:
        step: Of the run.
        epoch: From 0, NaN where it is not known.
        by: Name of the curve that says so.
        value: Of that curve.
    """

    step: int
    epoch: float
    by: str
    value: float


@dataclass(frozen=True)
class History:
    """All curves of a run.

    Args:
        curves: By name; those without any value are left out.
        notes: What was wrong with the file, in sentences.
    """

    curves: Mapping[str, Curve] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps that were done, 0 where nothing was logged."""
        return 1 + max((curve.steps[-1] for curve in self.curves.values()), default=-1)

    @property
    def epochs(self) -> int:
        """Epochs that were begun, 0 where no row names one."""
        known = [epoch for curve in self.curves.values() for epoch in curve.epochs if not math.isnan(epoch)]
        return 1 + int(max(known, default=-1))

    def starting_with(self, prefix: str) -> dict[str, Curve]:
        """Curves by what follows a prefix in their names."""
        return {name.removeprefix(prefix): self.curves[name] for name in self.curves if name.startswith(prefix)}

    def regions(self, score: str) -> dict[str, Curve]:
        """A validation score by region, without means over regions; the known regions first, in one order."""
        found = self.starting_with(f"val/{score}_")
        names = sorted((name for name in found if not name.startswith(_AVERAGES)), key=_place)
        return {name: found[name] for name in names}

    def best(self, monitor: str | None = None, *, largest: bool = True) -> Best | None:
        """The best step by a curve, or by the mean Dice where that one was not logged; None where neither was."""
        wishes = [(monitor, largest)] if monitor else []
        wishes += [(name, True) for name in (*MEANS, *(f"val/dice_{region}" for region in self.regions("dice")))]
        for name, upwards in wishes:
            curve = self.curves.get(str(name))
            index = None if curve is None else curve.best(largest=upwards)
            if curve is not None and index is not None:
                return Best(curve.steps[index], curve.epochs[index], str(name), curve.values[index])
        return None


def read_history(path: Path) -> History:
    """Read `metrics.csv`, also of a run that was killed while it wrote, or that still writes.

    Args:
        path: The file.

    Raises:
        BratsError: It cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BratsError(f"{path} cannot be read ({error.strerror}): expected the metrics.csv of a run") from error
    end = content.rfind(b"\n") + 1
    text = content[:end].decode("utf-8-sig", errors="replace")
    notes = [f"{path.name} ends in the middle of a row, which is left out."] if content[end:].strip() else []
    # Zero bytes are what a file system that lost power leaves in place of rows.
    reader = csv.DictReader(io.StringIO(text.replace("\0", ""), newline=""), strict=False)
    rows, broken = [], 0
    while (row := _next(reader)) is not None:
        if None in row or None in row.values() or not _is_step(row.get(STEP) or ""):
            broken += 1
        else:
            rows.append({name: value for name, value in row.items() if value})
    if broken:
        notes.append(f"{path.name} has {broken} row{'s' * (broken != 1)} that are no rows, left out.")
    if not rows:
        notes.append(f"{path.name} holds no row: nothing was logged before the run ended.")
    return history_of(rows, notes=notes)


def history_of(rows: Iterable[Mapping[str, object]], *, notes: Iterable[str] = ()) -> History:
    """Put rows together to curves.

    Args:
        rows: In any order, each with `step`, perhaps `epoch`, and numbers; of two values at one step the later counts.
        notes: What was wrong where they were read.
    """
    found: dict[str, dict[int, float]] = {}
    epoch_of: dict[int, float] = {}
    for row in rows:
        step = int(str(row[STEP]))
        for name, cell in row.items():
            number = _number(cell)
            if number is None or name == STEP:
                continue
            if name == EPOCH:
                epoch_of[step] = number
            else:
                found.setdefault(name, {})[step] = number
    curves = {}
    for name, values in found.items():
        steps = tuple(sorted(values))
        epochs = tuple(epoch_of.get(step, math.nan) for step in steps)
        curves[name] = Curve(steps, epochs, tuple(values[step] for step in steps))
    undefined = [
        name for name, curve in curves.items() if name.endswith("loss") and len(curve.finite) < len(curve.steps)
    ]
    return History(
        curves, (*notes, *(f"{name} was no number in some epochs: the training broke." for name in undefined))
    )


def smoothed(curve: Curve, *, over: int) -> Curve:
    """The mean over neighbours, for curves of so many steps that one sees only their noise.

    Args:
        curve: With a value at each step.
        over: How many make one point.
    """
    starts = range(0, len(curve.steps), max(1, over))
    parts = [slice(first, last) for first, last in pairwise([*starts, len(curve.steps)])]
    kept = [(part, [value for value in curve.values[part] if math.isfinite(value)]) for part in parts]
    return Curve(
        tuple(curve.steps[part][len(curve.steps[part]) // 2] for part, _ in kept),
        tuple(curve.epochs[part][len(curve.epochs[part]) // 2] for part, _ in kept),
        tuple(math.fsum(values) / len(values) if values else math.nan for _, values in kept),
    )


def _next(reader: Iterator[dict[str, str]]) -> dict[str, str] | None:
    """The next row, None behind the last one; an empty one in place of what is no CSV."""
    try:
        return next(reader, None)
    except csv.Error:  # a quotation mark in what was damaged takes in all that follows
        return {}


def _is_step(cell: str) -> bool:
    return cell.isdecimal() and len(cell) < _MOST_DIGITS


def _place(region: str) -> int:
    return _REGIONS.index(region) if region in _REGIONS else len(_REGIONS)


def _number(cell: object) -> float | None:
    try:
        return float(str(cell))
    except ValueError:
        return None
