"""All whole-image scores of one case, by name."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.empty import EmptyPolicy
from brats_lightning.metrics.overlap import joint_histogram
from brats_lightning.metrics.surface import hd95_mm

REGION_SCORES = ("dice", "iou", "hd95_mm")
ACCURACY = "accuracy"


def score_names(regions: Iterable[str]) -> list[str]:
    """Names of a case's scores: `dice_ET`, `iou_ET`, `hd95_mm_ET` for each region, then `accuracy`."""
    return [*(f"{score}_{region}" for region in regions for score in REGION_SCORES), ACCURACY]


def score_case(
    prediction: npt.NDArray[np.integer[Any]],
    reference: npt.NDArray[np.integer[Any]],
    *,
    spacing_mm: Sequence[float],
    regions: Mapping[str, tuple[int, ...]],
    empty: EmptyPolicy,
) -> dict[str, float]:
    """Score one predicted label map against its reference.

    Args:
        prediction: (X, Y, Z) integer label map.
        reference: The same, of the same shape.
        spacing_mm: Distance between neighbouring voxels along each axis.
        regions: Label values of each region, none of them background.
        empty: What a score is where a region is empty.

    Returns:
        Scores by the names of `score_names`, distances in mm.

    Raises:
        ValueError: Label maps, a spacing or regions that cannot be scored.
    """
    _validate(regions)
    histogram = joint_histogram(prediction, reference)
    inside = [np.ascontiguousarray(labels[histogram.box]) for labels in (prediction, reference)]
    scores: dict[str, float] = {}
    for region, values in regions.items():
        overlap = histogram.overlap(values)
        if overlap.prediction and overlap.reference:
            belongs = np.zeros(max(len(histogram.counts), *values) + 1, bool)
            belongs[list(values)] = True
            distance = hd95_mm(belongs[inside[0]], belongs[inside[1]], spacing_mm=spacing_mm)
            found = {"dice": overlap.dice, "iou": overlap.iou, "hd95_mm": distance}
        else:
            found = empty.scores(both=not (overlap.prediction or overlap.reference))
        scores |= {f"{score}_{region}": found[score] for score in REGION_SCORES}
    return scores | {ACCURACY: histogram.accuracy}


def _validate(regions: Mapping[str, tuple[int, ...]]) -> None:
    for region, values in regions.items():
        if not values or min(values) < 1:
            raise ValueError(f"expected labels above 0 for the region {region}, found {list(values)}")
