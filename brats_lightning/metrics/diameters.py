"""Longest diameters of a region in mm: in space, in slices, and crosswise as in RANO.

All are taken between points of the outline, which lie half-way between a voxel of the region and a neighbour beside it:
the vertices of the mesh. A single voxel has the diameter of a voxel. Crosswise: Wen et al., Updated response assessment
criteria for high-grade gliomas (RANO), J Clin Oncol 2010.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull, distance

Points = npt.NDArray[np.float64]
Halves = npt.NDArray[np.int64]
"""Points in half voxels, so that those of one plane are equal there to the bit."""
_SAME_MM = 1e-9


def outline(mask: npt.NDArray[np.bool_]) -> Halves:
    """Points of the outline of a region (N, D) in half voxels from the centre of its first voxel.

    Args:
        mask: Boolean of D axes, with at least one voxel.
    """
    padded = np.pad(mask, 1)
    found = []
    for axis in range(mask.ndim):
        forth = np.diff(padded.view(np.int8), axis=axis)
        step = np.zeros(mask.ndim, np.int64)
        step[axis] = 1
        found.append(2 * (np.argwhere(forth) - 1) + step)
    return np.concatenate(found)


def longest_diameter(points: Halves, *, spacing_mm: tuple[float, ...]) -> float:
    """Largest distance between two points of an outline (N, D) in mm.

    Args:
        points: From `outline`.
        spacing_mm: Voxel size along each of the D axes.
    """
    outermost = _outermost(points) * np.divide(spacing_mm, 2)
    return float(distance.pdist(outermost[ConvexHull(outermost).vertices]).max())


def longest_in_slices(points: Halves, *, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    """Largest distance between two points of an outline that lie in a plane across an axis, axis by axis, in mm.

    Args:
        points: (N, 3) from `outline`.
        spacing_mm: Voxel size along each axis.
    """
    x, y, z = (_longest_across(points, axis, spacing_mm) for axis in range(3))
    return x, y, z


def axial_diameters(mask: npt.NDArray[np.bool_], *, spacing_mm: tuple[float, float, float]) -> tuple[float, float, int]:
    """Longest axial diameter of a lesion and the longest one across it, as bidimensional criteria measure them.

    The first joins two points of one lesion's outline in one axial slice; voxels there that touch by edge or corner are
    one lesion. The second is the longest line at a right angle to it within the convex hull of that section: a ring
    counts as filled. The slice is the one where the first is longest; of several, that where the second is.

    Args:
        mask: (X, Y, Z) boolean with at least one voxel, the third axis running from slice to slice.
        spacing_mm: Voxel size along each axis.

    Returns:
        Both in mm, and the index of the slice.
    """
    longest = across = 0.0
    index = -1
    for at in np.flatnonzero(mask.any((0, 1))):
        sections, count = ndimage.label(mask[:, :, at], np.ones((3, 3)))
        for number, box in enumerate(ndimage.find_objects(sections, count), start=1):
            points = outline(sections[box] == number)
            length = longest_diameter(points, spacing_mm=spacing_mm[:2])
            if length < longest - _SAME_MM:
                continue
            width = _across(points * np.array(spacing_mm[:2], np.float64) / 2, length)
            if length > longest + _SAME_MM or width > across + _SAME_MM:
                longest, across, index = length, width, int(at)
    return longest, across, index


def _outermost(points: Halves) -> Halves:
    """First and last point of each row along the last axis: no other is the end of a longest line."""
    points = points[np.lexsort(points.T[::-1])]
    changes = (np.diff(points[:, :-1], axis=0) != 0).any(1)
    outermost: Halves = points[np.r_[True, changes] | np.r_[changes, True]]
    return outermost


def _longest_across(points: Halves, axis: int, spacing_mm: tuple[float, float, float]) -> float:
    sizes = np.delete(spacing_mm, axis) / 2
    ordered = points[np.argsort(points[:, axis], kind="stable")]
    planes = np.split(np.delete(ordered, axis, 1), np.flatnonzero(np.diff(ordered[:, axis])) + 1)
    return math.sqrt(max(distance.pdist(_outermost(one) * sizes, "sqeuclidean").max(initial=0) for one in planes))


def _across(points: Points, length: float) -> float:
    """Longest line within the hull of points (N, 2) at a right angle to a diameter of a given length."""
    corners = points[ConvexHull(points).vertices]
    apart = distance.squareform(distance.pdist(corners))
    diameters = [corners[b] - corners[a] for a, b in np.argwhere(apart >= length - _SAME_MM) if a < b]
    return max(_width(corners, along) for along in diameters)


def _width(corners: Points, along: Points) -> float:
    """Longest line within a convex polygon at a right angle to a direction: one end of it is a corner."""
    unit = along / np.linalg.norm(along)
    forth, aside = corners @ unit, corners @ np.array([-unit[1], unit[0]])
    next_forth, next_aside = np.roll(forth, -1), np.roll(aside, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (forth[:, None] - forth) / (next_forth - forth)  # (corners, edges)
        meets = np.where((share >= 0) & (share <= 1), aside + share * (next_aside - aside), np.nan)
    meets = np.concatenate([meets, aside[:, None]], axis=1)
    return float((np.nanmax(meets, 1) - np.nanmin(meets, 1)).max())
