"""The ranking of the BraTS challenge: every case, region and score is a race.

Bakas et al. 2018, arXiv:1811.02629: methods are ranked for each case, region and score. The mean over a case is the
method's cumulative rank there, the mean of these over cases its final rank. A permutation test compares neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import stats

from brats_lightning.comparison.paired import DECIMALS, Floats

PERMUTATIONS = 100_000


@dataclass(frozen=True)
class Standing:
    """A method's place.

    Args:
        name: Of the method.
        place: From 1; methods of equal rank share it.
        rank: Mean of its cumulative ranks, from 1, the best, to the number of methods.
        p_next: Chance that swapping it with the next method, case by case, sets them as far apart; None for the last.
    """

    name: str
    place: int
    rank: float
    p_next: float | None


def cumulative_ranks(quality: npt.ArrayLike) -> Floats:
    """(methods, cases) mean rank of each method in each case.

    A race in which a method has no score is left out for all; a case without any race is NaN.

    Args:
        quality: (methods, cases, races), higher is better, NaN where undefined. Equals share the mean of their ranks.
    """
    quality = np.round(np.asarray(quality, np.float64), DECIMALS)
    run = ~np.isnan(quality).any(axis=0)
    ranks = stats.rankdata(np.where(run, -quality, 0), axis=0)
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(run, ranks, 0).sum(axis=2) / run.sum(axis=1)
    return means


def standings(names: Sequence[str], ranks: npt.ArrayLike, *, seed: int) -> list[Standing]:
    """Methods from the best to the worst; none where no case has a race.

    Args:
        names: Of the methods.
        ranks: (methods, cases) as of `cumulative_ranks`.
        seed: For the permutation tests.
    """
    ranks = np.asarray(ranks, np.float64)
    ranks = ranks[:, ~np.isnan(ranks).any(axis=0)]
    if not ranks.size:
        return []
    final = np.round(ranks.mean(axis=1), DECIMALS)
    order = sorted(range(len(names)), key=lambda index: (final[index], index))
    places = stats.rankdata(final, method="min")
    p_next = [permutation_p(ranks[better], ranks[worse], seed=seed) for better, worse in pairwise(order)]
    return [
        Standing(names[index], int(places[index]), float(final[index]), p)
        for index, p in zip(order, [*p_next, None], strict=True)
    ]


def permutation_p(better: npt.ArrayLike, worse: npt.ArrayLike, *, seed: int, permutations: int = PERMUTATIONS) -> float:
    """Chance that two methods swapped at random in each case are as far apart as they are; one-sided.

    All swaps are counted where there are no more than `permutations`. Drawn ones include the observed order, so that p
    is never 0 (Phipson and Smyth 2010, doi:10.2202/1544-6115.1585).

    Args:
        better: (cases,) cumulative ranks of the method with the lower mean.
        worse: (cases,) those of the other.
        seed: For drawing.
        permutations: How many.
    """
    gaps = np.asarray(worse, np.float64) - np.asarray(better, np.float64)
    observed = gaps.sum() - 10.0**-DECIMALS * gaps.size  # as far apart, but for rounding
    if 2**gaps.size <= permutations:
        sums = np.zeros(1)
        for gap in gaps:
            sums = np.concatenate([sums + gap, sums - gap])
        return float(np.mean(sums >= observed))
    generator = np.random.default_rng(seed)
    block = max(1, 4_000_000 // gaps.size)
    reached = 1
    for start in range(0, permutations, block):
        swapped = generator.integers(2, size=(min(block, permutations - start), gaps.size), dtype=np.int8)
        reached += int(np.count_nonzero(gaps.sum() - 2 * (swapped @ gaps) >= observed))
    return reached / (permutations + 1)
