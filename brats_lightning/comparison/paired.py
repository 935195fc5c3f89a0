"""Statistics of paired differences: pure functions of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

EXACT_UP_TO = 200
"""Differences up to which the signed-rank test counts all arrangements; beyond, its normal limit is as good."""
DECIMALS = 10
"""What differs by less differs by rounding: the order in which voxels were summed breaks no tie."""


def paired_differences(first: npt.ArrayLike, second: npt.ArrayLike) -> Floats:
    """(cases,) first minus second where both are defined, rounding noise removed."""
    differences = np.round(np.asarray(first, np.float64) - np.asarray(second, np.float64), DECIMALS)
    defined: Floats = differences[~np.isnan(differences)] + 0.0  # no negative zero
    return defined


@dataclass(frozen=True)
class SignedRank:
    """Outcome of a Wilcoxon signed-rank test.

    Args:
        p: Two-sided; 1 where nothing differs.
        balance: (ranks above 0 - ranks below) / all ranks, from -1 to 1: the rank-biserial correlation.
        used: Differences that are not 0. Zeros have no sign and are left out, as Wilcoxon did.
        exact: Whether all arrangements of signs were counted; the normal approximation if not.
    """

    p: float
    balance: float
    used: int
    exact: bool


def signed_rank(differences: npt.ArrayLike) -> SignedRank:
    """Test whether paired differences lie around 0; equal sizes share the mean of their ranks, in the exact test too.

    Wilcoxon 1945, doi:10.2307/3001968.

    Args:
        differences: (cases,) as of `paired_differences`.
    """
    signed = np.asarray(differences, np.float64)
    signed = signed[signed != 0]
    if not signed.size:
        return SignedRank(1.0, 0.0, 0, exact=True)
    ranks = stats.rankdata(np.abs(signed))
    above, total = float(ranks[signed > 0].sum()), float(ranks.sum())
    exact = signed.size <= EXACT_UP_TO
    if exact:
        p = min(1.0, 2 * _chance_at_most(min(above, total - above), ranks))
    else:
        p = float(stats.wilcoxon(signed, method="approx").pvalue)
    return SignedRank(p, (2 * above - total) / total, int(signed.size), exact)


def _chance_at_most(sum_of_ranks: float, ranks: Floats) -> float:
    """Chance that ranks with signs drawn by coins sum to no more above 0."""
    doubled = np.rint(2 * ranks).astype(int)  # shared ranks are halves
    chances = np.zeros(doubled.sum() + 1)
    chances[0] = 1.0
    for rank in doubled:
        chances[rank:] = (chances[rank:] + chances[: chances.size - rank]) / 2
        chances[:rank] /= 2
    return float(chances[: round(2 * sum_of_ranks) + 1].sum())


def smallest_p(differences: int) -> float:
    """Smallest two-sided p the exact signed-rank test can give: every difference, none 0, points one way.

    Example:
        >>> smallest_p(5), smallest_p(6)
        (0.0625, 0.03125)
    """
    return min(1.0, 2.0 ** (1 - differences))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of one family of tests so that the chance of any false alarm keeps its level.

    Holm 1979, https://www.jstor.org/stable/4615733. A p-value that grows lets no adjusted one shrink.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    adjusted, reached = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        reached = max(reached, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = reached
    return adjusted


def bootstrap_interval(
    differences: npt.ArrayLike, *, seed: int, resamples: int = 10_000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean over cases drawn with replacement; too narrow for a handful of cases.

    Efron 1979, doi:10.1214/aos/1176344552.

    Args:
        differences: (cases,) at least one.
        seed: The same seed and number of cases draw the same cases.
        resamples: How many draws.
        level: Share of the draws' means inside.
    """
    values = np.asarray(differences, np.float64)
    generator = np.random.default_rng(seed)
    block = max(1, 1_000_000 // values.size)
    means = []
    for start in range(0, resamples, block):
        drawn = generator.integers(values.size, size=(min(block, resamples - start), values.size))
        means.append(values[drawn].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2]).tolist()
    return low, high
