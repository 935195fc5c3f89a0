"""N4 bias-field correction: a smooth multiplicative field is estimated inside the brain and divided out.

Tustison et al., N4ITK: Improved N3 Bias Correction, IEEE TMI 29 (2010), doi:10.1109/TMI.2010.2046908.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_dst_type

from brats_lightning.errors import ConfigError
from brats_lightning.labels import IMAGE, SPACING

THICK = 2.0
"""An axis whose spacing reaches this multiple of the finest one is not shrunk along with the others."""
ORDER = 3


@dataclass(frozen=True, kw_only=True)
class N4:
    """Options of N4; the defaults are those of ITK, but for four levels on an image shrunk by four.

    More iterations or a smaller tolerance do not help: on planted fields the error grew from 0.11 to 0.25.

    Args:
        shrink: Every n-th voxel enters the fit, along all axes (thick slices excepted) or per axis. A T1c of
            240 by 240 by 155 voxels took 5 s at 4 and 15 s at 3, on one thread.
        iterations: At most so many per level; each further level has twice the control points' resolution.
        tolerance: A level ends once the coefficient of variation of the field's change is this small.
        spline_control_points: Of the first level, along each axis.
        histogram_bins: Of the log-intensity histogram.
        fwhm: Full width at half maximum of the Gaussian that models the field, in log intensity.
        wiener_noise: Of the filter that sharpens the histogram.
        threads: Of ITK. Leave it at one inside the workers of a data loader: more may hang a forked process.

    Raises:
        ConfigError: A value that N4 cannot work with.
    """

    shrink: int | tuple[int, int, int] = 4
    iterations: tuple[int, ...] = (50, 50, 50, 50)
    tolerance: float = 1e-3
    spline_control_points: int = 4
    histogram_bins: int = 200
    fwhm: float = 0.15
    wiener_noise: float = 0.01
    threads: int = 1

    def __post_init__(self) -> None:
        shrink = (self.shrink,) * 3 if isinstance(self.shrink, int) else self.shrink
        expected = {
            "shrink: one or three numbers from 1": len(shrink) == 3 and min(shrink) >= 1,
            "iterations: one number from 1 per level": len(self.iterations) > 0 and min(self.iterations) >= 1,
            "tolerance: a number from 0": self.tolerance >= 0,
            "spline_control_points: a number above 3": self.spline_control_points > ORDER,
            "histogram_bins: a number from 2": self.histogram_bins >= 2,
            "fwhm: a number above 0": self.fwhm > 0,
            "wiener_noise: a number above 0": self.wiener_noise > 0,
            "threads: a number from 1": self.threads >= 1,
        }
        for sentence, holds in expected.items():
            if not holds:
                name, rule = sentence.split(": ")
                raise ConfigError(f"N4's {name} is {getattr(self, name)}: expected {rule}")

    def shrink_factors(self, spacing_mm: Sequence[float]) -> tuple[int, int, int]:
        """Factors along X, Y and Z for voxels of that size in mm.

        One number spares thick slices: with slices of 5.5 mm, (4, 4, 1) gave fields that correlate with
        those of the full resolution by 0.997 to 0.999, (4, 4, 4) only by 0.93 to 0.97.

        Example:
            >>> N4(shrink=4).shrink_factors((0.9, 0.9, 5.5))
            (4, 4, 1)
        """
        if not isinstance(self.shrink, int):
            return self.shrink
        x, y, z = (self.shrink if size < THICK * min(spacing_mm) else 1 for size in spacing_mm)
        return x, y, z


def log_bias_field(
    image: npt.NDArray[Any], mask: npt.NDArray[np.bool_], options: N4, *, spacing_mm: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Estimate the logarithm of the field that multiplies an image: (X, Y, Z) float32 at full resolution.

    The field is N4's own: its mean is arbitrary and drifts with the iterations. Outside the mask it means
    little. An image that is constant inside the mask has a field of zero.

    Args:
        image: (X, Y, Z) intensities; those that are not positive, or not finite, take no part (ITK left alone
            would count them as 1).
        mask: (X, Y, Z), true where the field is fitted: the brain.
        options: How to fit.
        spacing_mm: Voxel size along each axis; it decides which axes an integer `shrink` applies to.

    Raises:
        ValueError: Shapes that do not match, an image too small to shrink, or no positive voxel in the mask.
    """
    if image.ndim != 3 or image.shape != mask.shape:
        raise ValueError(f"expected image and mask of one (X, Y, Z) shape, found {image.shape} and {mask.shape}")
    factors = options.shrink_factors(spacing_mm)
    if any(size < 2 * factor for size, factor in zip(image.shape, factors, strict=True)):
        raise ValueError(f"an image of {image.shape} voxels is too small to shrink by {factors}: lower N4's shrink")
    samples = tuple(_samples(size, factor) for size, factor in zip(image.shape, factors, strict=True))
    shrunken = np.asarray(image[samples], np.float32)
    inside = mask[samples] & (shrunken > 0) & np.isfinite(shrunken)
    if not inside.any():
        raise ValueError(f"none of the voxels that a shrink of {factors} leaves is inside the mask and positive")
    if np.ptp(shrunken[inside]) == 0:
        return np.zeros(image.shape, np.float32)
    return evaluate_spline(_fit_with_itk(shrunken, inside, options), image.shape, factors)


def correct_bias_field(
    image: npt.NDArray[Any], mask: npt.NDArray[np.bool_], options: N4, *, spacing_mm: Sequence[float]
) -> npt.NDArray[np.float32]:
    """Divide the bias field out of an (X, Y, Z) image inside the mask, as float32; outside nothing changes.

    N4 leaves the field's mean free, and with it the image's scale (a real T1c came out 2.2 times as bright).
    The log field is therefore centred: the geometric mean of the mask's positive voxels stays what it was.
    Arguments and errors are those of `log_bias_field`.
    """
    field = log_bias_field(image, mask, options, spacing_mm=spacing_mm)
    field -= field[mask & (image > 0) & np.isfinite(image)].mean(dtype=np.float64)
    corrected = image.astype(np.float32)
    corrected[mask] /= np.exp(field[mask])
    return corrected


class BiasFieldCorrectiond(MapTransform):
    """Correct the bias field of a sample's image, channel by channel.

    Args:
        keys: Of (C, X, Y, Z) images. Metadata stay; the type becomes float32.
        mask_key: Of the (1, X, Y, Z) mask in which fields are fitted and divided out; the rest stays.
        channels: Which channels to correct, none given: all.
        options: How to fit, none given: the defaults of `N4`.
        allow_missing_keys: Whether a sample may lack one of the keys.
    """

    def __init__(
        self,
        keys: str | Sequence[str] = IMAGE,
        *,
        mask_key: str = "brain",
        channels: Sequence[int] | None = None,
        options: N4 | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key
        self.channels = None if channels is None else tuple(channels)
        self.options = options or N4()

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the sample with corrected images.

        Raises:
            ConfigError: A channel that the image does not have.
            ValueError: As `log_bias_field`.
        """
        sample = dict(data)
        mask = np.asarray(sample[self.mask_key], bool)[0]
        for key in self.key_iterator(sample):
            image = sample[key]
            corrected = np.asarray(image).astype(np.float32)
            for channel in range(len(corrected)) if self.channels is None else self.channels:
                if not 0 <= channel < len(corrected):
                    raise ConfigError(f"no channel {channel} to correct: {key} has 0 to {len(corrected) - 1}")
                corrected[channel] = correct_bias_field(
                    corrected[channel], mask, self.options, spacing_mm=_spacing_mm(image, sample)
                )
            sample[key], *_ = convert_to_dst_type(corrected, image, dtype=torch.float32)
        return sample


def evaluate_spline(
    lattice: npt.NDArray[np.float64], shape: tuple[int, ...], factors: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Evaluate a cubic B-spline at every voxel of a full-resolution image: (X, Y, Z) float32.

    The spline's domain runs from the first to the last voxel that shrinking took; beyond, the end's value
    holds. SimpleITK stretches the domain over the whole image instead: at a shrink of four that alone
    raises the field's relative L2 error from 0.045 to 0.074.

    Args:
        lattice: (A, B, C) control points.
        shape: Of the full-resolution image.
        factors: By which it was shrunk.
    """
    # A grid's spline is separable: three products of small matrices (Lee, Wolberg, Shin 1997).
    along_x, along_y, along_z = (
        _basis(size, factor, points - ORDER) for size, factor, points in zip(shape, factors, lattice.shape, strict=True)
    )
    rows = along_y @ np.tensordot(along_x, lattice, 1)
    return rows.astype(np.float32) @ along_z.T.astype(np.float32)


def _samples(size: int, factor: int) -> slice:
    """Voxels of an axis that ITK's ShrinkImageFilter takes: every factor-th, centred, halves rounded up."""
    count = size // factor
    first = math.floor((size - 1 - factor * (count - 1)) / 2 + 0.5)
    return slice(first, first + count * factor, factor)


def _basis(size: int, factor: int, spans: int) -> npt.NDArray[np.float64]:
    """Weights of the control points at each of an axis's voxels: (size, spans + 3)."""
    samples = _samples(size, factor)
    length = factor * (size // factor - 1)
    position = np.clip((np.arange(size) - samples.start) * (spans / length), 0, spans)
    span = np.minimum(np.floor(position), spans - 1).astype(int)
    t = position - span
    cubic = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    basis = np.zeros((size, spans + ORDER))
    np.put_along_axis(basis, span[:, None] + np.arange(ORDER + 1), np.stack(cubic, axis=1) / 6, axis=1)
    return basis


def _fit_with_itk(image: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_], options: N4) -> npt.NDArray[np.float64]:
    """Control points of the log field, (A, B, C): the domain is the image's, so its spacing plays no part."""
    # ITK's compiled modules warn of deprecation while they load, and crash Python where warnings are errors.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        import itk  # noqa: PLC0415  # slow to load

        # `itk.N4BiasFieldCorrectionImageFilter[...]` holds the same class, but loads in 7 s instead of 1.
        # IF3IUC3IF3: float image, byte mask, float output. Left to choose, ITK's Python returns integers.
        from itk.itkN4BiasFieldCorrectionImageFilterPython import (  # noqa: PLC0415
            itkN4BiasFieldCorrectionImageFilterIF3IUC3IF3 as FloatN4,
        )

        with _itk_threads(itk.MultiThreaderBase, options.threads):
            n4 = FloatN4.New()
            n4.SetInput(itk.image_from_array(np.ascontiguousarray(image.T)))
            n4.SetMaskImage(itk.image_from_array(np.ascontiguousarray(mask.T, np.uint8)))
            n4.SetNumberOfFittingLevels(len(options.iterations))  # one level unless told
            n4.SetMaximumNumberOfIterations(list(options.iterations))  # an itk.Array arrives empty
            n4.SetConvergenceThreshold(options.tolerance)
            n4.SetNumberOfControlPoints(options.spline_control_points)
            n4.SetNumberOfHistogramBins(options.histogram_bins)
            n4.SetBiasFieldFullWidthAtHalfMaximum(options.fwhm)
            n4.SetWienerFilterNoise(options.wiener_noise)
            n4.Update()
        lattice = n4.GetLogBiasFieldControlPointLattice()
        # Read point by point (a thousand or so): no array bridge is wrapped for vectors of one component.
        shape = tuple(lattice.GetLargestPossibleRegion().GetSize())
        return np.array([lattice.GetPixel(list(index))[0] for index in np.ndindex(*shape)]).reshape(shape)


@contextmanager
def _itk_threads(threader: Any, count: int) -> Iterator[None]:
    """Have ITK's filters use so many threads, those inside N4 included.

    With one thread ITK starts no thread pool. With its default, 14 of 1,620 processes forked from one that
    had run N4 hung in their own run; with one thread none of 1,500 did.
    """
    before = threader.GetGlobalDefaultNumberOfThreads()
    threader.SetGlobalDefaultNumberOfThreads(count)
    try:
        yield
    finally:
        threader.SetGlobalDefaultNumberOfThreads(before)


def _spacing_mm(image: Any, sample: Mapping[str, Any]) -> tuple[float, ...]:
    """Voxel size of an image: its affine's, else the sample's, else 1 mm."""
    spacing = image.pixdim if isinstance(image, MetaTensor) else sample.get(SPACING, (1.0, 1.0, 1.0))
    return tuple(float(size) for size in spacing)
