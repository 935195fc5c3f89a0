"""Cases in which two methods differ most: those to look at."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.labels import CHALLENGE_REGIONS

AT_EACH_END = 3
SCORE = "dice"


@dataclass(frozen=True)
class Extreme:
    """One case.

    Args:
        case: Its id.
        mean: First minus second, over the regions that count.
        differences: First minus second by region, of those that are defined.
    """

    case: str
    mean: float
    differences: Mapping[str, float]


def counted_regions(tests: Sequence[PairedTest]) -> tuple[str, ...]:
    """Regions that the mean of a case is over."""
    compared = tuple(dict.fromkeys(test.region for test in tests if test.score == SCORE))
    return CHALLENGE_REGIONS if set(CHALLENGE_REGIONS) <= set(compared) else compared


def extremes(tests: Sequence[PairedTest], *, at_each_end: int = AT_EACH_END) -> list[Extreme]:
    """Cases whose Dice, as a mean over regions, differs most: where the first is better, then where the second is.

    The mean is over the challenge's regions where all of them are compared, else over all, as in the report of a run.

    Args:
        tests: Of one pair.
        at_each_end: How many cases of each kind at most; those without a difference are of neither.
    """
    by_region = {test.region: test.differences for test in tests if test.score == SCORE}
    counted = counted_regions(tests)
    found = []
    for case in sorted({case for region in counted for case in by_region[region]}):
        own = {region: values[case] for region, values in by_region.items() if case in values}
        mean = statistics.fmean(own[region] for region in counted if region in own)
        found.append(Extreme(case, mean, own))
    ranked = sorted(found, key=lambda extreme: -extreme.mean)
    first = [extreme for extreme in ranked if extreme.mean > 0][:at_each_end]
    second = [extreme for extreme in ranked if extreme.mean < 0][::-1][:at_each_end]
    return [*first, *reversed(second)]
