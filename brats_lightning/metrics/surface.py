"""How far the boundaries of two masks lie apart, in mm.

A boundary voxel belongs to the mask and has a face neighbour that does not; outside the image nothing does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from brats_lightning.metrics.bounding_box import Array, joint_bounding_box, on_host
from brats_lightning.metrics.nearest import Floats, Indices, Mask, margin_of, nearest_mm, pairwise_mm
from brats_lightning.metrics.surfels import percentiles_by_area, surfel_areas, surfel_codes

if TYPE_CHECKING:
    import torch

Convention = Literal["directed", "pooled", "averaged", "surfel"]

CONVENTIONS: Mapping[Convention, str] = MappingProxyType(
    {
        "directed": "larger of the two directed percentiles; mean and share over both boundaries (MONAI)",
        "pooled": "percentile, mean and share over both boundaries (MedPy, nnU-Net)",
        "averaged": "mean of the two directed percentiles, means or shares (surface Dice of the BraTS 2025 scorer)",
        "surfel": "as directed, but by area over surfels, without interpolation (surface-distance, BraTS from 2023)",
    }
)
"""What is done with the distances of the two directions; the first is what this project reports."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances in mm from each boundary to the other, and the scores that follow from them.

    Reinke et al. 2024 (doi:10.1038/s41592-023-02150-0) tell how the conventions differ.

    Args:
        prediction: From each boundary voxel (surfel) of the prediction to the nearest of the reference.
        reference: The other way round.
        convention: One of `CONVENTIONS`.
        areas: In mm², of the surfels of both; None where each boundary voxel counts one.
    """

    prediction: Floats
    reference: Floats
    convention: Convention = "directed"
    areas: tuple[Floats, Floats] | None = None

    def percentile_mm(self, percentile: float = 95.0) -> float:
        """HD95, or HD100 (the Hausdorff distance) for a percentile of 100; interpolates linearly but for surfels."""
        directions = (self.prediction, self.reference)
        if self.areas is not None:
            sides = zip(directions, self.areas, strict=True)
            return max(float(percentiles_by_area(distances, areas, [percentile])[0]) for distances, areas in sides)
        if self.convention == "pooled":
            return float(np.percentile(np.concatenate(directions), percentile))
        forth, back = (float(np.percentile(distances, percentile)) for distances in directions)
        return (forth + back) / 2 if self.convention == "averaged" else max(forth, back)

    @property
    def assd_mm(self) -> float:
        """Average symmetric surface distance (Heimann et al. 2009, doi:10.1109/TMI.2009.2013851)."""
        return self._mean(self.prediction, self.reference)

    def nsd(self, tolerance_mm: float) -> float:
        """Normalised surface Dice: share of both boundaries no further than this from the other.

        Nikolov et al. 2021, doi:10.2196/26151.

        Raises:
            ValueError: A tolerance below 0.
        """
        if not tolerance_mm >= 0:
            raise ValueError(f"expected a tolerance of at least 0 mm, found {tolerance_mm}")
        # Rounding must not decide: 7 · 0.7 - 6 · 0.7 is more than 0.7.
        limit = tolerance_mm * (1 + 1e-9)
        return self._mean(self.prediction <= limit, self.reference <= limit)

    def _mean(self, prediction: Floats | Mask, reference: Floats | Mask) -> float:
        weights = self.areas or (np.ones(prediction.size), np.ones(reference.size))
        # Summed as the weights alone are: no share is above 1 by rounding.
        sums = [float((side * weight).sum()) for side, weight in zip((prediction, reference), weights, strict=True)]
        totals = [float(weight.sum()) for weight in weights]
        if self.convention == "averaged":
            return (sums[0] / totals[0] + sums[1] / totals[1]) / 2
        return sum(sums) / sum(totals)


def hd95_mm(
    prediction: Array,
    reference: Array,
    *,
    spacing_mm: Sequence[float],
    percentile: float = 95.0,
    convention: Convention = "directed",
) -> float:
    """95th percentile of the distances from boundary to boundary, in mm; arguments as for `surface_distances`.

    Raises:
        ValueError: As there.
    """
    distances = surface_distances(
        prediction, reference, spacing_mm=spacing_mm, convention=convention, percentile=percentile
    )
    return distances.percentile_mm(percentile)


def surface_distances(
    prediction: Array,
    reference: Array,
    *,
    spacing_mm: Sequence[float],
    convention: Convention = "directed",
    percentile: float = 100.0,
) -> SurfaceDistances:
    """Exact distances between two boundaries: NumPy arrays on the processor, CUDA tensors on their device.

    Args:
        prediction: Boolean mask with at least one voxel.
        reference: The same, of the same shape and on the same device.
        spacing_mm: Distance between neighbouring voxels along each axis.
        convention: One of `CONVENTIONS`; `surfel` needs three axes.
        percentile: The highest that will be asked for. Distances that it does not need may be left infinite, which
            is many times faster; means and shares need all.

    Raises:
        ValueError: Masks empty, not boolean or of unlike shapes; spacing, percentile or convention out of range.
    """
    spacing = np.asarray(spacing_mm, np.float64)
    prediction, reference = on_host(prediction), on_host(reference)
    _validate(prediction, reference, spacing, percentile, convention)
    box = joint_bounding_box(prediction, reference)
    predicted, expected = prediction[box], reference[box]
    if convention == "surfel":
        (first, prediction_areas), (second, reference_areas) = (
            _surfels(np.asarray(mask.cpu() if hasattr(mask, "cpu") else mask), spacing)
            for mask in (predicted, expected)
        )
        forth, back = _directed_mm(first, second, spacing), _directed_mm(second, first, spacing)
        return SurfaceDistances(forth, back, convention, (prediction_areas, reference_areas))
    if isinstance(predicted, np.ndarray) and isinstance(expected, np.ndarray):
        first, second = (_boundary(_padded(mask, margin_of(spacing))) for mask in (predicted, expected))
        # A pooled percentile may need any of one side's distances.
        share = 1.0 if convention == "pooled" else percentile / 100
        forth, back = _directed_mm(first, second, spacing, share), _directed_mm(second, first, spacing, share)
    else:
        one, other = (_boundary_on_device(cast("torch.Tensor", mask)) for mask in (predicted, expected))
        forth, back = pairwise_mm(one, other, spacing), pairwise_mm(other, one, spacing)
    return SurfaceDistances(forth, back, convention)


def _directed_mm(origin: Mask, target: Mask, spacing: Floats, share: float = 1.0) -> Floats:
    """Distances from one boundary to the other, of which a percentile up to this share is asked for."""
    points = np.flatnonzero(origin)
    # Between two of them it interpolates.
    return nearest_mm(points, target, spacing, enough=min(int((points.size - 1) * share) + 2, points.size))


def _boundary(mask: Mask) -> Mask:
    """The mask without its 6-connected erosion; the mask is in C order with a margin of background."""
    flat = mask.ravel()
    first = mask.strides[0]
    middle = slice(first, flat.size - first)
    inner = flat[: flat.size - 2 * first] & flat[2 * first :]
    for step in mask.strides[1:]:
        inner &= flat[first - step : flat.size - first - step]
        inner &= flat[first + step : flat.size - first + step]
    boundary = flat.copy()
    boundary[middle] &= ~inner
    return boundary.reshape(mask.shape)


def _surfels(mask: Mask, spacing: Floats) -> tuple[Mask, Floats]:
    """Points of the half-voxel grid where the mask has a surface, with a margin, and the areas there in mm²."""
    areas = surfel_areas(spacing.tolist())[surfel_codes(mask.view(np.uint8), margin_of(spacing))]
    return areas > 0, areas[areas > 0]


def _padded(mask: Mask, margin: Indices) -> Mask:
    """The mask in C order with a margin of background."""
    padded = np.zeros(mask.shape + 2 * margin, bool)
    padded[tuple(slice(width, width + size) for width, size in zip(margin, mask.shape, strict=True))] = mask
    return padded


def _boundary_on_device(mask: "torch.Tensor") -> "torch.Tensor":
    """The mask without its 6-connected erosion."""
    inside = (slice(1, -1),) * mask.ndim
    padded = mask.new_zeros([size + 2 for size in mask.shape])
    padded[inside] = mask
    inner = mask.clone()
    for axis, size in enumerate(mask.shape):
        for start in (0, 2):
            inner &= padded[(*inside[:axis], slice(start, start + size), *inside[axis + 1 :])]
    return mask & ~inner


def _validate(prediction: Array, reference: Array, spacing: Floats, percentile: float, convention: Convention) -> None:
    if prediction.shape != reference.shape:
        raise ValueError(
            f"expected two masks of one shape, found {tuple(prediction.shape)} for the prediction "
            f"and {tuple(reference.shape)} for the reference"
        )
    for name, mask in (("prediction", prediction), ("reference", reference)):
        if str(mask.dtype).removeprefix("torch.") != "bool":
            raise ValueError(f"expected a boolean mask as {name}, found {mask.dtype}")
        if not mask.any():
            raise ValueError(f"the {name} is empty: no distance is defined, an EmptyPolicy says what to put there")
    if spacing.shape != (prediction.ndim,) or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise ValueError(f"expected {prediction.ndim} spacings above 0 mm, found {spacing.tolist()}")
    if not 0 <= percentile <= 100:
        raise ValueError(f"expected a percentile of 0 to 100, found {percentile}")
    if convention not in CONVENTIONS:
        raise ValueError(f"unknown convention {convention!r}: expected one of {', '.join(CONVENTIONS)}")
    if convention == "surfel" and prediction.ndim != 3:
        raise ValueError(f"expected masks of three axes for surfels, found shape {tuple(prediction.shape)}")
