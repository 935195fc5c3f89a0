"""Marching cubes: the triangles where a field of values passes a level.

Lorensen and Cline, Marching cubes: a high resolution 3D surface construction algorithm, SIGGRAPH 1987.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.cube_surfaces import cube_codes, cube_triangles

Field = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Triangles = npt.NDArray[np.int64]

SLIVER = 0.02
"""A vertex keeps this part of an edge between itself and the edge's ends: triangles without area have no normal."""


def isosurface(field: Field, level: float) -> tuple[Points, Triangles]:
    """Vertices (V, 3) in voxel indices and triangles (T, 3) of the surface round all that reaches a level.

    The surface is closed and neighbouring triangles share their vertices. Seen from outside, corners run
    counter-clockwise where the axes of the indices are those of a right-handed space.

    Args:
        field: (X, Y, Z), below the level all along its border.
        level: Above 0.
    """
    codes = cube_codes(field >= level)
    cubes = np.argwhere((codes > 0) & (codes < 2**8 - 1))
    if not len(cubes):
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    counts, starts, corners = _table()
    kinds = codes[tuple(cubes.T)]
    own = counts[kinds]
    cube = np.repeat(np.arange(len(cubes)), own)
    nth = np.arange(len(cube)) - np.repeat(np.cumsum(own) - own, own)
    edges = corners[starts[kinds[cube]] + nth]  # (T, 3 corners, x y z axis)
    low = cubes[cube][:, None, :] + edges[..., :3]
    numbers = np.ravel_multi_index(tuple(np.moveaxis(low, -1, 0)), field.shape) * 3 + edges[..., 3]
    unique, inverse = np.unique(numbers, return_inverse=True)
    return _vertices(field, level, unique), inverse.reshape(-1, 3)


def _vertices(field: Field, level: float, edges: npt.NDArray[np.int64]) -> Points:
    """Where the field passes the level on each edge, given by its lower end and its axis."""
    axis = edges % 3
    low = np.stack(np.unravel_index(edges // 3, field.shape), axis=1)
    high = low + np.eye(3, dtype=np.int64)[axis]
    one, other = (field[tuple(end.T)].astype(np.float64) for end in (low, high))
    vertices = low.astype(np.float64)
    vertices[np.arange(len(edges)), axis] += np.clip((level - one) / (other - one), SLIVER, 1 - SLIVER)
    return vertices


@cache
def _table() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of each code how many triangles it has and where they begin; of each triangle the edges its corners lie on."""
    triangles = cube_triangles(closed=True)
    counts = np.array([len(own) for own in triangles])
    points = np.concatenate(triangles)
    axis = (points == 0.5).argmax(-1)
    return counts, np.cumsum(counts) - counts, np.concatenate([np.floor(points).astype(int), axis[..., None]], -1)
