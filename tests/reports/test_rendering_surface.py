from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.reports.rendering.isosurface import isosurface
from brats_lightning.reports.rendering.surface import Surface, enclosed_mm3, surface

Affine = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def turned(*spacing_mm: float, flip: bool = False) -> Affine:
    """Voxels of that size on axes that stand askew."""
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = q * np.sign(np.linalg.det(q)) * (-1 if flip else 1) * np.array(spacing_mm)
    affine[:3, 3] = 20, -30, 40
    return affine


GRIDS = {
    "RAS": np.eye(4),
    "LPS": np.diag([-1.0, -1.0, 1.0, 1.0]),
    "LAS": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "thick slices": np.diag([0.8, 0.8, 3.0, 1.0]),
    "sheared": np.array([[1, 0.3, 0, 5], [0, 1, 0.2, 6], [0, 0, 1.2, 7], [0, 0, 0, 1]]),
    "oblique": turned(1, 1.5, 2),
    "oblique, mirrored": turned(1, 1.5, 2, flip=True),
}


def ellipsoid_in_mm(affine: Affine, radius_mm: float = 15.0) -> tuple[Mask, npt.NDArray[np.float64]]:
    """A ball in mm on a grid that holds it, and its middle."""
    shape = np.ceil(2.4 * radius_mm / np.linalg.norm(affine[:3, :3], axis=0)).astype(int)
    middle = affine[:3, :3] @ (shape / 2) + affine[:3, 3]
    points = np.einsum("ij,jxyz->xyzi", affine[:3, :3], np.indices(shape)) + affine[:3, 3]
    return np.linalg.norm(points - middle, axis=-1) <= radius_mm, middle


def voxels_mm3(mask: Mask, affine: Affine) -> float:
    return float(mask.sum()) * abs(float(np.linalg.det(affine[:3, :3])))


def require_closed(triangles: npt.NDArray[np.integer]) -> None:
    """Every edge is run along once in each direction, or several times the same number of times."""
    edges = Counter((int(row[k]), int(row[(k + 1) % 3])) for row in triangles for k in range(3))
    assert all(edges[other, one] == count for (one, other), count in edges.items())


@pytest.mark.parametrize("affine", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("step_mm", [None, 2.0])
def test_a_ball_keeps_its_place_size_and_roundness_on_every_grid(affine: Affine, step_mm: float | None) -> None:
    mask, middle = ellipsoid_in_mm(affine)
    ball = surface(mask, affine, step_mm=step_mm)
    assert ball.volume_mm3 == pytest.approx(voxels_mm3(mask, affine), rel=0.015)  # positive: not inside out
    np.testing.assert_allclose(ball.vertices.mean(0), middle, atol=0.6)
    from_middle = ball.vertices - middle
    radii = np.linalg.norm(from_middle, axis=1)
    assert np.percentile(np.abs(radii - 15), 95) < 0.5 * np.linalg.norm(affine[:3, :3], axis=0).max()
    outwards = (ball.normals * from_middle).sum(1) / radii
    assert np.percentile(outwards, 2) > 0.85
    np.testing.assert_allclose(np.linalg.norm(ball.normals, axis=1), 1, atol=1e-5)
    require_closed(ball.triangles)


@pytest.mark.parametrize("affine", GRIDS.values(), ids=GRIDS)
def test_a_box_that_fills_its_volume_is_closed_and_as_large(affine: Affine) -> None:
    mask = np.ones((12, 9, 6), np.bool_)
    box = surface(mask, affine, smoothing_mm=0)
    assert box.volume_mm3 == pytest.approx(voxels_mm3(mask, affine), rel=0.015)
    require_closed(box.triangles)
    to_voxels = np.linalg.inv(affine)
    places = box.vertices @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    np.testing.assert_allclose(places.min(0), -0.5, atol=0.3)
    np.testing.assert_allclose(places.max(0), np.array(mask.shape) - 0.5, atol=0.3)


def test_what_is_thin_or_small_does_not_shrink_when_it_is_smoothed() -> None:
    x, y, z = np.ogrid[-14:15, -14:15, -14:15]
    distance = np.sqrt(x**2 + y**2 + z**2)
    rim = (distance < 11) & (distance > 9.6)
    voxel = distance < 0.5
    for mask in (rim, voxel):
        for smoothing_mm in (0, 0.8, 1.0):
            found = surface(mask, np.eye(4), smoothing_mm=smoothing_mm)
            assert found.volume_mm3 == pytest.approx(float(mask.sum()), rel=0.03)
            require_closed(found.triangles)
    shell = surface(rim, np.eye(4))
    facing = (shell.normals * (shell.vertices - 14)).sum(1)
    assert facing.max() > 9  # the outer skin
    assert facing.min() < -8  # and the inner one, which faces the middle


def test_every_contact_of_voxels_gives_a_closed_surface() -> None:
    noise = np.zeros((13, 12, 11), np.float32)
    noise[1:-1, 1:-1, 1:-1] = np.random.default_rng(0).random((11, 10, 9)) < 0.5
    vertices, triangles = isosurface(noise, 0.5)
    require_closed(triangles)
    assert len(np.unique(vertices, axis=0)) == len(vertices)
    assert 0 < enclosed_mm3(vertices, triangles) < noise.sum() * 1.2


def test_the_surface_lies_where_the_field_passes_the_level() -> None:
    x, y, z = np.indices((17, 16, 15)).astype(np.float32) - 7.3
    field = 9 - np.sqrt(x**2 + y**2 + z**2)
    field[[0, -1]] = field[:, [0, -1]] = field[:, :, [0, -1]] = 0
    vertices, _ = isosurface(field, 4.0)
    np.testing.assert_allclose(np.linalg.norm(vertices - 7.3, axis=1), 5, atol=0.1)


def test_a_limit_of_triangles_makes_the_cubes_larger_and_keeps_the_volume() -> None:
    mask, _ = ellipsoid_in_mm(np.eye(4))
    full, few = surface(mask, np.eye(4)), surface(mask, np.eye(4), triangles=600)
    assert len(few.triangles) <= 600 < len(full.triangles)
    assert few.volume_mm3 == pytest.approx(full.volume_mm3, rel=0.03)


def test_an_empty_mask_has_an_empty_surface() -> None:
    empty: Surface = surface(np.zeros((4, 5, 6), np.bool_), np.eye(4))
    assert empty.vertices.shape == empty.triangles.shape == empty.normals.shape == (0, 3)
    assert empty.volume_mm3 == 0
