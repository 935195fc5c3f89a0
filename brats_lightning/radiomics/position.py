"""Where a region lies: its centroid and its bounding box, in the world and in the voxels of the file."""

import numpy as np
import numpy.typing as npt

from brats_lightning.nifti import Grid

WORLD, INDEX = ("x", "y", "z"), ("i", "j", "k")
"""Axes of the world, which grow right, anterior and superior as in NIfTI, and of the file."""


def position(voxels: npt.NDArray[np.integer], *, grid: Grid, native: Grid) -> dict[str, float]:
    """Centroid and bounding box of a region.

    Args:
        voxels: (N, 3) indices on `grid`, at least one.
        grid: Of the indices.
        native: The same voxels as the file has them, its axes in another order or direction.

    Returns:
        The centroid of the voxels' centres, the bounding box from outer edge to outer edge along the axes of the
        world in mm, and the first and the last voxel along the axes of the file.
    """
    world = _through(grid.affine, voxels)
    margin = np.abs(grid.affine[:3, :3]).sum(1) / 2  # half a voxel, whichever way it lies
    low, high = world.min(0) - margin, world.max(0) + margin
    to_native = np.asarray(np.linalg.solve(native.affine, grid.affine), np.float64)
    stored = _through(to_native, voxels)
    first, last = np.rint(stored.min(0)), np.rint(stored.max(0))
    row: dict[str, float] = {}
    row |= {f"centroid_{axis}_mm": float(at) for axis, at in zip(WORLD, world.mean(0), strict=True)}
    for axis, begin, end in zip(WORLD, low, high, strict=True):
        row |= {f"box_{axis}_low_mm": float(begin), f"box_{axis}_high_mm": float(end)}
    row |= {f"centroid_{axis}": float(at) for axis, at in zip(INDEX, stored.mean(0), strict=True)}
    for axis, begin, end in zip(INDEX, first, last, strict=True):
        row |= {f"box_{axis}_first": float(begin), f"box_{axis}_last": float(end)}
    return row


def _through(matrix: npt.NDArray[np.float64], voxels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    return np.asarray(voxels @ matrix[:3, :3].T + matrix[:3, 3], np.float64)
