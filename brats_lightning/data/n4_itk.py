"""N4 as ITK has it: the reference that the project's own is held to, some forty times slower."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from brats_lightning.data.n4_splines import ORDER


def fit_log_fields_with_itk(
    image: torch.Tensor,
    inside: torch.Tensor,
    *,
    iterations: Sequence[int],
    tolerance: float,
    spline_control_points: int,
    histogram_bins: int,
    fwhm: float,
    wiener_noise: float,
    threads: int,
) -> torch.Tensor:
    """Fit with ITK, on the CPU and one channel after another, what `n4.fit_log_fields` fits.

    Args:
        image: (C, X, Y, Z), the voxels that enter the fit; the domain is the image's, so its spacing plays no part.
        inside: (C, X, Y, Z) boolean, voxels that count.
        iterations: And the further arguments but the last: see there.
        tolerance: See there.
        spline_control_points: See there.
        histogram_bins: See there.
        fwhm: See there.
        wiener_noise: See there.
        threads: Of ITK.
    """
    points = (spline_control_points - ORDER) * 2 ** (len(iterations) - 1) + ORDER
    lattices = torch.zeros(len(image), points, points, points, dtype=torch.float64)
    # ITK's compiled modules warn of deprecation while they load, and crash Python where warnings are errors.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        import itk  # noqa: PLC0415  # slow to load

        # `itk.N4BiasFieldCorrectionImageFilter[...]` holds the same class, but loads in 7 s instead of 1.
        # IF3IUC3IF3: float image, byte mask, float output. Left to choose, ITK's Python returns integers.
        from itk.itkN4BiasFieldCorrectionImageFilterPython import (  # noqa: PLC0415
            itkN4BiasFieldCorrectionImageFilterIF3IUC3IF3 as FloatN4,
        )

        for lattice, channel, mask in zip(lattices, image.float().cpu(), inside.cpu(), strict=True):
            values = channel[mask]
            if values.min() == values.max():
                continue  # of which ITK would make NaN
            with _itk_threads(itk.MultiThreaderBase, threads):
                n4 = FloatN4.New()
                n4.SetInput(itk.image_from_array(np.ascontiguousarray(channel.numpy().T)))
                n4.SetMaskImage(itk.image_from_array(np.ascontiguousarray(mask.numpy().T, np.uint8)))
                n4.SetNumberOfFittingLevels(len(iterations))  # one level unless told
                n4.SetMaximumNumberOfIterations(list(iterations))  # an itk.Array arrives empty
                n4.SetConvergenceThreshold(tolerance)
                n4.SetNumberOfControlPoints(spline_control_points)
                n4.SetNumberOfHistogramBins(histogram_bins)
                n4.SetBiasFieldFullWidthAtHalfMaximum(fwhm)
                n4.SetWienerFilterNoise(wiener_noise)
                n4.Update()
            # Read point by point (a thousand or so): no array bridge is wrapped for vectors of one component.
            found = n4.GetLogBiasFieldControlPointLattice()
            lattice.copy_(
                torch.tensor([found.GetPixel(list(at))[0] for at in np.ndindex(*lattice.shape)]).view(
                    points, points, points
                )
            )
    return lattices.to(image.device)


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
