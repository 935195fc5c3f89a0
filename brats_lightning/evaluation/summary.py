"""Scores of many cases in a few numbers, each with the number of cases it is over."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from brats_lightning.reports.scores import RegionRow

RESAMPLES = 10_000
_BLOCK = 2**20
"""Numbers drawn at once."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """How one score of one region spreads over cases; undefined scores are left out.

    Args:
        count: Cases that have the score; NaN below where there are too few.
        mean: Over these cases.
        std: Standard deviation of a sample.
        median: Half of the cases lie below.
        quartiles: A quarter and three quarters of the cases lie below.
        interval_95: Of the mean, by the bootstrap.
    """

    count: int
    mean: float
    std: float
    median: float
    quartiles: tuple[float, float]
    interval_95: tuple[float, float]


Summary: TypeAlias = Mapping[str, Mapping[str, Spread]]
"""By region and score."""


def summarise(rows: Sequence[RegionRow], *, seed: int = 0, resamples: int = RESAMPLES) -> dict[str, dict[str, Spread]]:
    """Spread of each score by region.

    The interval is the percentile bootstrap: cases are drawn with replacement, the same ones for every score, and the
    mean taken anew (Efron and Tibshirani 1993, chapter 13).

    Args:
        rows: Of all cases.
        seed: Of the draws.
        resamples: Number of draws.
    """
    by_region: dict[str, dict[str, Mapping[str, float]]] = {}
    # By case, so that the draws do not depend on the order of the rows.
    for row in sorted(rows, key=lambda row: row.case):
        by_region.setdefault(row.region, {})[row.case] = row.scores
    regions_of: dict[tuple[str, ...], list[str]] = {}
    for region in dict.fromkeys(row.region for row in rows):
        regions_of.setdefault(tuple(by_region[region]), []).append(region)
    summary: dict[str, dict[str, Spread]] = {region: {} for region in dict.fromkeys(row.region for row in rows)}
    for cases, regions in regions_of.items():  # drawing is dear, and regions mostly have the same cases
        columns = [
            (region, name)
            for region in regions
            for name in dict.fromkeys(name for case in cases for name in by_region[region][case])
        ]
        values = np.array([[by_region[region][case].get(name, math.nan) for region, name in columns] for case in cases])
        for at, ((region, name), interval) in enumerate(zip(columns, _intervals(values, seed, resamples), strict=True)):
            summary[region][name] = _spread(values[:, at], interval)
    return summary


def mean_of(values: Sequence[float]) -> float:
    """Mean of the defined values, NaN where there are none."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def as_json(summary: Summary) -> dict[str, dict[str, dict[str, object]]]:
    """The summary in types that JSON has: NaN is null."""

    def plain(value: object) -> object:
        if isinstance(value, tuple):
            return [plain(part) for part in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {
        region: {name: {key: plain(value) for key, value in vars(spread).items()} for name, spread in scores.items()}
        for region, scores in summary.items()
    }


def worst_cases(rows: Sequence[RegionRow], *, count: int = 5) -> list[tuple[str, float]]:
    """Cases of the lowest mean Dice over their regions, the worst first, with that mean; ties by name."""
    dice: dict[str, list[float]] = {}
    for row in rows:
        dice.setdefault(row.case, []).append(row.scores.get("dice", math.nan))
    means = [(case, mean) for case, values in dice.items() if not math.isnan(mean := mean_of(values))]
    return sorted(means, key=lambda pair: (pair[1], pair[0]))[:count]


def _spread(values: Floats, interval: tuple[float, float]) -> Spread:
    defined = values[~np.isnan(values)]
    if not defined.size:
        return Spread(0, math.nan, math.nan, math.nan, (math.nan, math.nan), interval)
    lower, median, upper = np.percentile(defined, [25, 50, 75]).tolist()
    std = float(defined.std(ddof=1)) if defined.size > 1 else math.nan
    return Spread(defined.size, mean_of(defined.tolist()), std, median, (lower, upper), interval)


def _intervals(values: Floats, seed: int, resamples: int) -> list[tuple[float, float]]:
    """Bootstrap interval of the mean of each column of (cases, scores); NaN where fewer than two cases have it."""
    cases, scores = values.shape
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0)
    generator = np.random.default_rng(seed)
    means = np.empty((resamples, scores))
    edges = [*range(0, resamples, max(1, _BLOCK // cases)), resamples]
    for start, stop in pairwise(edges):
        times = generator.multinomial(cases, [1 / cases] * cases, stop - start).astype(np.float64)
        with np.errstate(invalid="ignore"):  # 0/0 where a draw has no case with the score
            means[start:stop] = (times @ filled) / (times @ defined)
    intervals = []
    for column in range(scores):
        drawn = means[:, column][~np.isnan(means[:, column])]
        enough = np.count_nonzero(defined[:, column]) > 1
        lower, upper = np.percentile(drawn, [2.5, 97.5]).tolist() if enough else (math.nan, math.nan)
        intervals.append((lower, upper))
    return intervals
