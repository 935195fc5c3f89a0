"""A synthetic brain: where its tissues lie, folded and deformed at random.

Points are in mm from the middle of the brain, axes growing left, posterior and superior as in BraTS files. A
depth is roughly the distance to a shape's border in mm, positive inside. Tissues are computed for brain voxels
only, as flat arrays: the brain fills a sixth of the field of view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.floating]  # float32 throughout: NumPy's annotations lose it when a Python number joins in
Points = tuple[Floats, Floats, Floats]
Triple = tuple[float, float, float]
Shapes = tuple[tuple[Triple, Triple], ...]

# Ellipsoids of the left half, mirrored to the right: centre and radii in mm.
CEREBRUM: Shapes = (
    ((10, -30, 14), (46, 53, 44)),
    ((12, 22, 16), (54, 61, 48)),
    ((41, -8, -19), (24, 40, 21)),
)
MIDDLE: Shapes = (((0, 4, -4), (34, 36, 24)),)
CEREBELLUM: Shapes = (((21, 39, -37), (31, 32, 23)),)
BRAINSTEM: Shapes = (((0, 17, -37), (12, 13, 38)), ((0, 8, -33), (17, 12, 14)))
DEEP: Shapes = (((15, 4, 7), (25, 50, 21)),)
"""No sulcus reaches into this part of a hemisphere."""
NUCLEI: Shapes = (
    ((11, 14, 4), (8.5, 15, 10)),  # thalamus
    ((13, -24, 8), (5.5, 11, 9)),  # head of the caudate nucleus
    ((28, -3, 1), (5, 17, 11)),  # putamen
)
CISTERNS: Shapes = (
    ((0, 5, -3), (2.4, 15, 10)),  # third ventricle
    ((0, 34, -33), (6, 4.5, 10)),  # fourth ventricle
    ((0, -11, -21), (11, 8, 5)),  # suprasellar cistern
    ((0, 41, -8), (11, 4, 6)),  # quadrigeminal cistern
)
VENTRICLE = (((6.5, -36, 7), 3.5), ((7.5, -8, 19), 5.0), ((12, 22, 19), 5.5), ((24, 43, 6), 7.0))
"""Points and radii along a lateral ventricle, from the frontal horn to the atrium."""
HORNS = (((23, 64, 2), 2.0), ((33, 8, -17), 2.0))
"""Tips of the occipital and the temporal horn, which start at the atrium."""
CHOROID_PLEXUS: Shapes = (((20, 36, 11), (2, 7, 2.5)),)
CORTEX_MM = 3.1
FOLD_MM, FOLD_LATTICE_MM, FOLD_RADIUS_MM = 4.6, 2.5, 45.0
"""Scale of the folds' random field, spacing of its lattice, and the distance from the axis at which both hold."""
SPLINE_SPREAD = 0.4794**1.5
"""Standard deviation of a cubic B-spline over control points of variance 1: Σ b² is 0.4794 along an axis."""


@dataclass(frozen=True, eq=False)
class Tissues:
    """What each brain voxel consists of; all arrays hold one value a voxel.

    Args:
        csf: Fraction of cerebrospinal fluid, 0 to 1.
        cortex: Fraction of cortical grey matter.
        nuclei: Fraction of deep grey nuclei.
        ventricle_mm: Distance to the ventricles, negative inside.
        vessels: How much of a contrast agent vessels and choroid plexus hold, 0 to 1.
    """

    csf: Floats
    cortex: Floats
    nuclei: Floats
    ventricle_mm: Floats
    vessels: Floats


def smooth_field(generator: np.random.Generator, axes_mm: Sequence[Floats], *, wavelength_mm: float) -> Floats:
    """A random field of mean 0 and standard deviation 1 on a regular grid.

    Args:
        generator: Draws the control points of a cubic B-spline.
        axes_mm: Positions of the voxels along each axis.
        wavelength_mm: Twice the distance of the control points.
    """
    step_mm = wavelength_mm / 2
    counts = [int((axis[-1] - axis[0]) / step_mm) + 4 for axis in axes_mm]
    field: Floats = generator.standard_normal(counts, dtype=np.float32) / SPLINE_SPREAD
    for axis in reversed(axes_mm):  # the long first axis last: it is expanded by whole planes
        field = _expand(np.moveaxis(field, -1, 0), (axis - axis[0]) / step_mm)
    return field


def ramp(value: Floats, width: float) -> Floats:
    """From 0 to 1 across a border at value 0: the share of a voxel that the border cuts."""
    share: Floats = np.clip(value / width + 0.5, 0, 1)
    return share


def squared_distance(points: Points, centre: Triple, radii: Triple = (1, 1, 1)) -> Floats:
    """Squared distance to a centre, along each axis in units of a radius."""
    x, y, z = ((axis - c) / r for axis, c, r in zip(points, centre, radii, strict=True))
    squares: Floats = x**2 + y**2 + z**2
    return squares


def brain_depth(points: Points) -> Floats:
    """Depth below the brain's surface, for points of any shape."""
    mirrored = (np.abs(points[0]), points[1], points[2])
    return _depth(mirrored, (*CEREBRUM, *MIDDLE, *CEREBELLUM, *BRAINSTEM), blend_mm=3.0)


def ventricle_distance(points: Points, *, widening_mm: float) -> Floats:
    """Distance to ventricles and cisterns, negative inside, and 30 mm wherever they are far away."""
    left = np.abs(points[0])
    near = np.flatnonzero((left < 46) & (np.abs(points[1] - 14) < 64) & (np.abs(points[2]) < 50))
    place = (left[near], points[1][near], points[2][near])
    distance = -_depth(place, CISTERNS) - max(widening_mm, 0) / 2
    legs = [*pairwise(VENTRICLE), *((VENTRICLE[-1], tip) for tip in HORNS)]
    for (start, start_radius), (end, end_radius) in legs:
        way = [b - a for a, b in zip(start, end, strict=True)]
        along = reduce(np.add, ((p - s) * w for p, s, w in zip(place, start, way, strict=True)))
        part = np.clip(along / sum(w**2 for w in way), 0, 1)
        x, y, z = (p - part * w for p, w in zip(place, way, strict=True))
        radius = start_radius + part * (end_radius - start_radius) + widening_mm
        distance = np.minimum(distance, np.sqrt(squared_distance((x, y, z), start)) - radius)
    everywhere = np.full(left.shape, 30, np.float32)
    everywhere[near] = distance
    return everywhere


def make_tissues(
    generator: np.random.Generator, points: Points, *, depth: Floats, variation: Floats, age: float
) -> Tissues:
    """Tissues of brain voxels.

    Args:
        generator: Draws the folds.
        points: Three arrays of one value a voxel.
        depth: Below the brain's surface.
        variation: Smooth random field by which depth and width of the sulci vary.
        age: 0 young to 1 old: sulci and ventricles widen.
    """
    mirrored = (np.abs(points[0]), points[1], points[2])
    below_tentorium = _depth(mirrored, CEREBELLUM) - _depth(mirrored, CEREBRUM)
    cerebellum = ramp(below_tentorium, 1.0)
    stem = ramp(_depth(mirrored, BRAINSTEM), 3.0)
    falx, sylvian = _fissures(mirrored)
    # Sulci are shallower where they start from a fissure: its distance counts for more.
    border = reduce(np.minimum, (depth + 0.6, np.abs(below_tentorium) / 2, 1.4 * falx, 1.2 * sylvian))
    folds, other = _folds(generator, points, finer=cerebellum)
    reach = np.clip(15 + 5 * variation, 3, 24)
    sulci = np.hypot(folds, np.maximum(np.maximum(border - reach, _depth(mirrored, DEEP)), 0))
    surface = np.minimum(border, sulci) + 12 * stem

    ventricle = ventricle_distance(mirrored, widening_mm=3.5 * age - 1.2)
    csf = np.maximum(ramp(0.8 * age + 0.35 * variation - surface, 1.6), ramp(-ventricle, 1.4))
    cortex = np.maximum(ramp(CORTEX_MM - surface, 2.0), 0.6 * cerebellum * (1 - stem))
    cortex = cortex * (ventricle > 2)
    nuclei = ramp(_depth(mirrored, NUCLEI), 2.5) * (1 - cortex)
    in_sulci = np.exp(-((sulci / 1.2) ** 2) - (other / 0.6) ** 2)  # two surfaces meet along lines: vessels
    plexus = 0.6 * ramp(_depth(mirrored, CHOROID_PLEXUS), 2.0) * ramp(-ventricle, 1.2) * ramp(other + 1, 2.0)
    return Tissues(csf, cortex * (1 - csf), nuclei * (1 - csf), ventricle, np.maximum(in_sulci, plexus))


def _expand(control: Floats, places: Floats) -> Floats:
    """Cubic B-spline at places along the first axis of its control points, the first of which lies at -1.

    No matrix product: its last bit depends on the number of threads.
    """
    control = np.ascontiguousarray(control, np.float32)
    expanded = np.empty((places.size, *control.shape[1:]), np.float32)
    for row, place in enumerate(places.tolist()):
        cell = int(place)
        t, u = place - cell, cell + 1 - place
        outer = u**3 / 6 * control[cell] + t**3 / 6 * control[cell + 3]
        inner = (2 / 3 - t**2 * (1 + u) / 2) * control[cell + 1] + (2 / 3 - u**2 * (1 + t) / 2) * control[cell + 2]
        expanded[row] = outer + inner
    return expanded


def _depth(points: Points, shapes: Shapes, *, blend_mm: float = 0.0) -> Floats:
    """Depth in a union of ellipsoids, its seams rounded over `blend_mm`."""
    depths = (
        float(np.prod(radii) ** (1 / 3)) * (1 - np.sqrt(squared_distance(points, centre, radii)))
        for centre, radii in shapes
    )
    union: Floats = next(depths)
    for depth in depths:
        seam = np.maximum(blend_mm - np.abs(union - depth), 0) ** 2 / (4 * blend_mm) if blend_mm else 0
        union = np.maximum(union, depth) + seam
    return union


def _folds(generator: np.random.Generator, points: Points, *, finer: Floats) -> tuple[Floats, Floats]:
    """Distance to the nearest sulcus were it endless, and a second such field with its sign.

    Sulci lie where a band-passed random field vanishes. The field changes little along the way to a
    hemisphere's axis, so that they run inwards from the surface.
    """
    size = [round(length / FOLD_LATTICE_MM) for length in (236, 196, 120)]
    sigma = FOLD_MM / FOLD_LATTICE_MM
    lattices = []
    for noise in generator.standard_normal((2, *size), dtype=np.float32):
        wide, narrow = (ndimage.gaussian_filter(noise, s, mode="wrap") for s in (1.7 * sigma, sigma))
        x, y, z = np.gradient(narrow - wide, FOLD_LATTICE_MM)
        slope = np.sqrt(x**2 + y**2 + z**2)
        lattices.append(np.clip((narrow - wide) / (slope + 0.12 * slope.mean()), -9, 9))
    x, y, z = points
    along = np.clip(y, -38, 42)
    across = (np.abs(x) - 24, y - along, z - 10)
    radius = np.sqrt(squared_distance(across, (0, 0, 0))) + 1
    scale = (FOLD_RADIUS_MM / radius) ** 0.65 * (1 + 1.3 * finer)
    place = (np.sign(x) * 58 + across[0] * scale, along + across[1] * scale, across[2] * scale)
    voxels = np.stack([p / FOLD_LATTICE_MM + length / 2 for p, length in zip(place, size, strict=True)])
    folds, other = (ndimage.map_coordinates(n, voxels, order=1, mode="grid-wrap") / scale for n in lattices)
    return np.abs(folds), other


def _fissures(mirrored: Points) -> tuple[Floats, Floats]:
    """Distances to the cleft between the hemispheres and to the lateral sulcus with the insula at its end."""
    x, y, z = mirrored
    callosum = 50 * (1 - np.sqrt(((y - 2) / 46) ** 2 + ((z + 30) / 60) ** 2))
    floor = z + 4 - y / 4
    lateral = _sheet(floor, (41 - x, -28 - y, y - 34))
    insula = _sheet(x - 41, (floor - 17, -11 - floor, -24 - y, y - 20))
    return np.hypot(x, np.maximum(callosum, 0)), np.minimum(lateral, insula)


def _sheet(across: Floats, beyond: Sequence[Floats]) -> Floats:
    """Distance to a part of a plane, from those across it and beyond each of its edges."""
    distance = across
    for excess in beyond:
        distance = np.hypot(distance, np.maximum(excess, 0))
    return distance
