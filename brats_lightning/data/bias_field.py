"""N4 bias-field correction: a smooth multiplicative field is estimated inside the brain and divided out.

Tustison et al., N4ITK: Improved N3 Bias Correction, IEEE TMI 29 (2010), doi:10.1109/TMI.2010.2046908.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_dst_type

from brats_lightning.data.n4 import fit_log_fields
from brats_lightning.data.n4_itk import fit_log_fields_with_itk
from brats_lightning.data.n4_splines import ORDER, bounding_box, evaluate_spline, samples, spline_bases, within
from brats_lightning.errors import ConfigError
from brats_lightning.labels import IMAGE, SPACING

Backend = Literal["torch", "itk"]

THICK = 2.0
"""An axis whose spacing reaches this multiple of the finest one is not shrunk along with the others."""


@dataclass(frozen=True, kw_only=True)
class N4:
    """Options of N4; the defaults are those of ITK, but for four levels on an image shrunk by four.

    More iterations or a smaller tolerance do not help: on planted fields the error grew from 0.11 to 0.25.

    Args:
        backend: Who fits: this project (`torch`), all channels at once and on their device, or ITK (`itk`), one
            after another and some thirty times slower. The log fields of 36 real images correlated by 0.9999 or more.
        shrink: Every n-th voxel enters the fit, along all axes (thick slices excepted) or per axis.
        iterations: At most so many per level; each further level has twice the control points' resolution.
        tolerance: A level ends once the coefficient of variation of the field's change is this small.
        spline_control_points: Of the first level, along each axis.
        histogram_bins: Of the log-intensity histogram.
        fwhm: Full width at half maximum of the Gaussian that models the field, in log intensity.
        wiener_noise: Of the filter that sharpens the histogram.
        threads: On the CPU. Leave it at one inside the workers of a data loader: more may hang a forked process.

    Raises:
        ConfigError: A value that N4 cannot work with.
    """

    backend: Backend = "torch"
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
            f"backend: {' or '.join(get_args(Backend))}": self.backend in get_args(Backend),
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


@torch.no_grad()
def log_bias_field(
    image: torch.Tensor, mask: torch.Tensor, options: N4, *, spacing_mm: Sequence[float]
) -> torch.Tensor:
    """Estimate the logarithm of the field that multiplies each channel: (C, X, Y, Z) float32 at full resolution.

    The field is N4's own: its mean is arbitrary and drifts with the iterations. Outside the mask it means
    little. A channel that is constant inside the mask has a field of zero. No channel's field depends on the others.

    Args:
        image: (C, X, Y, Z) intensities; those that are not positive, or not finite, take no part (ITK left alone
            would count them as 1).
        mask: (X, Y, Z), true where the field is fitted: the brain.
        options: How to fit.
        spacing_mm: Voxel size along each axis; it decides which axes an integer `shrink` applies to.

    Raises:
        ValueError: Shapes that do not match, an image too small to shrink, or no positive voxel in the mask.
    """
    with torch_threads(options.threads):
        lattice, factors = _fit(image, mask, options, spacing_mm)
        bases = spline_bases(mask.shape, factors, lattice.shape[1:], device=image.device)
        return evaluate_spline(lattice, bases).float()


@torch.no_grad()
def correct_bias_field(
    image: torch.Tensor, mask: torch.Tensor, options: N4, *, spacing_mm: Sequence[float]
) -> torch.Tensor:
    """Divide the bias field out of each channel (C, X, Y, Z) inside the mask, as float32; outside nothing changes.

    N4 leaves the field's mean free, and with it the image's scale (a real T1c came out 2.2 times as bright).
    The log field is therefore centred: the geometric mean of the mask's positive voxels stays what it was.
    Arguments and errors are those of `log_bias_field`.
    """
    with torch_threads(options.threads):
        lattice, factors = _fit(image, mask, options, spacing_mm)
        corrected = image.to(torch.float32, copy=True)
        box = bounding_box(mask)
        x, y, z = within(box, spline_bases(mask.shape, factors, lattice.shape[1:], device=image.device))
        brain, outside = mask[box], ~mask[box]
        for channel, points in zip(corrected[:, *box], lattice, strict=True):
            # In memory x runs fastest, as in the image of a case.
            field = evaluate_spline(points.permute(2, 1, 0)[None], (z, y, x))[0].permute(2, 1, 0).float()
            counts = brain & _has_log(channel)
            middle = torch.where(counts, field, 0.0).sum(dtype=torch.float64) / counts.count_nonzero()
            channel.mul_(field.sub_(middle).neg_().exp_().masked_fill_(outside, 1.0))
    return corrected


def _has_log(image: torch.Tensor) -> torch.Tensor:
    return (image > 0) & (image < torch.inf)


def _fit(
    image: torch.Tensor, mask: torch.Tensor, options: N4, spacing_mm: Sequence[float]
) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Control points (C, A, B, D) of the log fields, and by what the image was shrunk."""
    if image.ndim != 4 or image.shape[1:] != mask.shape:
        found = f"{tuple(image.shape)} and {tuple(mask.shape)}"
        raise ValueError(f"expected (C, X, Y, Z) channels and a mask of one (X, Y, Z) shape, found {found}")
    factors = options.shrink_factors(spacing_mm)
    if any(size < 2 * factor for size, factor in zip(mask.shape, factors, strict=True)):
        raise ValueError(
            f"an image of {tuple(mask.shape)} voxels is too small to shrink by {factors}: lower N4's shrink"
        )
    taken = tuple(samples(size, factor) for size, factor in zip(mask.shape, factors, strict=True))
    shrunken = image[:, *taken].float()
    inside = mask[taken] & _has_log(shrunken)
    if not inside.flatten(1).any(dim=1).all():
        raise ValueError(f"none of the voxels that a shrink of {factors} leaves is inside the mask and positive")
    own = options.backend == "torch"
    fit: Callable[..., torch.Tensor] = (
        fit_log_fields if own else partial(fit_log_fields_with_itk, threads=options.threads)
    )
    lattice = fit(
        shrunken,
        inside,
        iterations=options.iterations,
        tolerance=options.tolerance,
        spline_control_points=options.spline_control_points,
        histogram_bins=options.histogram_bins,
        fwhm=options.fwhm,
        wiener_noise=options.wiener_noise,
    )
    return lattice, factors


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Have PyTorch use so many threads on the CPU: the result then does not depend on the process it is made in."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class BiasFieldCorrectiond(MapTransform):
    """Correct the bias field of a sample's image, each channel's own.

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
        mask = _plain(sample[self.mask_key])[0].bool()
        for key in self.key_iterator(sample):
            image = sample[key]
            given = _plain(image)
            channels = list(range(len(given)) if self.channels is None else self.channels)
            if foreign := [channel for channel in channels if not 0 <= channel < len(given)]:
                raise ConfigError(f"no channel {foreign[0]} to correct: {key} has 0 to {len(given) - 1}")
            correct = partial(
                correct_bias_field,
                mask=mask.to(given.device),
                options=self.options,
                spacing_mm=_spacing_mm(image, sample),
            )
            if channels == list(range(len(given))):
                corrected = correct(given)
            else:
                corrected = given.to(torch.float32, copy=True)
                if channels:
                    corrected[channels] = correct(given[channels])
            sample[key], *_ = convert_to_dst_type(corrected, image, dtype=torch.float32)
        return sample


def _plain(array: Any) -> torch.Tensor:
    """A tensor without metadata, which would slow each of thousands of small steps down."""
    if isinstance(array, MetaTensor):
        array = array.as_tensor()
    return array if isinstance(array, torch.Tensor) else torch.from_numpy(np.array(array, np.float32))


def _spacing_mm(image: Any, sample: Mapping[str, Any]) -> tuple[float, ...]:
    """Voxel size of an image: its affine's, else the sample's, else 1 mm."""
    spacing = image.pixdim if isinstance(image, MetaTensor) else sample.get(SPACING, (1.0, 1.0, 1.0))
    return tuple(float(size) for size in spacing)
