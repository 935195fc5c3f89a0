"""How far two label maps agree voxel by voxel: every overlap score follows from one joint histogram."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.bounding_box import joint_bounding_box

LARGEST_LABEL = 255
"""A map with more is no map of tissues; the histogram would grow with the square."""


@dataclass(frozen=True)
class Overlap:
    """Voxels of one region in two label maps.

    Args:
        prediction: Voxels in the predicted region.
        reference: Voxels in the reference region.
        both: Voxels in both.
    """

    prediction: int
    reference: int
    both: int

    @property
    def dice(self) -> float:
        """2 |P ∩ R| / (|P| + |R|) (Dice 1945), NaN where both are empty."""
        voxels = self.prediction + self.reference
        return 2 * self.both / voxels if voxels else math.nan

    @property
    def iou(self) -> float:
        """|P ∩ R| / (|P| + |R| - |P ∩ R|) (Jaccard 1912), NaN where both are empty."""
        union = self.prediction + self.reference - self.both
        return self.both / union if union else math.nan


@dataclass(frozen=True, eq=False)
class JointHistogram:
    """How often each pair of labels meets in two label maps.

    Args:
        counts: (labels, labels) voxels, predicted label first.
        box: Joint bounding box of what is not background; outside both maps are background.
    """

    counts: npt.NDArray[np.int64]
    box: tuple[slice, ...]

    def overlap(self, labels: Sequence[int]) -> Overlap:
        """Overlap of the region that these label values make up together."""
        present = [label for label in sorted(set(labels)) if label < len(self.counts)]
        return Overlap(
            prediction=int(self.counts[present, :].sum()),
            reference=int(self.counts[:, present].sum()),
            both=int(self.counts[np.ix_(present, present)].sum()),
        )

    @property
    def accuracy(self) -> float:
        """Share of all voxels, background included, whose label is right."""
        return int(self.counts.trace()) / int(self.counts.sum())


def joint_histogram(
    prediction: npt.NDArray[np.integer[Any]], reference: npt.NDArray[np.integer[Any]]
) -> JointHistogram:
    """Count the pairs of labels of two integer label maps of one shape in a single pass.

    Raises:
        ValueError: Shapes that differ or hold no voxel, values that are no labels.

    Example:
        >>> histogram = joint_histogram(np.array([0, 1, 3, 3]), np.array([0, 1, 1, 3]))
        >>> histogram.overlap([3]).dice, histogram.accuracy
        (0.6666666666666666, 0.75)
    """
    _validate(prediction, reference)
    box = joint_bounding_box(prediction, reference)
    predicted, expected = prediction[box], reference[box]
    largest = 0
    for name, labels in (("prediction", predicted), ("reference", expected)):
        if labels.size and (int(labels.min()) < 0 or int(labels.max()) > LARGEST_LABEL):
            found = f"{labels.min()} to {labels.max()}"
            raise ValueError(f"expected labels of 0 to {LARGEST_LABEL} in the {name}, found {found}")
        largest = max(largest, int(labels.max(initial=0)))
    size = largest + 1
    pairs = predicted.astype(np.intp, order="C")
    pairs *= size
    pairs += expected.astype(np.intp)
    counts = np.bincount(pairs.ravel(), minlength=size**2).reshape(size, size)
    counts[0, 0] += prediction.size - pairs.size
    return JointHistogram(counts, box)


def _validate(prediction: npt.NDArray[Any], reference: npt.NDArray[Any]) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(
            f"expected two label maps of one shape, found {prediction.shape} for the prediction "
            f"and {reference.shape} for the reference"
        )
    if not prediction.size:
        raise ValueError(f"expected label maps with voxels, found shape {prediction.shape}")
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels.dtype.kind not in "iu":
            raise ValueError(f"expected integer labels in the {name}, found {labels.dtype}: use argmax or astype")
