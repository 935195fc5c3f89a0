"""What a score is where a mask is empty: many patients have no enhancing tumour, and rightly so."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

VOLUME_DIAGONAL_MM = math.hypot(240, 240, 155)
"""Diagonal of a BraTS volume of 1 mm, 373.13 mm: what a missed region costs."""


@dataclass(frozen=True)
class EmptyPolicy:
    """Scores of a region that the prediction, the reference or both do not have.

    Args:
        name: Stored beside every score that follows it.
        dice_both: Dice where both are empty.
        dice_one: Dice where one of the two is empty.
        iou_both: Intersection over union where both are empty.
        iou_one: Intersection over union where one is empty.
        hd95_mm_both: Distance in mm where both are empty.
        hd95_mm_one: Distance in mm where one is empty.
    """

    name: str = "brats"
    dice_both: float = 1.0
    dice_one: float = 0.0
    iou_both: float = 1.0
    iou_one: float = 0.0
    hd95_mm_both: float = 0.0
    hd95_mm_one: float = VOLUME_DIAGONAL_MM

    def scores(self, *, both: bool) -> dict[str, float]:
        """Dice, IoU and HD95 of a region that is empty in both label maps, or in one of them."""
        if both:
            return {"dice": self.dice_both, "iou": self.iou_both, "hd95_mm": self.hd95_mm_both}
        return {"dice": self.dice_one, "iou": self.iou_one, "hd95_mm": self.hd95_mm_one}


EMPTY_POLICIES: Mapping[str, EmptyPolicy] = MappingProxyType(
    {
        # As the challenge scored whole images up to 2022.
        "brats": EmptyPolicy(),
        # Formulas only: 0/0 and the distance to nothing are undefined, the overlap with nothing is 0.
        "nan": EmptyPolicy("nan", dice_both=math.nan, iou_both=math.nan, hd95_mm_both=math.nan, hd95_mm_one=math.nan),
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
