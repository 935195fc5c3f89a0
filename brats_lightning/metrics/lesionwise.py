"""Lesion-wise Dice and HD95 by the rules of BraTS 2023 and later: a missed metastasis weighs as much as a large tumour.

Saluja et al. 2023, https://github.com/rachitsaluja/BraTS-2023-Metrics; `lesion_rules` has every season and task.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.labels import REGIONS
from brats_lightning.metrics.agreement import Agreement, agreement
from brats_lightning.metrics.bounding_box import joint_bounding_box
from brats_lightning.metrics.lesion_rules import LesionRules, RegionRules
from brats_lightning.metrics.lesions import Lesions, Mask, grown, lesions

LABELS_AT_MOST = 256
LabelMap = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class LesionScore:
    """One lesion of the reference.

    Args:
        volume_mm3: Its volume.
        matches: Predicted lesions that reach it once it is dilated; each counts whole, and for every lesion it reaches.
        agreement: Of the lesion with its matches together.
        ignored: Too small to count.
    """

    volume_mm3: float
    matches: int
    agreement: Agreement
    ignored: bool


@dataclass(frozen=True)
class LesionScores:
    """Scores of one region.

    Args:
        dice: Mean over the lesions that count and the false positives, which get 0; 1 where there are none.
        hd95_mm: The same mean, where misses and false positives get the penalty; 0 where there are none.
        nsd: The same mean as `dice`, of the surface Dice by tolerance in mm.
        true_positives: Lesions that count and are matched.
        false_positives: Predicted lesions that match none, not even one too small to count.
        false_negatives: Lesions that count and are not matched.
        whole: Agreement of the whole masks, the penalty in place of an infinite HD95.
        sensitivity: Of the whole masks: 1 where both are empty, 0 where only the reference is.
        specificity: Of the whole masks.
        lesions: Every lesion of the reference, in the scorer's order.
        matched: Predicted lesions that match any.
        prediction_mm3: Volume of the predicted lesions, without those dropped.
    """

    dice: float
    hd95_mm: float
    nsd: Mapping[float, float]
    true_positives: int
    false_positives: int
    false_negatives: int
    whole: Agreement
    sensitivity: float
    specificity: float
    lesions: tuple[LesionScore, ...]
    matched: int
    prediction_mm3: float

    @property
    def reference_mm3(self) -> float:
        """Volume of the reference, lesions too small to count included."""
        return math.fsum(lesion.volume_mm3 for lesion in self.lesions)


@dataclass(frozen=True)
class _Grid:
    """Voxels of the whole image along each axis, and the distances between them."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]

    @property
    def voxel_mm3(self) -> float:
        # The scorers take spacings from the header, which holds single precision.
        return math.prod(float(np.float32(step)) for step in self.spacing_mm)


def lesionwise_scores(
    prediction: LabelMap, reference: LabelMap, *, spacing_mm: Sequence[float], rules: LesionRules
) -> dict[str, LesionScores]:
    """Score each region of a case by the rules of one season and task.

    Args:
        prediction: (X, Y, Z) label map with the labels from inside the program, see `brats_lightning.labels`; a label
            that no region has is background.
        reference: The same, of the same shape.
        spacing_mm: Distance between neighbouring voxels along each axis.
        rules: One of `lesion_rules.RULES`.

    Raises:
        ValueError: Shapes that differ or are not of three axes, values that are no labels, spacings not above 0.

    Example:
        >>> from brats_lightning.metrics.lesion_rules import RULES
        >>> reference = np.zeros((30, 30, 30), np.uint8)
        >>> reference[2:7, 2:7, 2:7] = reference[20:25, 20:25, 20:25] = 3
        >>> prediction = np.where(np.arange(30) < 15, reference, 0)
        >>> enhancing = lesionwise_scores(prediction, reference, spacing_mm=(1, 1, 1), rules=RULES["2023-GLI"])["ET"]
        >>> enhancing.dice, enhancing.hd95_mm, enhancing.false_negatives
        (0.5, 187.0, 1)
    """
    grid = _Grid(prediction.shape, tuple(map(float, spacing_mm)))
    _validate(prediction, reference, grid.spacing_mm)
    reach = max(region.dilation for region in rules.regions.values())
    box = grown(joint_bounding_box(prediction, reference), reach, grid.shape)
    predicted, expected = (_as_bytes(labels[box]) for labels in (prediction, reference))
    needed = [*rules.regions, *(name for region in rules.regions.values() for name in region.joined_through)]
    sides = {name: _lesions(predicted, expected, name, rules) for name in dict.fromkeys(needed)}
    scores = {}
    for name, region in rules.regions.items():
        found, true = sides[name]
        if region.joined_through:
            found = found.joined([sides[partner][0] for partner in region.joined_through])
            true = true.joined([sides[partner][1] for partner in region.joined_through])
        scores[name] = _score(found, true, region, rules, grid)
    return scores


def _lesions(
    prediction: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8], name: str, rules: LesionRules
) -> tuple[Lesions, Lesions]:
    """Predicted and true lesions of one region, not joined yet."""
    # A tissue that only joins others goes by the rules of the enhancing tumour.
    region = rules.regions.get(name, rules.regions["ET"])
    inside = np.zeros(LABELS_AT_MOST, bool)
    inside[list(REGIONS[name])] = True
    true = lesions(inside[reference], merge_steps=region.dilation)
    if not rules.merges_predictions:
        return lesions(inside[prediction]), true
    return lesions(inside[prediction], merge_steps=region.dilation).larger_than(region.ignored), true


def _score(
    prediction: Lesions, reference: Lesions, region: RegionRules, rules: LesionRules, grid: _Grid
) -> LesionScores:
    """Scores of one region from the lesions of both sides."""
    penalty_mm = math.hypot(*grid.shape) if rules.penalty_mm is None else rules.penalty_mm
    agree = partial(agreement, spacing_mm=grid.spacing_mm, nsd_tolerances_mm=rules.nsd_tolerances_mm)
    matches = {number: prediction.touched_by(reference, number, steps=region.dilation) for number in reference.boxes}
    every = tuple(
        LesionScore(
            volume_mm3=reference.voxels[number] * grid.voxel_mm3,
            matches=len(found),
            agreement=agree(*_together(prediction, found, reference, number)),
            ignored=reference.voxels[number] * grid.voxel_mm3 <= region.ignored,
        )
        for number, found in matches.items()
    )
    matched = {number for found in matches.values() for number in found}
    counted = [lesion for lesion in every if not lesion.ignored]
    hits = [lesion.agreement for lesion in counted if lesion.matches]
    missed, false_positives = len(counted) - len(hits), len(prediction.boxes.keys() - matched)
    total = len(counted) + false_positives
    hd95_sum_mm = sum(hit.hd95_mm for hit in hits) + penalty_mm * (missed + false_positives)
    # The scorers of 2024 take numbers of lesions where a mask belongs.
    sides = [side.numbers if rules.scores_numbers else side.numbers > 0 for side in (prediction, reference)]
    sensitivity, specificity = _rates(*sides, voxels=math.prod(grid.shape))
    if (
        len(every) == 1
        and prediction.boxes.keys() == matched
        and sides[0].max(initial=0) == sides[1].max(initial=0) == 1
    ):
        whole = every[0].agreement
    else:
        whole = agree(*sides)
    return LesionScores(
        dice=sum(hit.dice for hit in hits) / total if total else 1.0,
        hd95_mm=hd95_sum_mm / total if total else 0.0,
        nsd={t: sum(hit.nsd[t] for hit in hits) / total if total else 1.0 for t in rules.nsd_tolerances_mm},
        true_positives=len(hits),
        false_positives=false_positives,
        false_negatives=missed,
        whole=whole if math.isfinite(whole.hd95_mm) else replace(whole, hd95_mm=float(penalty_mm)),
        sensitivity=sensitivity,
        specificity=specificity,
        lesions=every,
        matched=len(matched),
        prediction_mm3=sum(prediction.voxels[1:]) * grid.voxel_mm3,
    )


def _together(prediction: Lesions, found: Sequence[int], reference: Lesions, number: int) -> tuple[Mask, Mask]:
    """Some predicted lesions as one mask, and a lesion of the reference, in the box around them all."""
    boxes = [reference.boxes[number], *(prediction.boxes[match] for match in found)]
    box = tuple(
        slice(min(side.start for side in axis), max(side.stop for side in axis)) for axis in zip(*boxes, strict=True)
    )
    chosen = np.zeros(len(prediction.voxels), bool)
    chosen[list(found)] = True
    return chosen[prediction.numbers[box]], reference.numbers[box] == number


def _rates(prediction: npt.NDArray[Any], reference: npt.NDArray[Any], *, voxels: int) -> tuple[float, float]:
    """Sensitivity and specificity of what is 1, all positives being the sum of the values, as the scorers count.

    Args:
        prediction: Masks or numbers of lesions, cropped.
        reference: The same, of the same shape.
        voxels: Of the whole image.
    """
    predicted, expected = prediction == 1, reference == 1
    both = int(np.count_nonzero(predicted & expected))
    positives, wanted = int(prediction.sum(dtype=np.int64)), int(reference.sum(dtype=np.int64))
    rejected = voxels - int(np.count_nonzero(predicted | expected))
    sensitivity = both / wanted if wanted else float(not positives)
    negatives = rejected + positives - both
    return sensitivity, rejected / negatives if negatives else 1.0


def _as_bytes(labels: LabelMap) -> npt.NDArray[np.uint8]:
    if labels.size and (int(labels.min()) < 0 or int(labels.max()) >= LABELS_AT_MOST):
        raise ValueError(f"expected labels of 0 to {LABELS_AT_MOST - 1}, found {labels.min()} to {labels.max()}")
    return labels.astype(np.uint8, order="C")


def _validate(prediction: LabelMap, reference: LabelMap, spacing_mm: tuple[float, ...]) -> None:
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise ValueError(
            f"expected two label maps of one shape (X, Y, Z), found {prediction.shape} for the prediction "
            f"and {reference.shape} for the reference"
        )
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels.dtype.kind not in "iu":
            raise ValueError(f"expected integer labels in the {name}, found {labels.dtype}")
    if len(spacing_mm) != 3 or not all(math.isfinite(step) and step > 0 for step in spacing_mm):
        raise ValueError(f"expected 3 spacings above 0 mm, found {list(spacing_mm)}")
