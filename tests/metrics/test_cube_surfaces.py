import numpy as np
import pytest

from brats_lightning.metrics.cube_surfaces import CORNERS, cube_triangles

WHOLE = 2 ** len(CORNERS) - 1


def size(code: int) -> float:
    one, two, three = cube_triangles()[code].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(two - one, three - one), axis=1).sum()) / 2


def test_only_cubes_of_one_kind_are_empty() -> None:
    assert [code for code, triangles in enumerate(cube_triangles()) if not len(triangles)] == [0, WHOLE]


@pytest.mark.parametrize("code", range(1, WHOLE))
def test_every_triangle_joins_edges_that_leave_the_region(code: int) -> None:
    inside = {corner for bit, corner in enumerate(CORNERS) if code >> bit & 1}
    for point in cube_triangles()[code].reshape(-1, 3):
        ends = [tuple(np.where(point == 0.5, end, point).astype(int).tolist()) for end in (0, 1)]
        assert np.count_nonzero(point == 0.5) == 1
        assert len(inside & set(ends)) == 1


@pytest.mark.parametrize("code", range(1, WHOLE))
def test_a_region_and_what_is_beside_it_have_the_same_surface_turned_round(code: int) -> None:
    assert size(code) == pytest.approx(size(WHOLE - code))
    normals = [
        np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]).sum(0)
        for triangles in (cube_triangles()[code], cube_triangles()[WHOLE - code])
    ]
    np.testing.assert_allclose(normals[0], -normals[1], atol=1e-12)


def test_sizes_worked_out_by_hand() -> None:
    assert size(0b0000_0001) == pytest.approx(np.sqrt(3) / 8)  # a corner: an equilateral triangle of edge √½
    assert size(0b0000_0011) == pytest.approx(np.sqrt(0.5))  # an edge: a rectangle
    assert size(0b0000_1111) == pytest.approx(1)  # a face: half-way through


@pytest.mark.parametrize("bit", range(8))
def test_the_normal_of_a_corner_points_away_from_it(bit: int) -> None:
    (triangle,) = cube_triangles()[1 << bit]
    normal = np.cross(triangle[1] - triangle[0], triangle[2] - triangle[0])
    assert normal @ (np.array([0.5, 0.5, 0.5]) - CORNERS[bit]) > 0


@pytest.mark.parametrize("code", range(1, WHOLE))
def test_closed_triangles_leave_a_cube_only_through_its_faces(code: int) -> None:
    """Inside the cube every edge is run along once in each direction; what remains lies on the cube's faces."""
    left: dict[tuple[tuple[float, ...], tuple[float, ...]], int] = {}
    for triangle in cube_triangles(closed=True)[code].tolist():
        for one, other in zip(triangle, [*triangle[1:], triangle[0]], strict=True):
            left[tuple(one), tuple(other)] = left.get((tuple(one), tuple(other)), 0) + 1
    for (one, other), count in left.items():
        if left.get((other, one), 0) != count:
            assert any(a == b and a in (0, 1) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("code", range(1, WHOLE))
def test_closed_triangles_cut_off_every_corner_of_a_face_by_itself_where_diagonals_disagree(code: int) -> None:
    inside = {corner for bit, corner in enumerate(CORNERS) if code >> bit & 1}
    edges = {
        frozenset((tuple(one), tuple(other)))
        for triangle in cube_triangles(closed=True)[code].tolist()
        for one, other in zip(triangle, [*triangle[1:], triangle[0]], strict=True)
    }
    for corner in inside:
        for one, other in ((0, 1), (0, 2), (1, 2)):
            beside = [tuple(1 - v if axis == at else v for axis, v in enumerate(corner)) for at in (one, other)]
            across = tuple(1 - v if axis in (one, other) else v for axis, v in enumerate(corner))
            if across in inside and not inside & set(beside):
                middles = [tuple((a + b) / 2 for a, b in zip(corner, point, strict=True)) for point in beside]
                assert frozenset(middles) in edges
