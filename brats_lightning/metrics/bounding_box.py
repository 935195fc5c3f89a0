"""The smallest box around what is not background: where nothing else lies, nothing else need be looked at."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # tensors bring their own methods: whoever scores files need not wait for PyTorch
    import torch

Array: TypeAlias = "npt.NDArray[Any] | torch.Tensor"
"""NumPy array, or PyTorch tensor on any device."""


def joint_bounding_box(*arrays: Array) -> tuple[slice, ...]:
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


def on_host(array: Array) -> Array:
    """A NumPy array and a tensor on a CUDA device as they are, any other tensor as a NumPy array."""
    if isinstance(array, np.ndarray) or array.device.type == "cuda":
        return array
    host: npt.NDArray[Any] = array.detach().cpu().numpy()
    return host


def _bounding_box(array: Array) -> tuple[slice, ...] | None:
    # The axis of the longest stride first: its planes are contiguous, and each span narrows what is left.
    strides = array.strides if isinstance(array, np.ndarray) else array.stride()
    order = sorted(range(array.ndim), key=lambda axis: -abs(strides[axis]))
    view = array.transpose(order) if isinstance(array, np.ndarray) else array.permute(order)
    if view.dtype != np.bool_:
        view = view != 0
    spans: dict[int, slice] = {}
    for position, axis in enumerate(order):
        occupied = _occupied(view, position)
        if not occupied.size:
            return None
        spans[axis] = slice(int(occupied[0]), int(occupied[-1]) + 1)
        view = view[(slice(None),) * position + (spans[axis],)]
    return tuple(spans[axis] for axis in range(array.ndim))


def _occupied(foreground: Array, axis: int) -> npt.NDArray[np.intp]:
    """Indices along one axis of the planes that are not background throughout."""
    others = tuple(other for other in range(foreground.ndim) if other != axis)
    if isinstance(foreground, np.ndarray):
        return np.flatnonzero(foreground.any(axis=others))
    # Any over no axes would be any over all.
    return np.flatnonzero((foreground.any(dim=others) if others else foreground).cpu().numpy())
