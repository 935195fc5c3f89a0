"""Exact distances in mm from the points of one boundary to the nearest of another, whichever way is the fastest.

Most boundaries run close to each other, so that looking at the neighbours of a point finds most distances. What is left
is sought in a k-d tree, or where it crowds the grid by a distance transform: that takes as long for one point as for
all. On a GPU all pairs are measured, block by block.
"""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

SHELL = 3.0
"""Points nearer than this many of the smallest spacing are looked up, further ones sought."""

FEW = 0.04
"""Beyond this share of the grid a distance transform is faster than a tree: an untrained network's noise."""

PAIRS = 2**24
"""Distances held on a device at once: 128 MiB."""


def margin_of(spacing: Floats) -> Indices:
    """Points of background that a grid needs on each side of each axis, so that looking up neighbours stays inside."""
    return np.asarray(np.maximum(1, (SHELL * spacing.min() / spacing).astype(np.intp)))


def nearest_mm(
    origin: Indices, target: Mask, spacing: Floats, *, weights: Floats | None = None, enough: float = math.inf
) -> Floats:
    """Distance of each point of one boundary to the nearest of the other.

    Args:
        origin: Flat indices into the grid of the target, none of them in its margin.
        target: Grid in C order, True at its points, of which there is at least one, with a margin as `margin_of` says.
        spacing: In mm, between neighbouring points along each axis.
        weights: Of each point of the origin; None where each counts one.
        enough: The nearest points are found first. Once those found weigh this much, the others may be left infinite.
    """
    goal = target.ravel()
    distances = np.where(goal[origin], 0.0, math.inf)
    found = _weight(weights, np.flatnonzero(distances == 0))
    places = np.flatnonzero(distances)
    left = origin[places]
    for distance, steps in _shell(spacing, target.shape):
        crowded = left.size > FEW * target.size and distance > 2 * spacing.min()
        if found >= enough or not left.size or crowded:
            break
        reached = goal[left + steps[0]]
        for step in steps[1:]:
            reached |= goal[left + step]
        distances[places[reached]] = distance
        found += _weight(weights, places[reached])
        places, left = places[~reached], left[~reached]
    if left.size and found < enough:
        distances[places] = _sought_mm(left, target, spacing)
    return distances


def pairwise_mm(origin: "torch.Tensor", target: "torch.Tensor", spacing: Floats) -> Floats:
    """Distances from the points of one boundary to the nearest of the other, on the device where both lie.

    Args:
        origin: Boolean grid, True at its points.
        target: The same, of the same shape and with at least one point.
        spacing: In mm, between neighbouring points along each axis.

    Returns:
        First of the points on both, then of the others in the order of the origin.
    """
    left, goal = (edge.nonzero().double() for edge in (origin & ~target, target))
    scale = goal.new_tensor(spacing.tolist())
    left, goal = left * scale, goal * scale
    # |a - b|² = |a|² + (|b|² - 2 a·b): one product and one minimum a block. In float64, which autocast leaves alone.
    squares = (goal**2).sum(1)
    nearest = (left**2).sum(1)
    rows = max(1, PAIRS // len(goal))
    for start in range(0, len(left), rows):
        part = slice(start, start + rows)
        nearest[part] += squares.addmm(left[part], goal.T, alpha=-2).amin(1)
    shared = np.zeros(int((origin & target).sum()))
    return np.concatenate([shared, nearest.clamp(min=0).sqrt().cpu().numpy()])


def _weight(weights: Floats | None, places: Indices) -> float:
    return places.size if weights is None else float(weights[places].sum())


def _shell(spacing: Floats, shape: tuple[int, ...]) -> Iterator[tuple[float, list[int]]]:
    """Distances of near neighbours in ascending order, each with the steps to them in the flattened array."""
    radius = SHELL * spacing.min()
    reach = [range(-int(radius / step), int(radius / step) + 1) for step in spacing]
    offsets = np.stack(np.meshgrid(*reach, indexing="ij"), -1).reshape(-1, spacing.size)
    distances = np.sqrt(((offsets * spacing) ** 2).sum(1))
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    steps = offsets @ np.array(strides)
    for distance in np.unique(distances[(distances > 0) & (distances <= radius)]):
        yield float(distance), steps[distances == distance].tolist()


def _sought_mm(origin: Indices, target: Mask, spacing: Floats) -> Floats:
    """Distances of points, given by their flat indices, however far the target is."""
    places = _places(origin, target.shape)
    if origin.size > FEW * target.size:
        # Only the indices are asked for: distances would be those of the whole grid, in three times the memory.
        nearest = ndimage.distance_transform_edt(
            ~target, sampling=spacing, return_distances=False, return_indices=True
        ).reshape(target.ndim, -1)[:, origin]
        return np.asarray(np.sqrt((((places - nearest.T) * spacing) ** 2).sum(1)))
    # Of the build options these are the fastest, by half for scattered false positives.
    goal = _places(np.flatnonzero(target), target.shape) * spacing
    tree = cKDTree(goal, leafsize=32, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query(places * spacing)[0])


def _places(indices: Indices, shape: tuple[int, ...]) -> Indices:
    """(points, axes) of flat indices."""
    return np.stack(np.unravel_index(indices, shape), axis=-1)
