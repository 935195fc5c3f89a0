"""Diameters against every pair of points, and by pencil and paper."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial import distance

from brats_lightning.metrics.diameters import axial_diameters, longest_diameter, longest_in_slices, outline

Mask = npt.NDArray[np.bool_]
SPACING_MM = (0.8, 1.1, 3.0)


@pytest.fixture
def blob() -> Mask:
    """(24, 22, 20) three balls that overlap."""
    x, y, z = np.ogrid[:24, :22, :20]
    balls = [((9, 9, 9), 6), ((14, 12, 8), 5), ((8, 13, 13), 4)]
    inside = [(x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 <= radius**2 for (a, b, c), radius in balls]
    blob: Mask = np.any(inside, axis=0)
    return blob


@pytest.fixture
def scattered() -> Mask:
    """(9, 8, 7) random voxels: every kind of contact."""
    return np.random.default_rng(0).random((9, 8, 7)) < 0.4


def every_outline_point(mask: Mask) -> set[tuple[int, ...]]:
    """Half-way points between a voxel and each neighbour that is not in the region, one by one."""
    inside = {tuple(at) for at in np.argwhere(mask).tolist()}
    points = set()
    for voxel in inside:
        for axis in range(mask.ndim):
            for step in (-1, 1):
                beside = tuple(at + step * (axis == own) for own, at in enumerate(voxel))
                if beside not in inside:
                    points.add(tuple(2 * at + step * (axis == own) for own, at in enumerate(voxel)))
    return points


def test_the_outline_lies_between_voxels_and_their_neighbours(scattered: Mask) -> None:
    found = [tuple(point) for point in outline(scattered).tolist()]
    assert set(found) == every_outline_point(scattered)
    assert len(found) == len(set(found))


@pytest.mark.parametrize("name", ["blob", "scattered"])
def test_longest_diameters_are_those_of_all_pairs(name: str, request: pytest.FixtureRequest) -> None:
    mask = request.getfixturevalue(name)
    points = np.array(sorted(every_outline_point(mask)))
    apart = distance.squareform(distance.pdist(points * np.array(SPACING_MM) / 2))
    found = outline(mask)
    assert longest_diameter(found, spacing_mm=SPACING_MM) == pytest.approx(apart.max())
    in_plane = [np.max(apart[points[:, axis, None] == points[:, axis]]) for axis in range(3)]
    assert longest_in_slices(found, spacing_mm=SPACING_MM) == pytest.approx(in_plane)


def test_a_single_voxel_is_as_long_as_a_voxel() -> None:
    points = outline(np.ones((1, 1, 1), np.bool_))
    assert longest_diameter(points, spacing_mm=(1, 2, 3)) == 3
    assert longest_in_slices(points, spacing_mm=(1, 2, 3)) == (3, 3, 2)


def in_slice(mask: Mask, at: int = 2, slices: int = 5) -> Mask:
    volume = np.zeros((*mask.shape, slices), np.bool_)
    volume[:, :, at] = mask
    return volume


def test_a_cross_has_two_diameters_at_a_right_angle() -> None:
    cross = np.zeros((21, 15), np.bool_)
    cross[:, 7] = cross[9, :] = True
    assert axial_diameters(in_slice(cross), spacing_mm=(2, 3, 5)) == pytest.approx((45, 42, 2))


def test_the_diameter_across_stands_on_the_longest_one() -> None:
    triangle = np.tril(np.ones((9, 9), np.bool_))
    longest, across, _ = axial_diameters(in_slice(triangle), spacing_mm=(1, 1, 1))
    points = np.array(sorted(every_outline_point(triangle))) / 2
    pairs = [(a, b) for a in points for b in points]
    assert longest == pytest.approx(max(math.dist(a, b) for a, b in pairs))
    # Across the longest side of this right-angled triangle, half of it: less what the steps of the outline take off.
    assert 0.45 * longest < across <= 0.5 * longest + 0.5


def test_a_ring_counts_as_filled() -> None:
    x, y = np.ogrid[-10:11, -10:11]
    disc = x**2 + y**2 <= 100
    ring = disc & (x**2 + y**2 >= 64)
    assert axial_diameters(in_slice(ring), spacing_mm=(1, 1, 1)) == axial_diameters(
        in_slice(disc), spacing_mm=(1, 1, 1)
    )


def test_lesions_apart_are_not_joined_but_those_that_touch_by_a_corner_are() -> None:
    apart = np.zeros((20, 20), np.bool_)
    apart[0:4, 0:2] = apart[16:18, 16:18] = True
    longest, across, _ = axial_diameters(in_slice(apart), spacing_mm=(1, 1, 1))
    alone, alone_across, _ = axial_diameters(in_slice(apart[:4, :2]), spacing_mm=(1, 1, 1))
    assert (longest, across) == (alone, alone_across)
    diagonal = np.eye(6, dtype=np.bool_)
    assert axial_diameters(in_slice(diagonal), spacing_mm=(1, 1, 1))[0] == pytest.approx(math.hypot(5, 6))


def test_the_slice_is_the_one_with_the_longest_diameter_then_the_widest() -> None:
    volume = np.zeros((12, 12, 6), np.bool_)
    volume[0:9, 4, 1] = volume[0:9, 4, 3] = volume[0:8, 2:8, 5] = True
    volume[4, 3:6, 3] = True
    longest, across, at = axial_diameters(volume, spacing_mm=(1, 0.1, 1))
    assert (longest, at) == (9, 3)
    assert across == pytest.approx(0.3)


@pytest.mark.parametrize(
    "turn", [lambda a: a[::-1], lambda a: a[:, ::-1], lambda a: a.transpose(1, 0, 2), lambda a: np.pad(a, 2)]
)
def test_diameters_stay_where_the_region_is_turned_or_moved(blob: Mask, turn: Callable[[Mask], Mask]) -> None:
    def all_of(mask: Mask) -> list[float]:
        points = outline(mask)
        sizes = (1.0, 1.0, 2.5)
        found = [longest_diameter(points, spacing_mm=sizes), *sorted(longest_in_slices(points, spacing_mm=sizes))]
        return [*found, *axial_diameters(mask, spacing_mm=sizes)[:2]]

    assert all_of(turn(blob)) == pytest.approx(all_of(blob))
