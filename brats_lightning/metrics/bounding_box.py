"""The smallest box around what is not background: where nothing else lies, nothing else need be looked at."""

from typing import Any

import numpy as np
import numpy.typing as npt


def joint_bounding_box(*arrays: npt.NDArray[Any]) -> tuple[slice, ...]:
    """Smallest box that holds every non-zero voxel of all arrays, which have one shape.

    Empty slices where all of them are background throughout.

    Example:
        >>> joint_bounding_box(np.array([0, 0, 1, 0, 0]), np.array([0, 0, 0, 2, 0]))
        (slice(2, 4, None),)
    """
    # One array after the other: arrays of unlike memory order are slow to combine voxel by voxel.
    boxes = [box for box in map(_bounding_box, arrays) if box is not None]
    if not boxes:
        return (slice(0, 0),) * arrays[0].ndim
    return tuple(
        slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes))
        for axis in range(arrays[0].ndim)
    )


def _bounding_box(array: npt.NDArray[Any]) -> tuple[slice, ...] | None:
    # The axis of the longest stride first: its planes are contiguous, and each span narrows what is left.
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    view = array.transpose(order)
    if view.dtype != np.bool_:
        view = view != 0
    spans: dict[int, slice] = {}
    for position, axis in enumerate(order):
        others = tuple(other for other in range(array.ndim) if other != position)
        occupied = np.flatnonzero(view.any(axis=others))
        if not occupied.size:
            return None
        spans[axis] = slice(int(occupied[0]), int(occupied[-1]) + 1)
        view = view[(slice(None),) * position + (spans[axis],)]
    return tuple(spans[axis] for axis in range(array.ndim))
