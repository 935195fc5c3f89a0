"""Planes through a volume in the orientation radiologists read, the box that is worth showing, and its grey values.

The patient's right is on the left of the picture; the sagittal view has the face on the left.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MARGIN_MM = 9.0
Array = npt.NDArray[Any]
Extent = tuple[float, float]
"""Width and height of a panel in mm."""


@dataclass(frozen=True)
class View:
    """A plane through a volume in RAS order; its horizontal axis runs against its index.

    Args:
        name: Of the plane.
        axis: Across the plane.
        marks: Letters at left, right, bottom and top.
    """

    name: str
    axis: int
    marks: str

    def cut(self, volume: Array, index: int) -> Array:
        """A plane of (X, Y, Z) as (rows, columns), the first row at the bottom."""
        plane: Array = np.take(volume, index, axis=self.axis).T[:, ::-1]
        return plane

    def extent_mm(self, shape: Sequence[int], spacing_mm: Sequence[float]) -> Extent:
        """Width and height of its planes."""
        width, height = np.delete(np.multiply(shape, spacing_mm), self.axis).tolist()
        return width, height


AXIAL, CORONAL, SAGITTAL = View("axial", 2, "RLPA"), View("coronal", 1, "RLIS"), View("sagittal", 0, "APIS")
VIEWS = {view.name: view for view in (AXIAL, CORONAL, SAGITTAL)}


def views_of(shape: Sequence[int]) -> list[View]:
    """Planes that show something: a volume of one slice has but one, in which that slice lies.

    Example:
        >>> [view.name for view in views_of((240, 240, 1))]
        ['axial']
    """
    flat = [axis for axis, size in enumerate(shape) if size == 1]
    return [view for view in VIEWS.values() if not set(flat) - {view.axis}] or [AXIAL]


def foreground_box(image: Array, spacing_mm: Sequence[float]) -> tuple[slice, slice, slice]:
    """Bounding box of what differs from the corner's value, with a margin."""
    foreground = (image != image[:, :1, :1, :1]).any(axis=0)
    box = []
    for axis, spacing in enumerate(spacing_mm):
        inside = np.flatnonzero(foreground.any(axis=tuple({0, 1, 2} - {axis})))
        first, last = (inside[0], inside[-1]) if inside.size else (0, foreground.shape[axis] - 1)
        margin = round(MARGIN_MM / spacing)
        box.append(slice(max(0, int(first) - margin), int(last) + 1 + margin))
    return box[0], box[1], box[2]


def windowed(channel: Array, box: tuple[slice, slice, slice]) -> Array:
    """Grey values from 0 to 1 inside a box, the background black."""
    cropped = channel[box].astype(np.float32)
    foreground = channel[box] != channel[0, 0, 0]
    if not foreground.any():
        return np.zeros_like(cropped)
    low, high = np.percentile(cropped[foreground][::7], (0.5, 99.7))
    return np.where(foreground, np.clip((cropped - low) / max(high - low, 1e-6), 0, 1), 0)


def fullest(masks: Iterable[Array], shape: Sequence[int]) -> tuple[int, ...]:
    """The plane across each axis with the most of the first mask (X, Y, Z) that has any; the middle without one."""
    for mask in masks:
        if mask.any():
            areas = (np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis})) for axis in range(3))
            return tuple(int(area.argmax()) for area in areas)
    return tuple(size // 2 for size in shape)


def tilt_degrees(affine: Array) -> float:
    """Largest angle between an axis of a grid and the patient's axis that is nearest to it.

    Example:
        >>> tilt_degrees(np.diag([-1.0, -1.0, 5.0, 1.0]))
        0.0
    """
    axes = np.asarray(affine, np.float64)[:3, :3]
    nearest = np.abs(axes).max(axis=0) / np.linalg.norm(axes, axis=0)
    return round(float(np.degrees(np.arccos(np.clip(nearest.min(), -1, 1)))), 1)
