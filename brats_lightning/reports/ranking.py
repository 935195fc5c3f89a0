"""From the worst to the best of the scored cases: one ranking for reports and for the pictures that they show."""

import math
import statistics
from collections.abc import Iterable, Mapping

from brats_lightning.labels import CHALLENGE_REGIONS

ENDS = 5
"""Cases shown as the worst, and as the best."""


def averaged(regions: Iterable[str]) -> tuple[str, ...]:
    """Regions that cases are ranked by: the challenge's where all of them are scored, else all.

    Example:
        >>> averaged(["ET", "ED", "WT", "TC"]), averaged(["ET", "ED"])
        (('WT', 'TC', 'ET'), ('ET', 'ED'))
    """
    scored = tuple(dict.fromkeys(regions))
    return CHALLENGE_REGIONS if set(CHALLENGE_REGIONS) <= set(scored) else scored


def mean_dice(dice: Mapping[str, float]) -> float:
    """What a case is ranked by, from the Dice of its regions; undefined ones are left out, NaN where all are.

    Example:
        >>> mean_dice({"ET": 0.5, "WT": 1.0, "TC": 0.75, "ED": 0.0}), mean_dice({"ET": float("nan"), "ED": 0.25})
        (0.75, 0.25)
    """
    defined = [value for region in averaged(dice) if not math.isnan(value := dice[region])]
    return statistics.fmean(defined) if defined else math.nan


def ranked(means: Mapping[str, float]) -> list[str]:
    """Cases from the worst to the best, those alike by name; those without a defined mean are left out."""
    return sorted((case for case, mean in means.items() if not math.isnan(mean)), key=lambda case: (means[case], case))


def ends(means: Mapping[str, float], *, count: int = ENDS) -> tuple[list[str], list[str]]:
    """The worst and the best cases, each from its end of the ranking inwards; none is in both.

    Args:
        means: By case, from `mean_dice`.
        count: Of cases at each end, at most; of an odd one that is left the worst take it.

    Example:
        >>> ends({"a": 0.5, "b": 0.1, "c": 0.9}, count=2)
        (['b', 'a'], ['c'])
    """
    order = ranked(means)
    half = math.ceil(len(order) / 2)
    return order[: min(count, half)], order[max(len(order) - count, half) :][::-1]
