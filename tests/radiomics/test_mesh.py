import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial import ConvexHull

from brats_lightning.metrics.diameters import outline
from brats_lightning.radiomics.mesh import mesh_size

Mask = npt.NDArray[np.bool_]


def box(*shape: int) -> Mask:
    return np.ones(shape, np.bool_)


def test_a_single_voxel_is_an_octahedron() -> None:
    area, volume = mesh_size(box(1, 1, 1), spacing_mm=(1, 1, 1))
    assert area == pytest.approx(math.sqrt(3))
    assert volume == pytest.approx(1 / 6)


@pytest.mark.parametrize("shape", [(1, 1, 5), (3, 1, 4), (2, 2, 2), (5, 4, 3)])
@pytest.mark.parametrize("spacing_mm", [(1, 1, 1), (0.5, 2, 3)])
def test_the_mesh_of_a_box_is_the_hull_of_its_outline(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    hull = ConvexHull(outline(box(*shape)) * np.array(spacing_mm) / 2)
    assert mesh_size(box(*shape), spacing_mm=spacing_mm) == pytest.approx((hull.area, hull.volume))


def test_a_ball_comes_near_a_ball() -> None:
    x, y, z = np.ogrid[-22:23, -22:23, -22:23]
    area, volume = mesh_size(x**2 + y**2 + z**2 <= 20.5**2, spacing_mm=(0.5, 0.5, 0.5))
    radius = 20.5 / 2
    assert volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    # Steps of voxels make a surface some percent larger, whatever their size.
    assert 1 < area / (4 * math.pi * radius**2) < 1.1


def test_area_and_volume_scale_with_the_voxel(blob: Mask) -> None:
    area, volume = mesh_size(blob, spacing_mm=(1, 1.5, 2))
    assert mesh_size(blob, spacing_mm=(3, 4.5, 6)) == pytest.approx((9 * area, 27 * volume))


def test_a_region_may_lie_anywhere_and_touch_the_border(blob: Mask) -> None:
    x, y, z = (slice(at.min(), at.max() + 1) for at in np.nonzero(blob))
    expected = mesh_size(blob, spacing_mm=(1, 1, 1))
    assert mesh_size(blob[x, y, z], spacing_mm=(1, 1, 1)) == pytest.approx(expected)
    assert mesh_size(np.pad(blob, ((3, 0), (0, 5), (2, 2))), spacing_mm=(1, 1, 1)) == pytest.approx(expected)


@pytest.mark.parametrize("turn", [lambda a: a[::-1], lambda a: a[:, ::-1, ::-1], lambda a: a.transpose(2, 0, 1)])
def test_a_smooth_region_may_be_turned_and_a_ragged_one_nearly(blob: Mask, turn: Callable[[Mask], Mask]) -> None:
    x, y, z = np.ogrid[:15, :13, :9]
    smooth = ((x - 7) / 7) ** 2 + ((y - 6) / 6) ** 2 + ((z - 4) / 4) ** 2 <= 1
    for mask, tolerance in ((smooth, 1e-9), (blob, 0.01)):
        expected = mesh_size(mask, spacing_mm=(1, 1, 1))
        assert mesh_size(turn(mask), spacing_mm=(1, 1, 1)) == pytest.approx(expected, rel=tolerance)


def test_regions_apart_add_up() -> None:
    apart = np.zeros((12, 8, 9), np.bool_)
    apart[:3, :4, :2] = apart[11, 7, 8] = True
    sizes = [mesh_size(box(*shape), spacing_mm=(1, 1, 2)) for shape in ((3, 4, 2), (1, 1, 1))]
    assert mesh_size(apart, spacing_mm=(1, 1, 2)) == pytest.approx(np.sum(sizes, axis=0).tolist())
