"""All whole-image scores of one case, by name."""

import functools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from brats_lightning.metrics.bounding_box import Array, on_host
from brats_lightning.metrics.empty import EmptyPolicy
from brats_lightning.metrics.overlap import Overlap, joint_histogram
from brats_lightning.metrics.surface import CONVENTIONS, Convention, hd95_mm, surface_distances

REGION_SCORES = ("dice", "iou", "hd95_mm")
"""Scores of a region unless others are asked for."""

ACCURACY = "accuracy"

OVERLAP_SCORES: Mapping[str, Callable[[Overlap], float]] = MappingProxyType(
    {
        name: operator.attrgetter(name)
        for name in ("dice", "iou", "sensitivity", "specificity", "precision", "accuracy", "relative_volume_difference")
    }
)
VOLUME_SCORES: Mapping[str, Callable[[Overlap, Sequence[float]], float]] = MappingProxyType(
    {
        "predicted_volume_ml": Overlap.predicted_volume_ml,
        "reference_volume_ml": Overlap.reference_volume_ml,
        "absolute_volume_difference_ml": Overlap.absolute_volume_difference_ml,
    }
)
DISTANCE_SCORES = ("hd95_mm", "hd100_mm", "assd_mm")
SURFACE_DICE = re.compile(r"nsd_(\d+(?:\.\d+)?)mm")
"""Name of the normalised surface Dice at a tolerance: `nsd_1mm`, `nsd_0.5mm`."""

ALL_SCORES = (*OVERLAP_SCORES, *VOLUME_SCORES, *DISTANCE_SCORES, "nsd_1mm")
"""Every score of a region, the normalised surface Dice at one tolerance."""


def score_names(regions: Iterable[str], scores: Sequence[str] = REGION_SCORES) -> list[str]:
    """Names of a case's scores: `dice_ET`, `iou_ET`, `hd95_mm_ET` for each region, then the voxel `accuracy`.

    Raises:
        ValueError: A score that is neither one of `ALL_SCORES` nor a surface Dice, or is asked for twice.
    """
    if unknown := [name for name in scores if name not in ALL_SCORES and not SURFACE_DICE.fullmatch(name)]:
        known = ", ".join(ALL_SCORES)
        raise ValueError(f"unknown score {', '.join(unknown)}: expected any of {known} (nsd at any tolerance)")
    if len(set(scores)) < len(scores):
        raise ValueError(f"expected each score once, found {', '.join(scores)}")
    return [*(f"{score}_{region}" for region in regions for score in scores), ACCURACY]


def score_case(
    prediction: Array,
    reference: Array,
    *,
    spacing_mm: Sequence[float],
    regions: Mapping[str, tuple[int, ...]],
    empty: EmptyPolicy,
    scores: Sequence[str] = REGION_SCORES,
    convention: Convention = "directed",
) -> dict[str, float]:
    """Score one predicted label map against its reference, on the device where both are.

    Args:
        prediction: (X, Y, Z) integer label map, or a boolean mask, which is label 1.
        reference: The same, of the same shape.
        spacing_mm: Distance between neighbouring voxels along each axis.
        regions: Label values of each region, none of them background.
        empty: What a score is where a region is empty.
        scores: Which scores of each region.
        convention: How distances of boundaries become a score: one of `surface.CONVENTIONS`.

    Returns:
        Scores by the names of `score_names`, distances in mm, volumes in ml.

    Raises:
        ValueError: Label maps, a spacing, regions or scores that cannot be scored.
    """
    prediction, reference = on_host(prediction), on_host(reference)
    _validate(prediction, spacing_mm, regions, convention)
    names = score_names(regions, scores)
    histogram = joint_histogram(prediction, reference)
    labels = _inside(prediction, histogram.box), _inside(reference, histogram.box)
    diagonal_mm = math.hypot(*(size * step for size, step in zip(prediction.shape, spacing_mm, strict=True)))
    row: dict[str, float] = {}
    for region, values in regions.items():
        overlap = histogram.overlap(values)
        found = {name: OVERLAP_SCORES[name](overlap) for name in scores if name in OVERLAP_SCORES}
        found |= {name: VOLUME_SCORES[name](overlap, spacing_mm) for name in scores if name in VOLUME_SCORES}
        surface = [name for name in scores if name not in found]
        if overlap.prediction and overlap.reference:
            if surface:
                present = [value for value in values if value < len(histogram.counts)]
                masks = [functools.reduce(operator.or_, (side == value for value in present)) for side in labels]
                found |= _surface_scores(masks[0], masks[1], spacing_mm, surface, convention)
        else:
            predicted, expected = overlap.prediction > 0, overlap.reference > 0
            found |= {name: _without_surface(name, one=predicted or expected) for name in surface}
            found = empty.settle(found, prediction=predicted, reference=expected, diagonal_mm=diagonal_mm)
        row |= {f"{name}_{region}": score for name, score in found.items()}
    row[ACCURACY] = histogram.accuracy
    return {name: row[name] for name in names}


def _inside(labels: Array, box: tuple[slice, ...]) -> Array:
    """What lies in the box, in as little memory and in as good an order as can be; labels go up to 255."""
    return np.ascontiguousarray(labels[box], np.uint8) if isinstance(labels, np.ndarray) else labels[box]


def _surface_scores(
    prediction: Array, reference: Array, spacing_mm: Sequence[float], names: Sequence[str], convention: Convention
) -> dict[str, float]:
    if list(names) == ["hd95_mm"]:  # needs but a part of the distances
        return {"hd95_mm": hd95_mm(prediction, reference, spacing_mm=spacing_mm, convention=convention)}
    distances = surface_distances(prediction, reference, spacing_mm=spacing_mm, convention=convention)
    found: dict[str, float] = {}
    for name in names:
        if tolerance := SURFACE_DICE.fullmatch(name):
            found[name] = distances.nsd(float(tolerance[1]))
        elif name == "assd_mm":
            found[name] = distances.assd_mm
        else:
            found[name] = distances.percentile_mm(100 if name == "hd100_mm" else 95)
    return found


def _without_surface(name: str, *, one: bool) -> float:
    """Nothing is within any tolerance of an empty mask; distances to it, and shares of no boundary, are undefined."""
    return 0.0 if one and SURFACE_DICE.fullmatch(name) else math.nan


def _validate(
    prediction: Array, spacing_mm: Sequence[float], regions: Mapping[str, tuple[int, ...]], convention: Convention
) -> None:
    if len(spacing_mm) != prediction.ndim or not all(0 < step < math.inf for step in spacing_mm):
        raise ValueError(f"expected {prediction.ndim} spacings above 0 mm, found {list(spacing_mm)}")
    if convention not in CONVENTIONS:
        raise ValueError(f"unknown convention {convention!r}: expected one of {', '.join(CONVENTIONS)}")
    for region, values in regions.items():
        if not values or min(values) < 1:
            raise ValueError(f"expected labels above 0 for the region {region}, found {list(values)}")
