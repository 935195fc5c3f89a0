"""What marching cubes draws between eight voxel centres, for each of the 256 ways to have some of them in the region.

The triangles are derived, not listed. For measuring they have the areas and volumes of the table in common use, which
pyradiomics follows too: on a face whose diagonals disagree, the corners unlike one fixed corner are kept apart, so that
two cubes may disagree about the face between them. For drawing they are closed: there the corners in the region are
always kept apart, and two cubes agree.

Lorensen and Cline, Marching cubes: a high resolution 3D surface construction algorithm, SIGGRAPH 1987.
"""

from collections.abc import Iterable
from functools import cache
from itertools import product

import numpy as np
import numpy.typing as npt

Corner = tuple[int, int, int]
Points = npt.NDArray[np.float64]
Triangles = tuple[tuple[int, int, int], ...]

CORNERS: tuple[Corner, ...] = tuple((x, y, z) for x, y, z in product((0, 1), repeat=3))
"""Corner k of a cube is bit k of its code."""
_FIXED: Corner = (0, 1, 1)
"""With axes that grow left, posterior and superior, as pyradiomics reads a BraTS file, this is its fixed corner."""


def cube_codes(padded: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Code of each cube of eight neighbouring voxel centres: one less along each axis than there are voxels."""
    codes = np.zeros([size - 1 for size in padded.shape], np.uint8)
    for bit, corner in enumerate(CORNERS):
        shifted = padded[tuple(slice(at, at + size) for at, size in zip(corner, codes.shape, strict=True))]
        codes |= shifted.view(np.uint8) << np.uint8(bit)
    return codes


@cache
def cube_triangles(*, closed: bool = False) -> tuple[Points, ...]:
    """Triangles (T, 3 corners, 3 axes) of each code in a cube of edge 1; their normals point out of the region.

    Args:
        closed: Whether the triangles of all cubes join to a surface without holes.
    """
    return tuple(_triangles(code, closed=closed) for code in range(2 ** len(CORNERS)))


def _triangles(code: int, *, closed: bool) -> Points:
    inside = frozenset(corner for bit, corner in enumerate(CORNERS) if code >> bit & 1)
    turned = _FIXED in inside and not closed
    if turned:
        inside = frozenset(CORNERS) - inside
    found = [polygon[list(triangle)] for polygon in _polygons(inside) for triangle in _cut(polygon)]
    triangles = np.array(found, np.float64).reshape(-1, 3, 3)
    return triangles[:, ::-1] if turned else triangles


def _polygons(inside: frozenset[Corner]) -> list[Points]:
    """Closed polygons through the middles of the edges that leave the region, counter-clockwise seen from outside."""
    neighbours: dict[tuple[float, ...], list[tuple[float, ...]]] = {}
    for face in _faces():
        for one, other in _segments(face, inside):
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
    polygons = []
    left = dict.fromkeys(sorted(neighbours))
    while left:
        path = [next(iter(left))]
        while path[-1] in left:
            del left[path[-1]]
            path += [point for point in neighbours[path[-1]] if point in left][:1]
        polygons.append(_outwards(np.array(path), inside))
    return polygons


def _faces() -> Iterable[list[Corner]]:
    """The corners of each of the six faces, going round."""
    for axis, side in product(range(3), (0, 1)):
        around = []
        for one, other in ((0, 0), (0, 1), (1, 1), (1, 0)):
            x, y, z = np.insert([one, other], axis, side).tolist()
            around.append((x, y, z))
        yield around


def _segments(face: list[Corner], inside: frozenset[Corner]) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    edges = [(face[at], face[(at + 1) % 4]) for at in range(4)]
    cuts = [edge for edge in edges if (edge[0] in inside) != (edge[1] in inside)]
    if len(cuts) == 2:
        return [(_middle(cuts[0]), _middle(cuts[1]))]
    around = [[_middle(edge) for edge in cuts if corner in edge] for corner in face if corner in inside]
    return [(one, other) for one, other in around] if cuts else []


def _middle(edge: tuple[Corner, Corner]) -> tuple[float, ...]:
    return tuple((one + other) / 2 for one, other in zip(*edge, strict=True))


def _outwards(polygon: Points, inside: frozenset[Corner]) -> Points:
    """Turn a polygon round where its normal points into the region."""
    normal = np.cross(polygon, np.roll(polygon, -1, 0)).sum(0)
    outwards = np.zeros(3)
    for point in polygon:
        along = point == 0.5
        low = tuple(np.where(along, 0, point).astype(int).tolist())
        outwards += np.where(along, 1.0 if low in inside else -1.0, 0.0)
    return polygon if normal @ outwards > 0 else polygon[::-1]


def _cut(polygon: Points) -> Triangles:
    """Cut a polygon into triangles.

    With up to six corners into those of the largest area and, where several have it, into those that enclose what a
    fan round the middle would; with seven into the fan that encloses least, the one that is its own mirror image.
    """
    count = len(polygon)
    if count == 7:
        fans = [tuple((at, (at + k) % 7, (at + k + 1) % 7) for k in range(1, 6)) for at in range(7)]
        return min(fans, key=lambda fan: round(_volume(polygon, fan), 9))
    middle = polygon.mean(0)
    filled = sum(float(middle @ np.cross(polygon[k], polygon[(k + 1) % count])) for k in range(count)) / 6

    def rank(triangles: Triangles) -> tuple[float, float]:
        return round(-_area(polygon, triangles), 9), round(abs(_volume(polygon, triangles) - filled), 9)

    return min(_every_cut(tuple(range(count))), key=rank)


def _every_cut(corners: tuple[int, ...]) -> list[Triangles]:
    """Every way to cut a polygon into triangles along its diagonals."""
    if len(corners) < 3:
        return [()]
    first, last = corners[0], corners[-1]
    return [
        (*before, (first, corners[at], last), *after)
        for at in range(1, len(corners) - 1)
        for before in _every_cut(corners[: at + 1])
        for after in _every_cut(corners[at:])
    ]


def _area(polygon: Points, triangles: Triangles) -> float:
    a, b, c = (polygon[[triangle[k] for triangle in triangles]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2


def _volume(polygon: Points, triangles: Triangles) -> float:
    """Signed volume between triangles and the origin."""
    a, b, c = (polygon[[triangle[k] for triangle in triangles]] for k in range(3))
    return float((a * np.cross(b, c)).sum()) / 6
