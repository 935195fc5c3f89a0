"""Area and volume of the surface that marching cubes lays round a region."""

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.cube_surfaces import cube_codes, cube_triangles


def mesh_size(mask: npt.NDArray[np.bool_], *, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Area and volume of a region's surface, half-way between the voxel centres in it and those beside it.

    No mesh is built: which triangles a cube of eight voxel centres has depends on these alone, so that counting the
    256 kinds of cubes is enough.

    As in pyradiomics, the surface has small holes where voxels touch by edges alone, and where they are depends on the
    direction of the axes: turn a ragged region round, and its area changes by some per mille, its volume by up to one
    per cent.

    Args:
        mask: (X, Y, Z) boolean with at least one voxel.
        spacing_mm: Voxel size along each axis.

    Returns:
        Area in mm² and volume in mm³.
    """
    box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(mask))  # places count from there: see the holes
    codes = cube_codes(np.pad(mask[box], 1))
    cubes = np.nonzero((codes > 0) & (codes < 2**8 - 1))
    kinds = codes[cubes]
    counts = np.bincount(kinds, minlength=2**8)
    places = np.stack([np.bincount(kinds, weights=at, minlength=2**8) for at in cubes], axis=1) * spacing_mm
    area = volume = 0.0
    for kind in np.flatnonzero(counts):
        triangles = cube_triangles()[kind] * spacing_mm
        normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]) / 2
        area += float(counts[kind] * np.linalg.norm(normals, axis=1).sum())
        # By the divergence theorem; each cube's triangles count from its own corner, which lies where it lies.
        volume += float(counts[kind] * (triangles.mean(1) * normals).sum() + places[kind] @ normals.sum(0)) / 3
    return area, volume
