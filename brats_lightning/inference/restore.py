"""The way back: from the grid that the network saw to the patient's own.

Every spatial step of preprocessing is axis-aligned (orientation, crop, resampling from edge to edge), so the grids
before and after are the whole record: the processed image covers a box of whole voxels of the native grid. What was
computed on it is resampled to that box as probabilities, decided there, and put into its place.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from brats_lightning.nifti import Grid, Volume

EDGE_TOLERANCE = 0.01
"""The processed image may miss the edge of a native voxel by this part of it."""
_AXES = (1, 2, 3)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a processed image lies in the patient's own grid.

    Args:
        start: First voxel of `native.ras()` that the processed image covers, negative where it was padded.
        stop: The voxel after the last.
        native: Grid of the files, in any axis order.
    """

    start: tuple[int, int, int]
    stop: tuple[int, int, int]
    native: Grid

    @classmethod
    def between(cls, grid: Grid, native: Grid) -> Self:
        """Find a processed image in the grid it was made from.

        Args:
            grid: Of the processed image.
            native: Of the files.

        Raises:
            ValueError: The axes of the image are not those of the RAS-ordered files, its edges are not edges of their
                voxels, or it lies beside them.
        """
        to_native = np.linalg.solve(native.ras().affine, grid.affine)
        edges = np.array([(-0.5, size - 0.5) for size in grid.shape])
        both = np.array([to_native[:3, :3] @ side + to_native[:3, 3] for side in edges.T]) + 0.5
        start, stop = np.rint(both).astype(int)
        for corner in itertools.product((0, 1), repeat=3):  # all eight: a turned or sheared image has two right ones
            at = to_native[:3, :3] @ edges[range(3), corner] + to_native[:3, 3] + 0.5
            if np.abs(at - np.where(corner, stop, start)).max() > EDGE_TOLERANCE:
                raise ValueError(f"a processed image ({grid}) that is no box of voxels of its files ({native})")
        if (stop <= start).any() or (stop <= 0).any() or (start >= native.ras().shape).any():
            raise ValueError(f"a processed image ({grid}) that is flipped or lies beside its files ({native})")
        return cls(_three(start), _three(stop), native)

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The part of `native.ras()` that the processed image covers, without its padding."""
        shape = self.native.ras().shape
        x, y, z = (slice(max(a, 0), min(b, n)) for a, b, n in zip(self.start, self.stop, shape, strict=True))
        return x, y, z

    @property
    def box_shape(self) -> tuple[int, int, int]:
        """Voxels of the box along each axis."""
        x, y, z = (part.stop - part.start for part in self.box)
        return x, y, z

    def resample(self, volumes: torch.Tensor) -> torch.Tensor:
        """Bring what was computed on the processed image to the native voxels of the box.

        From edge to edge, each axis for itself: linear interpolation where the native voxels are smaller; where they
        are larger, the mean over what each covers, since a point in its middle would pass over small lesions. Voxels
        that keep their size keep their values, bit for bit.

        Args:
            volumes: (K, X, Y, Z) probabilities or logits of the processed image, on any device, of any float type.

        Returns:
            (K, *box_shape) float32, on the same device.
        """
        sizes = [stop - start for start, stop in zip(self.start, self.stop, strict=True)]
        volumes = volumes.float()
        for axis, size in zip(_AXES, sizes, strict=True):
            if size < volumes.shape[axis]:
                volumes = _average(volumes, axis, size)
        if list(volumes.shape[1:]) != sizes:
            volumes = interpolate(volumes[None], size=sizes, mode="trilinear", align_corners=False)[0]
        x, y, z = (
            slice(part.start - start, part.stop - start) for part, start in zip(self.box, self.start, strict=True)
        )
        return volumes[:, x, y, z]

    def paste(self, array: npt.NDArray[Any], *, fill: float = 0) -> npt.NDArray[Any]:
        """Put an array of the box into its place in the files' own axis order and direction.

        Args:
            array: (X, Y, Z) of `box_shape`, of any type.
            fill: Value outside the box.

        Returns:
            Of shape `native.shape`, x first in memory as files have it.
        """
        if array.shape != self.box_shape:
            raise ValueError(f"expected the shape of the box {self.box_shape}, found {array.shape}")
        whole = np.full(self.native.shape, fill, array.dtype, order="F")
        Volume(whole, self.native).ras().array[self.box] = array
        return whole

    def paste_ras(self, array: npt.NDArray[Any], *, fill: float = 0) -> npt.NDArray[Any]:
        """As `paste`, seen in the order of `native.ras()`, in which cases are read and scored."""
        return Volume(self.paste(array, fill=fill), self.native).ras().array


def _three(values: npt.NDArray[Any]) -> tuple[int, int, int]:
    x, y, z = values.tolist()
    return x, y, z


def _average(volumes: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """Mean over what each of `size` larger voxels covers of an axis, voxels cut by an edge by their part.

    PyTorch's area interpolation counts such voxels wholly.
    """
    old = volumes.shape[axis]
    edges = torch.arange(size + 1, dtype=torch.float64, device=volumes.device) * (old / size)
    voxels = torch.arange(old, dtype=torch.float64, device=volumes.device)
    covered = torch.minimum(edges[1:, None], voxels + 1) - torch.maximum(edges[:-1, None], voxels)
    weights = covered.clamp(min=0) * (size / old)  # (size, old); in double precision, which no setting makes coarser
    return (volumes.movedim(axis, -1).double() @ weights.T).movedim(-1, axis).float()
