"""The voxels of a region in line, in each of the thirteen directions: what all textures are counted from."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

DIRECTIONS: tuple[tuple[int, int, int], ...] = tuple(
    (x, y, z) for x, y, z in product((-1, 0, 1), repeat=3) if (x, y, z) > (0, 0, 0)
)
"""To half of the 26 neighbours of a voxel; the others are those of its neighbours."""


@dataclass(frozen=True, eq=False)
class Lines:
    """A region's voxels as they follow each other in one direction.

    Args:
        order: (N,) the voxels, line by line.
        linked: (N − 1,) boolean: whether a voxel of `order` and the next one are neighbours in this direction.
    """

    order: npt.NDArray[np.int64]
    linked: npt.NDArray[np.bool_]


def lines(voxels: npt.NDArray[np.integer]) -> tuple[Lines, ...]:
    """Put a region in line.

    Args:
        voxels: (N, 3) indices, in any order.

    Returns:
        Direction by direction. Those in which the region is one voxel thick are left out, as in pyradiomics, so that
        a region within one slice has four; a single voxel has none.
    """
    if not len(voxels):
        return ()
    voxels = voxels - voxels.min(0)
    sizes = voxels.max(0) + 1
    return tuple(
        _lines(voxels, np.array(direction), sizes)
        for direction in DIRECTIONS
        if all(size > 1 or not step for size, step in zip(sizes, direction, strict=True))
    )


def _lines(
    voxels: npt.NDArray[np.integer], direction: npt.NDArray[np.integer], sizes: npt.NDArray[np.integer]
) -> Lines:
    axis = int(np.flatnonzero(direction)[0])  # the direction goes up along this axis
    along = voxels[:, axis].astype(np.int64)
    start = voxels - along[:, None] * direction  # where the voxel's line meets the plane of index 0
    start = start - start.min(0)
    reach = start.max(0).astype(np.int64) + 1
    line = (start[:, 0] * reach[1] + start[:, 1]) * reach[2] + start[:, 2]
    key = line * (int(sizes[axis]) + 1) + along
    order = np.argsort(key, kind="stable")
    return Lines(order, np.diff(key[order]) == 1)
