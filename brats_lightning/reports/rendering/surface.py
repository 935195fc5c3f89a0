"""The surface of a mask in millimetres, smooth, and enclosing what the voxels hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from brats_lightning.reports.rendering.isosurface import Field, Points, Triangles, isosurface

SAME_VOLUME = 0.01
"""The surface may enclose this part more or less than the voxels hold."""
LEVEL_STEPS = 12
GAUSS_ENDS = 3.0
"""In standard deviations: what lies beyond has no weight."""
Mask = npt.NDArray[np.bool_]
Affine = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """A closed surface.

    Args:
        vertices: (V, 3) float32 in mm, right, anterior and superior.
        triangles: (T, 3) uint32; seen from outside their corners run counter-clockwise.
        normals: (V, 3) float32 of length 1, pointing outwards.
    """

    vertices: npt.NDArray[np.float32]
    triangles: npt.NDArray[np.uint32]
    normals: npt.NDArray[np.float32]

    @property
    def volume_mm3(self) -> float:
        """What it encloses, by the divergence theorem."""
        return enclosed_mm3(self.vertices.astype(np.float64), self.triangles.astype(np.int64))


def surface(
    mask: Mask, affine: Affine, *, smoothing_mm: float = 1.0, step_mm: float | None = None, triangles: int | None = None
) -> Surface:
    """The surface of a mask; an empty mask has an empty one.

    The mask is smoothed, and the level found at which the surface encloses as much as the voxels, so that thin rims
    and small lesions do not shrink.

    Args:
        mask: (X, Y, Z) in any axis order.
        affine: (4, 4) from voxel indices to mm in RAS; it may turn, shear, flip and stretch.
        smoothing_mm: Standard deviation of the Gaussian; 0 leaves the steps of the voxels.
        step_mm: Edge of the cubes, along each axis; None takes the voxels.
        triangles: If there are more, the cubes are made larger; None allows any number.
    """
    if not mask.any():
        return Surface(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint32), np.zeros((0, 3), np.float32))
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    steps = spacing_mm if step_mm is None else np.full(3, step_mm)
    vertices, found = _at_steps(mask, affine, steps, smoothing_mm)
    while triangles is not None and len(found) > triangles:
        steps = np.maximum(steps, np.sqrt(len(found) / triangles) * 1.05 * steps.min())
        vertices, found = _at_steps(mask, affine, steps, smoothing_mm)
    return Surface(vertices.astype(np.float32), found.astype(np.uint32), vertex_normals(vertices, found))


def _at_steps(
    mask: Mask, affine: Affine, steps_mm: npt.NDArray[np.float64], smoothing_mm: float
) -> tuple[Points, Triangles]:
    """Vertices in mm and triangles from cubes of the edges given."""
    field, to_mm = _field(mask, affine, steps_mm, smoothing_mm)
    outwards = np.linalg.det(to_mm[:3, :3]) > 0

    def at(level: float) -> tuple[Points, Triangles]:
        vertices, triangles = isosurface(field, level)
        return vertices @ to_mm[:3, :3].T + to_mm[:3, 3], triangles if outwards else triangles[:, ::-1]

    wanted = float(mask.sum()) * abs(float(np.linalg.det(affine[:3, :3])))
    cells = wanted / abs(float(np.linalg.det(to_mm[:3, :3])))
    low, high = 0.0, float(field.max())
    for _ in range(LEVEL_STEPS):
        # Nearly the level wanted is that which as many places of the grid exceed as the volume has cells.
        count = min(max(round(cells), 1), field.size)
        level = float(np.partition(field, -count, axis=None)[-count])
        if not low < level < high:  # many places are equal
            level = (low + high) / 2
        found = at(level)
        volume = enclosed_mm3(*found)
        if abs(volume - wanted) <= SAME_VOLUME * wanted:
            break
        low, high = (level, high) if volume > wanted else (low, level)
        cells *= wanted / volume if volume > 0 else 2
    return found


def _field(mask: Mask, affine: Affine, steps_mm: npt.NDArray[np.float64], smoothing_mm: float) -> tuple[Field, Affine]:
    """The mask smoothed on a grid of its own steps, 0 all along its border, and that grid's affine."""
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    box = tuple(
        slice(int(inside[0]), int(inside[-1]) + 1)
        for inside in (np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
    )
    field = mask[box].astype(np.float32)
    to_mm = affine.copy()
    to_mm[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    for axis, (spacing, step) in enumerate(zip(spacing_mm.tolist(), steps_mm.tolist(), strict=True)):
        margin_mm = GAUSS_ENDS * smoothing_mm + spacing + 2 * step
        first = -np.ceil(margin_mm / step) * step / spacing
        places = first + np.arange(np.ceil((field.shape[axis] - 1 - 2 * first) * spacing / step) + 1) * step / spacing
        weights = _weights(places, field.shape[axis], max(1.0, step / spacing))
        field = np.moveaxis(np.tensordot(weights, field, (1, axis)), 0, axis)
        to_mm[:3, 3] += affine[:3, axis] * first
        to_mm[:3, axis] *= step / spacing
    sigmas: Sequence[float] = (smoothing_mm / steps_mm).tolist()
    return gaussian_filter(np.ascontiguousarray(field), sigmas, mode="constant", truncate=GAUSS_ENDS), to_mm


def _weights(places: Points, count: int, width: float) -> Field:
    """(places, count) shares of the voxels in each place, falling to 0 at a width; outside is nothing."""
    reach = int(np.ceil(np.abs(places).max() + width)) + 1  # beyond the mask there are voxels too, all outside
    voxels = np.arange(-reach, reach + 1)
    weights = np.maximum(0, 1 - np.abs(places[:, None] - voxels) / width)
    weights /= weights.sum(1, keepdims=True)
    return weights[:, reach : reach + count].astype(np.float32)


def enclosed_mm3(vertices: Points, triangles: Triangles) -> float:
    """Volume inside a closed surface, by the divergence theorem; negative where it is inside out."""
    if not len(triangles):
        return 0.0
    one, two, three = (vertices - vertices.mean(0))[triangles].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", one, np.cross(two, three))) / 6


def vertex_normals(vertices: Points, triangles: Triangles) -> npt.NDArray[np.float32]:
    """(V, 3) of length 1: the mean of the triangles round each vertex, by their areas."""
    one, two, three = vertices[triangles].transpose(1, 0, 2)
    across = np.cross(two - one, three - one)
    sums = [np.bincount(triangles.ravel(), np.repeat(across[:, axis], 3), len(vertices)) for axis in range(3)]
    normals: Points = np.stack(sums, axis=1)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    normals /= np.maximum(lengths, np.finfo(np.float32).tiny)
    return normals.astype(np.float32, copy=False)
