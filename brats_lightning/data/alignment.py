"""Images on different grids brought to one by what their headers say: for exams as the scanner gave them.

Headers place the images of one exam in one frame as far as the patient kept still; it is no registration.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import affine_transform

from brats_lightning.labels import Modality
from brats_lightning.nifti import SAME_GRID_MM, Grid, Volume

LEAST_COVERAGE = 0.5
"""An image that shows less of the other's field of view is not of the same place, by its header."""
RESAMPLED = "resampled by its header"
"""In the note of such a file."""


def reference_modality(modalities: Sequence[Modality], *, align: bool) -> Modality:
    """The modality whose file's grid is that of the case.

    Any does where all agree: the first. Where they are brought to one grid, it is that of the contrast-enhanced image,
    on which the tumour core is read, if it is among them.
    """
    return "t1c" if align and "t1c" in modalities else modalities[0]


def on_one_grid(grid: Grid, other: Grid) -> bool:
    """Whether two grids are the same voxels; axis order and direction may differ."""
    return grid.ras().distance_mm(other.ras()) <= SAME_GRID_MM


def coverage(grid: Grid, reference: Grid) -> float:
    """Share of the reference's voxels whose centres lie within the field of view of a grid."""
    return float(np.mean(_inside(grid, _to_voxels(grid, reference), reference.shape)))


def resample_by_header(volume: Volume, reference: Grid, *, background: float) -> Volume:
    """Interpolate a volume linearly at the places of another grid's voxels.

    Its outermost voxels reach to their outer edge, which matters in thick slices.

    Args:
        volume: (X, Y, Z).
        reference: The grid wanted.
        background: Value outside the volume's field of view.

    Returns:
        float32 on the reference grid, x first in memory.
    """
    to_voxels = _to_voxels(volume.grid, reference)
    array = np.empty(reference.shape, np.float32, order="F")
    source = volume.array.astype(np.float32, copy=False)
    affine_transform(source, to_voxels[:3, :3], to_voxels[:3, 3], output=array, order=1, mode="nearest")
    array[~_inside(volume.grid, to_voxels, reference.shape)] = background
    return Volume(array, reference, volume.quirks)


def _to_voxels(grid: Grid, reference: Grid) -> npt.NDArray[np.float64]:
    """(4, 4) from voxel indices of the reference to those of a grid."""
    return np.asarray(np.linalg.solve(grid.affine, reference.affine), np.float64)


def _inside(grid: Grid, to_voxels: npt.NDArray[Any], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """(X, Y, Z): which voxels of the reference lie within the outer edges of a grid."""
    inside = np.ones(shape, np.bool_, order="F")
    x, y, z = np.ogrid[: shape[0], : shape[1], : shape[2]]
    for axis, size in enumerate(grid.shape):
        at = to_voxels[axis, 0] * x + to_voxels[axis, 1] * y + (to_voxels[axis, 2] * z + to_voxels[axis, 3])
        inside &= (at >= -0.5) & (at <= size - 0.5)
    return inside
