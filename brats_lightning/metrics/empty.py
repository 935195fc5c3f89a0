"""What a score is where a mask is empty: many patients have no enhancing tumour, and rightly so."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

VOLUME_DIAGONAL_MM = math.hypot(240, 240, 155)
"""Diagonal of a BraTS volume of 1 mm, 373.13 mm: what a missed region costs."""

SHARES = ("dice", "iou", "sensitivity", "precision", "nsd")
"""Scores from 0 to 1 that may be 0/0 where a mask is empty; `nsd` at any tolerance."""


@dataclass(frozen=True)
class EmptyPolicy:
    """Scores of a region that the prediction, the reference or both do not have.

    It speaks where the formula is silent: Dice of a missed region is 0 by itself, its distance is nothing. Scores that
    are neither shares nor distances stay as the formula has them: specificity, accuracy and volumes are defined for
    empty masks too; a volume difference relative to nothing is not, and stays NaN.

    Args:
        name: Stored beside every score that follows it.
        share_both: Dice, IoU, sensitivity, precision and surface Dice where both masks are empty.
        share_one: What of these is undefined where one is empty: sensitivity without a reference, precision without
            a prediction.
        distance_mm_both: HD95, HD100 and ASSD in mm where both are empty.
        distance_mm_one: The same where one is empty; None for the diagonal of the image at hand.
        without_reference: Whether a region that the reference does not have is scored at all; NaN throughout if not.
    """

    name: str = "brats"
    share_both: float = 1.0
    share_one: float = 0.0
    distance_mm_both: float = 0.0
    distance_mm_one: float | None = VOLUME_DIAGONAL_MM
    without_reference: bool = True

    def settle(
        self, scores: Mapping[str, float], *, prediction: bool, reference: bool, diagonal_mm: float
    ) -> dict[str, float]:
        """Scores of a region by name, where at least one of the two masks is empty.

        Args:
            scores: What the formulas give, NaN where they give nothing.
            prediction: Whether the prediction has the region.
            reference: Whether the reference has it.
            diagonal_mm: Diagonal of the image.
        """
        if not (reference or self.without_reference):
            return dict.fromkeys(scores, math.nan)
        if prediction or reference:
            share = self.share_one
            distance = diagonal_mm if self.distance_mm_one is None else self.distance_mm_one
        else:
            share, distance = self.share_both, self.distance_mm_both
        settled = dict(scores)
        for name in [name for name, score in scores.items() if math.isnan(score)]:
            if name.endswith("_mm"):
                settled[name] = distance
            elif name.startswith(SHARES):
                settled[name] = share
        return settled


EMPTY_POLICIES: Mapping[str, EmptyPolicy] = MappingProxyType(
    {
        policy.name: policy
        for policy in (
            # As the challenge scored whole images up to 2022.
            EmptyPolicy("brats"),
            # The same in images of another size: no distance inside the image is larger.
            EmptyPolicy("brats-diagonal", distance_mm_one=None),
            # Formulas only: 0/0 and the distance to nothing are undefined, the overlap with nothing is 0.
            EmptyPolicy(
                "nan", share_both=math.nan, share_one=math.nan, distance_mm_both=math.nan, distance_mm_one=math.nan
            ),
            # Over those who have the region: a false find says nothing, a miss counts in full.
            EmptyPolicy("exclude", without_reference=False),
        )
    }
)


def empty_policy(name: str) -> EmptyPolicy:
    """Policy of that name.

    Raises:
        ValueError: `EMPTY_POLICIES` has no such name.
    """
    if name not in EMPTY_POLICIES:
        raise ValueError(f"unknown policy for empty masks {name!r}: expected one of {', '.join(EMPTY_POLICIES)}")
    return EMPTY_POLICIES[name]
