"""N4 for all channels of an image at once, on any device: ITK's method with its splines as matrix products.

Tustison et al., N4ITK: Improved N3 Bias Correction, IEEE TMI 29 (2010), doi:10.1109/TMI.2010.2046908, on the
histogram sharpening of Sled, Zijdenbos and Evans, A Nonparametric Method for Automatic Correction of Intensity
Nonuniformity in MRI Data, IEEE TMI 17 (1998), doi:10.1109/42.668698. ITK treats the voxels of its grid as scattered
points; on the grid the spline separates into one matrix an axis, and that is what makes the difference in speed.
"""

import math
from collections.abc import Sequence

import torch

from brats_lightning.data.n4_splines import Approximation, bounding_box, evaluate_spline, refine, spline_bases, within

PARTS = 2**20
"""A voxel's shares of two bins are counted in such parts: sums of integers do not depend on their order."""

NEGLIGIBLE = 1e-12
"""What a Fourier transform may leave where nothing is, relative to the largest value."""


def fit_log_fields(
    image: torch.Tensor,
    inside: torch.Tensor,
    *,
    iterations: Sequence[int],
    tolerance: float,
    spline_control_points: int,
    histogram_bins: int,
    fwhm: float,
    wiener_noise: float,
) -> torch.Tensor:
    """Fit a B-spline to the logarithm of each channel's bias field: control points (C, A, B, D) in float64.

    A channel's result does not depend on the others: each stops by itself, and no longer changes then.

    Args:
        image: (C, X, Y, Z), the voxels that enter the fit; the splines' domain reaches from the first to the last.
        inside: (C, X, Y, Z) boolean, voxels that count: positive, and at least one a channel.
        iterations: At most so many per level; each further level has twice the control points' resolution.
        tolerance: A level ends once the coefficient of variation of the field's change is this small.
        spline_control_points: Of the first level, along each axis.
        histogram_bins: Of the log-intensity histogram.
        fwhm: Full width at half maximum of the Gaussian that models the field, in log intensity.
        wiener_noise: Of the filter that sharpens the histogram.
    """
    box = bounding_box(inside.any(dim=0))
    cut = inside[:, *box]
    voxels = cut.any(dim=0).flatten().nonzero()[:, 0]
    valid = cut.flatten(1)[:, voxels]
    logs = torch.where(valid, image[:, *box].flatten(1)[:, voxels].double(), 1.0).log_()
    lattices = logs.new_zeros(len(logs), *(spline_control_points,) * 3)
    for level, most in enumerate(iterations):
        if level:
            lattices = refine(lattices)
        bases = within(box, spline_bases(image.shape[1:], (1, 1, 1), lattices.shape[1:], device=image.device))
        approximate = Approximation(cut, bases)
        dense = logs.new_zeros(cut.shape)
        changing, log, there, lattice = torch.arange(len(logs), device=image.device), logs, valid, lattices
        field = evaluate_spline(lattice, bases).flatten(1).index_select(1, voxels)
        for _ in range(most):
            corrected = log - field
            residual = corrected - _sharpen(corrected, there, bins=histogram_bins, fwhm=fwhm, noise=wiener_noise)
            values = dense[: len(changing)]
            values.flatten(1).index_copy_(1, voxels, residual * there)
            lattice = lattice + approximate(values, changing)
            lattices[changing] = lattice
            before, field = field, evaluate_spline(lattice, bases).flatten(1).index_select(1, voxels)
            unsettled = _variation((before - field).exp_(), there) > tolerance
            if not unsettled.all():
                changing, log, there, lattice, field = (x[unsettled] for x in (changing, log, there, lattice, field))
                if not len(changing):
                    break
    return lattices


def _variation(values: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Coefficient of variation of each channel's valid values."""
    count = valid.sum(dim=1)
    mean = (values * valid).sum(dim=1) / count
    squares = ((values - mean[:, None]).square_() * valid).sum(dim=1)
    return (squares / (count - 1)).sqrt_() / mean


def _sharpen(logs: torch.Tensor, valid: torch.Tensor, *, bins: int, fwhm: float, noise: float) -> torch.Tensor:
    """The intensities (C, N) expected without the blur that a field is to their histogram (Sled 1998)."""
    low = logs.masked_fill(~valid, torch.inf).amin(dim=1, keepdim=True)
    high = logs.masked_fill(~valid, -torch.inf).amax(dim=1, keepdim=True)
    varied = high > low
    width = torch.where(varied, high - low, 1.0) / (bins - 1)
    position = ((logs - low) / width).clamp_(0, bins - 1)
    below = position.floor().clamp_(max=bins - 2)
    share = position.sub_(below)  # of the bin above: linear (Parzen) assignment
    row = bins * torch.arange(len(logs), device=logs.device)[:, None]
    below = (below.long() + row).flatten()
    parts = (share * PARTS).round_().long()
    histogram = parts.new_zeros(len(logs) * bins)
    histogram.scatter_add_(0, below, ((PARTS - parts) * valid).flatten())
    histogram.scatter_add_(0, below + 1, (parts * valid).flatten())
    counts = histogram.view(len(logs), bins).double() / PARTS
    expected = _expected(counts, low, width, fwhm=fwhm, noise=noise).flatten()
    lower, upper = (expected.index_select(0, at).view_as(share) for at in (below, below + 1))
    return torch.where(varied, torch.lerp(lower, upper, share), logs)


def _expected(
    histogram: torch.Tensor, low: torch.Tensor, width: torch.Tensor, *, fwhm: float, noise: float
) -> torch.Tensor:
    """Mean true log intensity (C, bins) where a measured one falls in each bin of the histogram."""
    bins = histogram.shape[1]
    padded = 2 ** (math.ceil(math.log2(bins)) + 1)
    offset = (padded - bins) // 2
    measured = torch.nn.functional.pad(histogram, (offset, padded - bins - offset))
    at = torch.arange(padded, dtype=torch.float64, device=histogram.device)
    scaled = fwhm / width  # in bins
    distance = torch.minimum(at, padded - at)
    gaussian = 2 * math.sqrt(math.log(2) / math.pi) / scaled * torch.exp(-4 * math.log(2) * (distance / scaled) ** 2)
    blur = torch.fft.rfft(gaussian).real  # of an even function
    wiener = blur / (blur**2 + noise)
    true = torch.fft.irfft(torch.fft.rfft(measured) * wiener, padded).clamp_(min=0)
    value = low + (at - offset) * width
    moments = torch.stack([value * true, true])
    weighted, total = torch.fft.irfft(torch.fft.rfft(moments) * blur, padded)
    known = total > NEGLIGIBLE * total.amax(dim=1, keepdim=True)
    return torch.where(known, weighted / total, value)[:, offset : offset + bins]
