"""Values of a volume between its voxels: trilinear and nearest, 0 beyond it.

On a CPU `grid_sample` reads each corner of each channel by itself, behind a comparison. Here a voxel's channels and
those of its next neighbour stand in one row of a table, and PyTorch's sums of embeddings add the four rows around a
point: twice as fast. On other devices `grid_sample` does it, and everywhere that of pictures for a single slice, for
which it has a faster way.
"""

from collections.abc import Iterator

import torch
from torch.nn.functional import embedding_bag, grid_sample

_BLOCK = 1 << 17
"""Points at a time: few enough for the processor's cache, and enough that threads seldom wait for each other."""


def linear(volume: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Trilinear interpolation.

    Args:
        volume: (C, X, Y, Z) float.
        points: (3, U, V, W) coordinates in voxels: 0 is the first voxel's centre.

    Returns:
        (C, U, V, W) float32.
    """
    if (thin := _thin_axis(volume)) is not None:
        return _in_slice(volume.float(), points, "bilinear", axis=thin)
    if volume.device.type != "cpu":
        return _grid_sample(volume.float(), points, "bilinear")
    channels, *size = volume.shape
    # Zeros around the volume, two at the end: a point beyond it lies between zeros once it is clamped to them.
    padded = volume.new_zeros([length + 3 for length in size] + [channels], dtype=torch.float32)
    padded[1:-2, 1:-2, 1:-2] = volume.movedim(0, -1)
    pairs_of_voxels = padded.numel() // channels - 1
    table = padded.as_strided((pairs_of_voxels, 2 * channels), (channels, 1)).contiguous()
    _, wide, deep = padded.shape[:3]
    corners = (0, deep, wide * deep, wide * deep + deep)
    found = torch.empty(channels, *points.shape[1:])
    indices, weights = torch.empty(_BLOCK, 4, dtype=torch.int32), torch.empty(_BLOCK, 4)
    bags = torch.arange(0, 4 * _BLOCK, 4, dtype=torch.int32)
    for block, (x, y, z) in _blocks(points, size):
        first = _row(x, y, z, wide=wide, deep=deep)
        for axis in (x, y, z):
            axis.frac_()
        count, rest_x, rest_y = len(x), 1 - x, 1 - y
        shares = ((rest_x, rest_y), (rest_x, y), (x, rest_y), (x, y))
        for corner, (offset, (along_x, along_y)) in enumerate(zip(corners, shares, strict=True)):
            torch.add(first, offset, out=indices[:count, corner])
            torch.mul(along_x, along_y, out=weights[:count, corner])
        chosen, share = indices[:count].view(-1), weights[:count].view(-1)
        pairs = embedding_bag(chosen, table, bags[:count], mode="sum", per_sample_weights=share).T
        torch.lerp(pairs[:channels], pairs[channels:], z, out=found.view(channels, -1)[:, block])
    return found


def nearest(volume: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The value of the nearest voxel, of the volume's own type.

    Args:
        volume: (1, X, Y, Z).
        points: (3, U, V, W) coordinates in voxels.
    """
    if (thin := _thin_axis(volume)) is not None:
        return _in_slice(volume.float(), points, "nearest", axis=thin).to(volume.dtype)
    if volume.device.type != "cpu":
        return _grid_sample(volume.float(), points, "nearest").to(volume.dtype)
    _, *size = volume.shape
    padded = volume.new_zeros([length + 3 for length in size])
    padded[1:-2, 1:-2, 1:-2] = volume[0]
    _, wide, deep = padded.shape
    found = volume.new_empty(1, *points.shape[1:])
    for block, coordinates in _blocks(points, size):
        x, y, z = (axis.round_() for axis in coordinates)  # halves to the even voxel
        torch.take(padded, _row(x, y, z, wide=wide, deep=deep).long(), out=found.view(-1)[block])
    return found


def _blocks(points: torch.Tensor, size: list[int]) -> Iterator[tuple[slice, list[torch.Tensor]]]:
    """Copies of some points at a time, counted from the first zero before the volume, and clamped to the zeros."""
    flat = points.flatten(1)
    for start in range(0, flat.shape[1], _BLOCK):
        block = slice(start, min(start + _BLOCK, flat.shape[1]))
        yield (
            block,
            [(axis[block] + 1).clamp_(0, length + 1) for axis, length in zip(flat, size, strict=True)],
        )


def _row(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, *, wide: int, deep: int) -> torch.Tensor:
    """Number of the table's row at the voxel before each point."""
    return torch.add(z.int(), y.int(), alpha=deep).add_(x.int(), alpha=wide * deep)


def _thin_axis(volume: torch.Tensor) -> int | None:
    """The one axis of a single voxel."""
    thin = [axis for axis, length in enumerate(volume.shape[1:]) if length == 1]
    return thin[0] if len(thin) == 1 else None


def _in_slice(volume: torch.Tensor, points: torch.Tensor, mode: str, *, axis: int) -> torch.Tensor:
    """Sample within the slice, and fade out with the distance from it, as between it and zeros on both sides."""
    along = [points[other].flatten(1) for other in range(3) if other != axis]
    found = _grid_sample(volume.squeeze(axis + 1), torch.stack(along), mode).view(-1, *points.shape[1:])
    away = points[axis].abs()
    return found.mul_((1 - away).clamp_(min=0) if mode == "bilinear" else away <= 0.5)


def _grid_sample(volume: torch.Tensor, points: torch.Tensor, mode: str) -> torch.Tensor:
    # It counts from edge (-1) to edge (1) of an axis, and names the last axis first.
    axes = zip(points, volume.shape[1:], strict=True)
    grid = torch.stack([(axis + 0.5) * (2 / length) - 1 for axis, length in axes][::-1], dim=-1)
    return grid_sample(volume[None], grid[None], mode=mode, padding_mode="zeros", align_corners=False)[0]
