"""How far two label maps agree voxel by voxel: every overlap score follows from one joint histogram."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.bounding_box import Array, joint_bounding_box, on_host

if TYPE_CHECKING:
    import torch

LARGEST_LABEL = 255
"""A map with more is no map of tissues; the histogram would grow with the square."""


@dataclass(frozen=True)
class Overlap:
    """Voxels of one region in two label maps; a share of nothing is NaN.

    Args:
        prediction: Voxels in the predicted region.
        reference: Voxels in the reference region.
        both: Voxels in both.
        image: Voxels of the whole image.
    """

    prediction: int
    reference: int
    both: int
    image: int

    @property
    def dice(self) -> float:
        """2 |P ∩ R| / (|P| + |R|) (Dice 1945)."""
        return _share(2 * self.both, self.prediction + self.reference)

    @property
    def iou(self) -> float:
        """|P ∩ R| / (|P| + |R| - |P ∩ R|) (Jaccard 1912)."""
        return _share(self.both, self.prediction + self.reference - self.both)

    @property
    def sensitivity(self) -> float:
        """Share of the reference region that was found, |P ∩ R| / |R|; also called recall."""
        return _share(self.both, self.reference)

    @property
    def precision(self) -> float:
        """Share of the predicted region that is right, |P ∩ R| / |P|."""
        return _share(self.both, self.prediction)

    @property
    def specificity(self) -> float:
        """Share of the image outside the reference region that was left out; grows with the image's margin."""
        outside = self.image - self.reference
        return _share(outside - (self.prediction - self.both), outside)

    @property
    def accuracy(self) -> float:
        """Share of the image that is rightly inside or outside the region; grows with the image's margin."""
        wrong = self.prediction + self.reference - 2 * self.both
        return _share(self.image - wrong, self.image)

    @property
    def relative_volume_difference(self) -> float:
        """(|P| - |R|) / |R|: above 0 where too much was found."""
        return _share(self.prediction - self.reference, self.reference)

    def predicted_volume_ml(self, spacing_mm: Sequence[float]) -> float:
        """Volume of the predicted region."""
        return self.prediction * _voxel_ml(spacing_mm)

    def reference_volume_ml(self, spacing_mm: Sequence[float]) -> float:
        """Volume of the reference region."""
        return self.reference * _voxel_ml(spacing_mm)

    def absolute_volume_difference_ml(self, spacing_mm: Sequence[float]) -> float:
        """How far the two volumes differ, in either direction."""
        return abs(self.prediction - self.reference) * _voxel_ml(spacing_mm)


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
            image=int(self.counts.sum()),
        )

    @property
    def accuracy(self) -> float:
        """Share of all voxels, background included, whose label is right."""
        return int(self.counts.trace()) / int(self.counts.sum())


def joint_histogram(prediction: Array, reference: Array) -> JointHistogram:
    """Count the pairs of labels of two label maps in a single pass, on the device where they are.

    Args:
        prediction: Integer labels of any shape, or a boolean mask, which is label 1.
        reference: The same, of the same shape.

    Raises:
        ValueError: Shapes that differ or hold no voxel, values that are no labels.

    Example:
        >>> histogram = joint_histogram(np.array([0, 1, 3, 3]), np.array([0, 1, 1, 3]))
        >>> histogram.overlap([3]).dice, histogram.accuracy
        (0.6666666666666666, 0.75)
    """
    prediction, reference = on_host(prediction), on_host(reference)
    _validate(prediction, reference)
    box = joint_bounding_box(prediction, reference)
    predicted, expected = prediction[box], reference[box]
    largest = [_largest(labels, name) for labels, name in ((predicted, "prediction"), (expected, "reference"))]
    size = max(largest) + 1
    if isinstance(predicted, np.ndarray):
        pairs = predicted.astype(np.intp, order="C")
        pairs *= size
        pairs += np.asarray(expected).astype(np.intp)
        counts = np.bincount(pairs.ravel(), minlength=size**2).reshape(size, size)
    else:
        pairs_of_tensors = predicted.long() * size + cast("torch.Tensor", expected).long()
        counts = pairs_of_tensors.flatten().bincount(minlength=size**2).cpu().numpy().reshape(size, size)
    counts[0, 0] += math.prod(prediction.shape) - math.prod(predicted.shape)
    return JointHistogram(counts, box)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _voxel_ml(spacing_mm: Sequence[float]) -> float:
    if len(spacing_mm) != 3:
        raise ValueError(f"expected the three spacings of a volume, found {list(spacing_mm)}")
    return math.prod(spacing_mm) / 1000


def _largest(labels: Array, name: str) -> int:
    """Largest label.

    Raises:
        ValueError: A value below 0 or above `LARGEST_LABEL`.
    """
    if not math.prod(labels.shape):
        return 0
    # PyTorch has no minimum of the larger unsigned types.
    values = labels if isinstance(labels, np.ndarray) else labels.long()
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0 or highest > LARGEST_LABEL:
        raise ValueError(f"expected labels of 0 to {LARGEST_LABEL} in the {name}, found {lowest} to {highest}")
    return highest


def _validate(prediction: Array, reference: Array) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(
            f"expected two label maps of one shape, found {tuple(prediction.shape)} for the prediction "
            f"and {tuple(reference.shape)} for the reference"
        )
    if not math.prod(prediction.shape):
        raise ValueError(f"expected label maps with voxels, found shape {tuple(prediction.shape)}")
    places = [str(getattr(labels, "device", "cpu")) for labels in (prediction, reference)]
    if places[0] != places[1] or isinstance(prediction, np.ndarray) != isinstance(reference, np.ndarray):
        raise ValueError(f"expected two label maps on one device, found {places[0]} and {places[1]}")
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if isinstance(labels, np.ndarray):
            fits = labels.dtype.kind in "iub"
        else:
            fits = not (labels.is_floating_point() or labels.is_complex())
        if not fits:
            raise ValueError(f"expected integer labels in the {name}, found {labels.dtype}: use argmax or astype")
