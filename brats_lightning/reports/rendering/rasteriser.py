"""Surfaces seen from one side, in parallel projection: what each pixel meets first, and how bright it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb

from brats_lightning.reports.figures.planes import AXIAL, CORONAL, SAGITTAL, View
from brats_lightning.reports.rendering.scene import Part, Scene
from brats_lightning.reports.rendering.surface import Surface

LIGHT = np.array([-0.35, 0.45, 0.82])
"""Where it comes from: right, up and towards the eye."""
AMBIENT, GLOSS, SHARPNESS = 0.3, 0.22, 24
THIN_EDGE = 0.12
"""A shell seen along its skin is at most this many times as long."""
LIFT_MM = 1.0
"""What lies outside counts as so much nearer, or surfaces that touch would show through each other in flecks."""
SUPERSAMPLING = 2
Image = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Side:
    """Where the eye is.

    Args:
        name: In words.
        right: Direction in RAS that the picture's right is.
        up: The same for up.
        view: The plane that is seen the same way; it knows the letters of the four edges.
    """

    name: str
    right: tuple[float, float, float]
    up: tuple[float, float, float]
    view: View

    def axes(self) -> npt.NDArray[np.float64]:
        """(3, 3) rows right, up and towards the eye."""
        return np.stack([self.right, self.up, np.cross(self.right, self.up)])


# As radiologists look at planes: the patient's right is on the left, from the side the face is on the left.
BELOW = Side("from below", (-1, 0, 0), (0, 1, 0), AXIAL)
FRONT = Side("from the front", (-1, 0, 0), (0, 0, 1), CORONAL)
LEFT = Side("from the left", (0, -1, 0), (0, 0, 1), SAGITTAL)


def extent_mm(scene: Scene, side: Side, *, margin_mm: float) -> tuple[npt.NDArray[np.float64], tuple[float, float]]:
    """The lower left corner, and the width and height, of what is seen from a side."""
    low, high = scene.box_mm
    corners = np.stack([low, high]) @ side.axes()[:2].T
    first = corners.min(0) - margin_mm
    width, height = (corners.max(0) + margin_mm - first).tolist()
    return first, (width, height)


def render(scene: Scene, side: Side, *, pixels_per_mm: float, margin_mm: float, ground: str) -> Image:
    """Draw a scene: (rows, columns, 3) from 0 to 1, the first row at the bottom.

    Args:
        scene: What to draw.
        side: Where the eye is.
        pixels_per_mm: Of the picture.
        margin_mm: Round all that there is.
        ground: Colour behind it.
    """
    first, (width, height) = extent_mm(scene, side, margin_mm=margin_mm)
    fine = pixels_per_mm * SUPERSAMPLING
    rows, columns = (int(np.ceil(size * pixels_per_mm)) * SUPERSAMPLING for size in (height, width))
    layers = []
    for rank, part in enumerate(reversed(scene.parts)):
        depth, normals = first_hit(part.surface, side, first, fine, (rows, columns))
        layers.append((depth + LIFT_MM * rank, *_shaded(part, normals, np.isfinite(depth))))
    picture = _composed(layers, np.array(to_rgb(ground)), (rows, columns))
    blocks = picture.reshape(rows // SUPERSAMPLING, SUPERSAMPLING, columns // SUPERSAMPLING, SUPERSAMPLING, 3)
    averaged: Image = blocks.mean((1, 3))
    return averaged


def first_hit(
    surface: Surface, side: Side, first: npt.NDArray[np.float64], pixels_per_mm: float, shape: tuple[int, int]
) -> tuple[Image, Image]:
    """How near the surface comes in each pixel (rows, columns), minus infinity beside it, and its normal (…, 3) there.

    Both are in the eye's own directions: right, up and towards it.

    Args:
        surface: Its triangles that face away are not looked at: it is closed, so others are nearer.
        side: Where the eye is.
        first: Lower left corner of the picture in mm.
        pixels_per_mm: Of the picture.
        shape: Rows and columns.
    """
    points = surface.vertices.astype(np.float64) @ side.axes().T
    points[:, :2] = (points[:, :2] - first) * pixels_per_mm - 0.5
    triangles = surface.triangles[_twice_area(points[surface.triangles]) > 1e-9]
    corners = points[triangles]
    which, column, row = _covered(corners, shape)
    shares = _shares(corners[which, :, :2], np.stack([column, row], axis=1))
    inside = (shares >= 0).all(1)
    which, column, row, shares = which[inside], column[inside], row[inside], shares[inside]
    depths = (corners[which, :, 2] * shares).sum(1)
    order = np.argsort(depths)  # the nearest is written last, and stays
    nearest = np.full(shape, -1)
    nearest[row[order], column[order]] = order
    hit = nearest >= 0
    depth, normals = np.full(shape, -np.inf), np.zeros((*shape, 3))
    chosen = nearest[hit]
    depth[hit] = depths[chosen]
    mixed = np.einsum("ij,ijk->ik", shares[chosen], surface.normals[triangles[which[chosen]]].astype(np.float64))
    turned = mixed @ side.axes().T
    normals[hit] = turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)
    return depth, normals


def _twice_area(corners: Image) -> npt.NDArray[np.float64]:
    """Of triangles (T, 3, …) in the plane; negative where they face away."""
    (ax, ay), (bx, by) = ((corners[:, k, :2] - corners[:, 0, :2]).T for k in (1, 2))
    doubled: npt.NDArray[np.float64] = ax * by - ay * bx
    return doubled


def _covered(corners: Image, shape: tuple[int, int]) -> tuple[npt.NDArray[np.int64], ...]:
    """Triangle, column and row of all pixels in the triangles' boxes."""
    limits = np.array([shape[1], shape[0]]) - 1
    low = np.clip(np.ceil(corners[..., :2].min(1)), 0, limits + 1).astype(np.int64)
    high = np.clip(np.floor(corners[..., :2].max(1)), -1, limits).astype(np.int64)
    width, height = np.maximum(high - low + 1, 0).T
    counts = width * height
    which = np.repeat(np.arange(len(corners)), counts)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, low[which, 0] + nth % width[which], low[which, 1] + nth // width[which]


def _shares(corners: Image, points: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Barycentric coordinates (P, 3) of points in their triangles (P, 3, 2)."""
    from_first = (corners - corners[:, :1]).transpose(1, 2, 0)
    (bx, by), (cx, cy) = from_first[1], from_first[2]
    px, py = (points - corners[:, 0]).T
    area = bx * cy - by * cx
    second, third = (px * cy - py * cx) / area, (bx * py - by * px) / area
    return np.stack([1 - second - third, second, third], axis=1)


def _shaded(part: Part, normals: Image, hit: npt.NDArray[np.bool_]) -> tuple[Image, Image]:
    """Colours (rows, columns, 3) and opacities (rows, columns) of a part; the page's viewer shades alike."""
    light = LIGHT / np.linalg.norm(LIGHT)
    halfway = light + np.array([0, 0, 1])
    diffuse = AMBIENT + (1 - AMBIENT) * np.maximum(0, normals @ light)
    gloss = GLOSS * np.maximum(0, normals @ (halfway / np.linalg.norm(halfway))) ** SHARPNESS
    colours = np.clip(np.array(to_rgb(part.colour)) * diffuse[..., None] + gloss[..., None], 0, 1)
    # The path through a thin shell grows towards its edge.
    opacity = 1 - (1 - part.opacity) ** (1 / np.maximum(normals[..., 2], THIN_EDGE))
    return colours, np.where(hit, opacity, 0)


def _composed(layers: Sequence[tuple[Image, Image, Image]], ground: Image, shape: tuple[int, int]) -> Image:
    """Lay what is nearer over what is farther, in each pixel by itself."""
    picture = np.broadcast_to(ground, (*shape, 3)).copy()
    if not layers:
        return picture
    depths, colours, opacities = (np.stack(kind) for kind in zip(*layers, strict=True))
    farthest_first = np.argsort(depths, axis=0)
    for nth in farthest_first:
        index = nth[None, ..., None]
        colour = np.take_along_axis(colours, index, axis=0)[0]
        opacity = np.take_along_axis(opacities[..., None], index, axis=0)[0]
        picture += opacity * (colour - picture)
    return picture
