"""How far two masks agree by the measures that the BraTS scorers take of a lesion and of a whole image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.bounding_box import joint_bounding_box
from brats_lightning.metrics.surface import surface_distances
from brats_lightning.metrics.surfels import surfel_hd95_mm


@dataclass(frozen=True)
class Agreement:
    """Scores of two masks.

    Args:
        dice: 2 |P ∩ R| / (|P| + |R|), 1 where both are empty.
        hd95_mm: HD95 over surfels, 0 where both are empty, infinite where one is.
        nsd: Surface Dice over boundary voxels by tolerance in mm, as the mean of the two directed shares; 1 where both
            are empty, 0 where one is. Only the tolerances that were asked for.
    """

    dice: float
    hd95_mm: float
    nsd: Mapping[float, float] = field(default_factory=dict)


def agreement(
    prediction: npt.NDArray[Any],
    reference: npt.NDArray[Any],
    *,
    spacing_mm: Sequence[float],
    nsd_tolerances_mm: Sequence[float] = (),
) -> Agreement:
    """Dice, HD95 and surface Dice of two masks.

    Args:
        prediction: (X, Y, Z) boolean mask, or numbers of lesions: then HD95 is that of the numbers, as
            `surfel_hd95_mm` says, and all else that of the mask.
        reference: The same, of the same shape.
        spacing_mm: Distance between neighbouring voxels along each axis.
        nsd_tolerances_mm: Tolerances of the surface Dice.
    """
    box = joint_bounding_box(prediction, reference)
    sides = prediction[box], reference[box]
    predicted, expected = (side != 0 for side in sides)
    sizes = int(np.count_nonzero(predicted)), int(np.count_nonzero(expected))
    hd95_mm = surfel_hd95_mm(sides[0].astype(np.uint8), sides[1].astype(np.uint8), spacing_mm=spacing_mm)
    if not all(sizes):
        empty = float(not any(sizes))
        return Agreement(empty, hd95_mm, dict.fromkeys(nsd_tolerances_mm, empty))
    dice = 2 * int(np.count_nonzero(predicted & expected)) / sum(sizes)
    if not nsd_tolerances_mm:
        return Agreement(dice, hd95_mm)
    distances = surface_distances(predicted, expected, spacing_mm=spacing_mm, convention="averaged")
    return Agreement(dice, hd95_mm, {tolerance: distances.nsd(tolerance) for tolerance in nsd_tolerances_mm})
