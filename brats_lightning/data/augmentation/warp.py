"""Applies a drawn geometry: one grid and one resampling, or none where only flips were drawn.

Coordinates are voxels; space turns about the centre of the output window, which lies in the middle of the input (half
a voxel before it where an odd number of voxels is cut off). Beyond the input everything is 0.
"""

from typing import Literal

import numpy as np
import torch
from torch.nn.functional import pad

from brats_lightning.data.augmentation.sampling import linear, nearest
from brats_lightning.data.augmentation.spatial import Size, Warp
from brats_lightning.data.augmentation.step import onto
from brats_lightning.data.n4_splines import evaluate_spline
from brats_lightning.labels import LABELS, WHOLE

LabelInterpolation = Literal["nearest", "soft"]
_VALUES = sorted({*LABELS.values(), WHOLE})


def warp_image(image: torch.Tensor, warp: Warp, *, size: Size, grid: torch.Tensor | None) -> torch.Tensor:
    """The image after its geometry, linearly interpolated: a (C, *size) float32 tensor of its own.

    Args:
        image: (C, X, Y, Z) float.
        warp: What was drawn.
        size: Voxels of the result.
        grid: Of `make_grid` where `warp.resamples`, else None.
    """
    if grid is None:
        return _flipped(image, warp, size).float().contiguous()
    return linear(image, grid)


def warp_label(
    label: torch.Tensor, warp: Warp, *, size: Size, grid: torch.Tensor | None, interpolation: LabelInterpolation
) -> torch.Tensor:
    """The labels after their geometry: a (1, *size) tensor of their own.

    Args:
        label: (1, X, Y, Z) uint8.
        warp: What was drawn.
        size: Voxels of the result.
        grid: Of `make_grid` where `warp.resamples`, else None.
        interpolation: `nearest` voxel's label; `soft` interpolates the share of each label, and the largest wins.
    """
    if grid is None:
        return _flipped(label, warp, size).contiguous()
    if interpolation == "nearest":
        return nearest(label, grid)
    shares = linear(torch.cat([label == value for value in _VALUES]).float(), grid)
    largest = 1 - shares.sum(dim=0)
    found = torch.zeros_like(largest, dtype=label.dtype)
    for value, share in zip(_VALUES, shares, strict=True):
        wins = share > largest
        largest = torch.where(wins, share, largest)
        found.masked_fill_(wins, value)
    return found[None]


def make_grid(warp: Warp, *, source: Size, size: Size, device: torch.device) -> torch.Tensor:
    """Where each voxel of the result comes from: (3, *size) coordinates in voxels of the source.

    A sum of one vector an axis: exact, and faster than a product of matrices. The displacement is a product; under
    settings that round float32 products it is off by less than a hundredth of itself.
    """
    matrix = warp.matrix
    centre = [first + (length - 1) / 2 for first, length in zip(_first(source, size), size, strict=True)]
    along = [matrix[:, axis, None] * (np.arange(length) - (length - 1) / 2) for axis, length in enumerate(size)]
    along[0] += np.array(centre)[:, None]
    x, y, z = (onto(values, device) for values in along)
    grid = (x[:, :, None] + y[:, None, :])[..., None] + z[:, None, None, :]
    if warp.displacement is not None:
        points = onto(np.einsum("ij,jabd->iabd", matrix, warp.displacement.points), device)
        bases = [onto(warp.displacement.basis(axis, length), device) for axis, length in enumerate(size)]
        grid += evaluate_spline(points, (bases[0], bases[1], bases[2]))
    return grid


def _first(source: Size, size: Size) -> list[int]:
    """The input's voxel at which the output window begins along each axis; negative where the input is smaller."""
    return [(available - wanted) // 2 for available, wanted in zip(source, size, strict=True)]


def _flipped(volume: torch.Tensor, warp: Warp, size: Size) -> torch.Tensor:
    """A copy, bit for bit: flipping copies even where no axis is turned round."""
    source = volume.shape[1:]
    edges: list[int] = []
    for first, available, wanted in zip(_first((source[0], source[1], source[2]), size), source, size, strict=True):
        edges = [-first, first + wanted - available, *edges]  # a negative pad crops
    window = pad(volume, edges) if any(edges) else volume
    return window.flip([axis + 1 for axis, flip in enumerate(warp.flips) if flip])
