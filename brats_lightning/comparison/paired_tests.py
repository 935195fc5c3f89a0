"""Every score of every region of two methods, case against case."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from brats_lightning.comparison.comparable import Race
from brats_lightning.comparison.paired import (
    Floats,
    bootstrap_interval,
    holm,
    paired_differences,
    signed_rank,
    smallest_p,
)
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.score_kinds import Better

Verdict = Literal["first", "second", "none shown", "too few cases"]


@dataclass(frozen=True)
class PairedTest:
    """One score of one region, first method against second.

    Args:
        first: Name of a method.
        second: Name of the other.
        region: Or `WHOLE_CASE`.
        score: Column of the files.
        better: Which way.
        differences: First minus second, by case.
        undefined: Cases left out as a method has no score.
        means: Of the first and of the second, over the cases that are left.
        interval: 95 % bootstrap interval of the mean difference.
        p: Two-sided, of the signed-rank test.
        balance: Rank-biserial correlation of the test, above 0 where the first has the larger numbers.
        exact: Whether p is exact.
        used: Differences other than 0.
        p_holm: Adjusted for all tests of the comparison.
        smallest_p_holm: What it would be if all differences of every test pointed one way.
    """

    first: str
    second: str
    region: str
    score: str
    better: Better
    differences: Mapping[str, float]
    undefined: int
    means: tuple[float, float]
    interval: tuple[float, float]
    p: float
    balance: float
    exact: bool
    used: int
    p_holm: float = 1.0
    smallest_p_holm: float = 1.0

    @property
    def difference(self) -> float:
        """Mean of first minus second."""
        return math.fsum(self.differences.values()) / len(self.differences)

    @property
    def smallest_p(self) -> float:
        """What the exact test could give at best."""
        return smallest_p(self.used)

    @property
    def won(self) -> int:
        """Cases in which the first is better."""
        return sum(value * self._sign > 0 for value in self.differences.values())

    @property
    def lost(self) -> int:
        """Cases in which the second is better."""
        return sum(value * self._sign < 0 for value in self.differences.values())

    @property
    def tied(self) -> int:
        """Cases in which both are equal."""
        return len(self.differences) - self.won - self.lost

    @property
    def _sign(self) -> int:
        return 1 if self.better == "higher" else -1

    def verdict(self, alpha: float) -> Verdict:
        """Which one is shown to be better at that level, if these cases could show it at all."""
        if self.p_holm <= alpha:
            return "first" if self.balance * self._sign > 0 else "second"
        return "too few cases" if self.smallest_p_holm > alpha and self.used else "none shown"


def paired_tests(
    files: Sequence[ScoreFile],
    cases: Sequence[str],
    values: Mapping[Race, Floats],
    *,
    better: Mapping[str, Better],
    pairs: Sequence[tuple[int, int]],
    seed: int,
) -> tuple[list[PairedTest], list[str]]:
    """Test every pair, region and score as one family.

    Args:
        files: The methods.
        cases: Those that all have.
        values: (methods, cases) numbers of each region and score.
        better: Which way, for each score.
        pairs: Indices of the methods to test against each other.
        seed: For the bootstrap.

    Returns:
        The tests, and the names of those that fewer than two cases define.
    """
    tests, skipped = [], []
    for one, other in pairs:
        for (region, score), table in values.items():
            defined = ~np.isnan(table[one] - table[other])
            if np.count_nonzero(defined) < 2:
                skipped.append(f"{region} {score}")
                continue
            first, second = table[one][defined], table[other][defined]
            differences = paired_differences(first, second)
            test = signed_rank(differences)
            tests.append(
                PairedTest(
                    files[one].name, files[other].name, region, score, better[score],
                    dict(zip(np.array(cases)[defined].tolist(), differences.tolist(), strict=True)),
                    undefined=len(cases) - differences.size,
                    means=(float(first.mean()), float(second.mean())),
                    interval=bootstrap_interval(differences, seed=seed),
                    p=test.p, balance=test.balance, exact=test.exact, used=test.used,
                )
            )  # fmt: skip
    adjusted = holm([test.p for test in tests])
    # Holm's correction is monotone: the smallest p-values give the smallest adjusted ones.
    smallest = holm([test.smallest_p for test in tests])
    corrected = [
        replace(test, p_holm=p, smallest_p_holm=least) for test, p, least in zip(tests, adjusted, smallest, strict=True)
    ]
    return corrected, skipped
