"""Scores of classes from one confusion matrix of many cases: each by itself, and averaged in the ways papers do.

They are scores of voxels pooled over cases, where `case_scores` takes each case by itself: a large tumour counts for
more than a small one. How the classes are averaged decides what a number says, so that its name says how:

* `precision_class_ET`: one class against all others.
* `precision_macro_tumour_classes`: mean over the classes but the background; `average="macro"` of scikit-learn.
* `precision_macro_with_background`: the same with the background, which is nearly all of a brain scan and easy.
  `iou_macro_with_background` is what Keras calls MeanIoU.
* `precision_micro_tumour_classes`: hits and errors of these classes added up first; `average="micro"` of scikit-learn
  with these `labels`.
* `precision_micro_with_background`: the same with the background. Each voxel has one class in the reference and one in
  the prediction, so that precision, sensitivity and Dice of this kind are all the share of voxels that are right:
  accuracy by other names. Specificity is 1 - (1 - accuracy) / (classes - 1), higher still. The `precision`,
  `sensitivity` and `specificity` that Keras code for brain tumours computes on one-hot arrays are of this kind, but
  for probabilities rounded instead of the highest taken: .99 stands beside a Dice of .6. An accuracy of .9935 and a
  specificity of .9979, published for four classes, are one number: 1 - .0065 / 3.
"""

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.case_scores import ACCURACY, OVERLAP_SCORES
from brats_lightning.metrics.overlap import JointHistogram, Overlap

BACKGROUND = "BACKGROUND"
MEASURES = ("precision", "sensitivity", "specificity", "iou", "dice")
WITH_BACKGROUND, TUMOUR_CLASSES = "with_background", "tumour_classes"
AVERAGES = tuple(f"{how}_{of}" for how in ("micro", "macro") for of in (WITH_BACKGROUND, TUMOUR_CLASSES))
CLASS = "class"
_UNDEFINED: Mapping[str, float] = MappingProxyType(dict.fromkeys(MEASURES, math.nan))

Counts = npt.NDArray[np.int64]
Rows = dict[str, dict[str, float]]
"""Measures by class or average."""


def confusion(histogram: JointHistogram, classes: Mapping[str, Sequence[int]]) -> Counts:
    """Voxels of each pair of classes, (1 + classes) squared, predicted class first, the background at 0.

    Args:
        histogram: Of two label maps.
        classes: Label values of each class but the background, to which all other labels belong.

    Raises:
        ValueError: A label in two classes, or the background's in one.
    """
    owner = require_classes(classes)
    size = len(histogram.counts)
    index = np.array([owner.get(label, 0) for label in range(size)], np.intp)
    counts = np.zeros((len(classes) + 1,) * 2, np.int64)
    np.add.at(counts, (index[:, None], index[None, :]), histogram.counts)
    return counts


def require_classes(classes: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Number of the class that each label value belongs to, from 1.

    Raises:
        ValueError: No class, a label in two of them, or the background's in one.
    """
    owner = {label: number for number, values in enumerate(classes.values(), start=1) for label in values}
    labels = [label for values in classes.values() for label in values]
    if not labels or len(owner) < len(labels) or min(labels) < 1:
        found = "; ".join(f"{name} {' '.join(map(str, values))}" for name, values in classes.items()) or "none"
        raise ValueError(f"expected classes of labels above 0 that exclude each other, found {found}")
    return owner


def class_scores(counts: Counts, names: Sequence[str]) -> Rows:
    """Measures of each class and of each average, by the names of `class_rows`.

    A class that neither the predictions nor the references have is NaN and left out of every average. Of one that
    only one side has, precision without a prediction and sensitivity without a reference are 0, as in scikit-learn
    and torchmetrics, so that a class that is never found lowers the macro mean.

    Args:
        counts: From `confusion`, of one case or the sum of many.
        names: Of the classes but the background.

    Example:
        >>> rows = class_scores(np.array([[90, 2], [3, 5]]), ["ET"])
        >>> rows["class_ET"]["precision"], rows["micro_with_background"]["precision"]
        (0.625, 0.95)
    """
    overlaps = {name: _overlap(counts, [number]) for number, name in enumerate([BACKGROUND, *names])}
    present = {name: overlap for name, overlap in overlaps.items() if overlap.prediction or overlap.reference}
    rows = {f"{CLASS}_{name}": _measures(overlap) for name, overlap in overlaps.items()}
    for of in (WITH_BACKGROUND, TUMOUR_CLASSES):
        chosen = [overlap for name, overlap in present.items() if of == WITH_BACKGROUND or name != BACKGROUND]
        pooled = functools.reduce(_sum, chosen, Overlap(0, 0, 0, 0))
        each = [_measures(overlap) for overlap in chosen]
        rows[f"micro_{of}"] = _measures(pooled)
        rows[f"macro_{of}"] = {measure: _mean([row[measure] for row in each]) for measure in MEASURES}
    return {name: rows[name] for name in class_rows(names)}


def accuracy_of(counts: Counts) -> float:
    """Share of all voxels, background included, whose class is right; NaN of no voxel."""
    total = int(counts.sum())
    return int(counts.trace()) / total if total else math.nan


def class_rows(names: Sequence[str]) -> list[str]:
    """`class_BACKGROUND`, `class_ET` and so on for each class, then the averages."""
    return [*(f"{CLASS}_{name}" for name in (BACKGROUND, *names)), *AVERAGES]


def class_score_names(names: Sequence[str]) -> list[str]:
    """Names of all that `flat` gives."""
    return [f"{ACCURACY}_all_voxels", *(f"{measure}_{row}" for row in class_rows(names) for measure in MEASURES)]


def flat(counts: Counts, names: Sequence[str]) -> dict[str, float]:
    """All scores under names such as `iou_macro_tumour_classes` and `dice_class_ET`, and `accuracy_all_voxels`."""
    rows = class_scores(counts, names)
    scores = {f"{measure}_{row}": value for row, values in rows.items() for measure, value in values.items()}
    return {f"{ACCURACY}_all_voxels": accuracy_of(counts), **scores}


def _overlap(counts: Counts, numbers: Sequence[int]) -> Overlap:
    return JointHistogram(counts, ()).overlap(numbers)


def _sum(one: Overlap, other: Overlap) -> Overlap:
    return Overlap(*map(operator.add, _fields(one), _fields(other)))


def _fields(overlap: Overlap) -> tuple[int, int, int, int]:
    return overlap.prediction, overlap.reference, overlap.both, overlap.image


def _measures(overlap: Overlap) -> dict[str, float]:
    if not (overlap.prediction or overlap.reference):
        return dict(_UNDEFINED)
    found = {measure: OVERLAP_SCORES[measure](overlap) for measure in MEASURES}
    return {
        measure: 0.0 if math.isnan(value) and measure != "specificity" else value for measure, value in found.items()
    }


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan
