"""HD95 weighted by surface area, as the BraTS challenges measure it from 2023 on.

A surfel sits where eight voxels meet that are not all alike. Its area is that of the surface that marching cubes lays
between them, so that a slanting boundary counts as much as it is large. Nikolov et al. 2021, doi:10.2196/26151.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import combinations, product

import numpy as np
import numpy.typing as npt

from brats_lightning.metrics.bounding_box import joint_bounding_box
from brats_lightning.metrics.nearest import Floats, Indices, Mask, margin_of, nearest_mm

Codes = npt.NDArray[np.uint8]
Corner = tuple[int, int, int]

CORNERS: tuple[Corner, ...] = tuple((x, y, z) for x, y, z in product((0, 1), repeat=3))
"""Eight voxels that meet, the first one the highest bit of their code."""


def surfel_hd95_mm(
    prediction: npt.NDArray[np.uint8], reference: npt.NDArray[np.uint8], *, spacing_mm: Sequence[float]
) -> float:
    """Larger of the two directed 95th percentiles over the surface, in mm; infinite where only one side has a surface.

    The percentile is the distance of the surfel at which the area, summed from the nearest on, reaches 95 %.

    Args:
        prediction: Mask of 0 and 1. Larger numbers enter the eight-bit code as they are and wrap, which is what the
            scorer of BraTS 2024 does with the numbers of components.
        reference: The same, of the same shape.
        spacing_mm: Distance between neighbouring voxels along each axis.

    Returns:
        0 where neither side has a surface.
    """
    spacing = np.asarray(spacing_mm, np.float64)
    box = joint_bounding_box(prediction, reference)
    predicted, expected = (surfel_codes(side[box], margin_of(spacing)) for side in (prediction, reference))
    areas = surfel_areas(spacing_mm)
    surfaces = (areas[predicted] > 0, areas[expected] > 0)
    if not (surfaces[0].any() and surfaces[1].any()):
        return math.inf if surfaces[0].any() or surfaces[1].any() else 0.0
    return max(
        _directed_mm(areas[predicted], surfaces[1], spacing),
        _directed_mm(areas[expected], surfaces[0], spacing),
    )


def surfel_areas(spacing_mm: Sequence[float]) -> Floats:
    """(256,) area in mm² of the surface between eight voxels, by their code.

    The fewer voxels, in or out, fall into parts that hang together by faces. Each part is cut off by a surface through
    the middle of the edges that leave it.

    Example:
        >>> surfel_areas([1, 1, 1])[[0b11110000, 0b10000000, 0b11111111]].round(3).tolist()
        [1.0, 0.217, 0.0]
    """
    return _areas(*map(float, spacing_mm))


def surfel_codes(mask: Codes, margin: Indices) -> Codes:
    """Code of the eight voxels around each point of the half-voxel grid, with a margin of background."""
    before = margin + 1
    codes = np.zeros(mask.shape + before + margin, np.uint8)
    codes[tuple(slice(width, width + size) for width, size in zip(before, mask.shape, strict=True))] = mask
    for axis, weight in ((2, 2), (1, 4), (0, 16)):
        lower, upper = [slice(None)] * 3, [slice(None)] * 3
        lower[axis], upper[axis] = slice(None, -1), slice(1, None)
        codes[tuple(lower)] = codes[tuple(lower)] * np.uint8(weight) + codes[tuple(upper)]
    return codes


def percentiles_by_area(distances: Floats, areas: Floats, percentiles: Sequence[float]) -> Floats:
    """Distances at which the area, summed from the nearest on, reaches the percentiles."""
    # Equal distances in the order of area: sums round differently in another, and 95 % may be met exactly.
    order = np.lexsort((areas, distances))
    ordered = areas[order]
    places = np.searchsorted(np.cumsum(ordered) / ordered.sum(), np.asarray(percentiles) / 100)
    return distances[order[np.minimum(places, order.size - 1)]]


@cache
def _areas(x: float, y: float, z: float) -> Floats:
    faces = np.array([y * z, x * z, x * y])
    areas = np.zeros(256)
    for code in range(256):
        inside = frozenset(corner for bit, corner in enumerate(CORNERS) if code >> (7 - bit) & 1)
        fewer = min(inside, frozenset(CORNERS) - inside, key=len)
        vectors = [vector for part in _parts(fewer) for vector in _area_vectors(part)]
        areas[code] = sum(math.sqrt(((vector * faces) ** 2).sum()) for vector in vectors)
    areas.setflags(write=False)
    return areas


def _parts(corners: frozenset[Corner]) -> Iterator[frozenset[Corner]]:
    """Corners of a cube, grouped by what hangs together along its edges."""
    left = set(corners)
    while left:
        part = {left.pop()}
        while near := {corner for corner in left if any(_edge(corner, other) is not None for other in part)}:
            part |= near
            left -= near
        yield frozenset(part)


def _area_vectors(part: frozenset[Corner]) -> list[Floats]:
    """Area vectors, sign dropped, of the plane pieces that cut up to four corners off a unit cube."""
    edges = [axis for pair in combinations(sorted(part), 2) if (axis := _edge(*pair)) is not None]
    across, unit = [axis for axis in range(3) if axis not in edges], np.eye(3)
    if len(part) == 1:
        return [np.full(3, 1 / 8)]  # a triangle
    if len(part) == 2:
        return [unit[across].sum(0) / 2]  # a slanting rectangle
    if len(part) == 3:
        return [unit[across[0]] / 2, np.full(3, 3 / 8)]  # half a face and a trapezoid
    if len(edges) == 4:
        return [unit[across[0]]]  # a whole face
    ends = [corner for corner in part if sum(_edge(corner, other) is not None for other in part) == 1]
    if len(ends) == 3:
        return [np.full(3, 6 / 8)]  # a regular hexagon around one corner
    # A winding path of three edges: a hexagon that is not plane, in four triangles.
    middle = next(_edge(*pair) for pair in combinations(sorted(part - set(ends)), 2))
    outer = [axis for axis in range(3) if axis != middle]
    return [*((unit[middle] + unit[axis]) / 4 for axis in outer), np.full(3, 1 / 4), np.full(3, 1 / 4)]


def _edge(one: Corner, other: Corner) -> int | None:
    """Axis of the cube's edge between two corners, None where there is none."""
    apart = [axis for axis in range(3) if one[axis] != other[axis]]
    return apart[0] if len(apart) == 1 else None


def _directed_mm(areas: Floats, target: Mask, spacing: Floats) -> float:
    """95th percentile of the distances from one surface to the other, both on one grid with a margin."""
    points = np.flatnonzero(areas)
    weights = areas.ravel()[points]
    enough = (0.95 + 1e-6) * float(weights.sum())
    distances = nearest_mm(points, target, spacing, weights=weights, enough=enough)
    around = (95 * (1 - 1e-9), 95, 95 * (1 + 1e-9))
    below, found, above = percentiles_by_area(distances, weights, around)
    if below != above and math.isinf(distances.max()):
        # Rounding decides, and the sum rounds by the order of all.
        _, found, _ = percentiles_by_area(nearest_mm(points, target, spacing), weights, around)
    return float(found)
