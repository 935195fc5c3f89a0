import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from brats_lightning.data.alignment import coverage, on_one_grid, reference_modality, resample_by_header
from brats_lightning.nifti import Grid, Volume

Array = npt.NDArray[np.float64]


def affine(
    spacing: tuple[float, float, float], corner: tuple[float, float, float] = (0, 0, 0), turn: tuple[float, ...] = ()
) -> Array:
    matrix = np.eye(4)
    rotation = Rotation.from_rotvec(turn).as_matrix() if turn else np.eye(3)
    matrix[:3, :3] = rotation * spacing
    matrix[:3, 3] = corner
    return matrix


def places_mm(grid: Grid) -> Array:
    """(3, X, Y, Z)."""
    places: Array = np.einsum("ij,j...->i...", grid.affine[:3, :3], np.indices(grid.shape))
    return places + grid.affine[:3, 3, None, None, None]


HEAD = Grid((40, 36, 14), affine((1.1, 1.1, 4), (-20, -18, -27)))


@pytest.mark.parametrize(
    "other",
    [
        Grid((48, 44, 20), affine((0.9, 0.9, 3), (-21, -19, -28))),
        Grid((30, 30, 70), affine((2, 2, 1), (-30, -28, -35), (0.1, -0.2, 0.15))),
        Grid((70, 70, 40), affine((-1, -1, 2), (33, 34, -36), (0.1, 0.1, 0))),
    ],
    ids=["finer", "oblique", "flipped and oblique"],
)
def test_a_value_stays_at_its_place_in_the_world(other: Grid) -> None:
    """Linear interpolation is exact on a function that is linear in the world's coordinates."""
    gradient = np.array([2.0, -3.0, 5.0])

    def function(grid: Grid) -> Array:
        return np.asarray(np.einsum("i,i...->...", gradient, places_mm(grid)) + 1000, np.float64)

    aligned = resample_by_header(Volume(function(other), other), HEAD, background=-7.0)
    assert aligned.grid is HEAD
    assert aligned.array.dtype == np.float32
    in_other = np.einsum("ij,j...->i...", np.linalg.inv(other.affine)[:3, :3], places_mm(HEAD))
    in_other += np.linalg.inv(other.affine)[:3, 3, None, None, None]
    size = np.reshape(other.shape, (3, 1, 1, 1))
    deep = ((in_other >= 0) & (in_other <= size - 1)).all(axis=0)
    beyond = ((in_other < -0.5) | (in_other > size - 0.5)).any(axis=0)
    assert deep.mean() > 0.5
    assert np.allclose(aligned.array[deep], function(HEAD)[deep], atol=1e-2)
    assert (aligned.array[beyond] == -7).all()
    assert (aligned.array[~beyond] > 0).all()
    assert coverage(other, HEAD) == pytest.approx(1 - beyond.mean(), abs=1e-3)


def test_the_outermost_slices_reach_to_their_outer_edges() -> None:
    thick = Grid((4, 4, 3), affine((1, 1, 6)))
    thin = Grid((4, 4, 20), affine((1, 1, 1), (0, 0, -3.5)))  # from -3.5 to 15.5 mm; the slices reach from -3 to 15
    column = resample_by_header(Volume(np.full((4, 4, 3), 9.0), thick), thin, background=0.0).array[1, 2]
    assert column.tolist() == [0.0] + [9.0] * 18 + [0.0]


def test_coverage_is_the_share_of_the_place_that_is_seen() -> None:
    reference = Grid((10, 10, 10), np.eye(4))
    assert coverage(reference, reference) == 1
    assert coverage(Grid((4, 10, 10), np.eye(4)), reference) == pytest.approx(0.4)
    assert coverage(Grid((20, 20, 20), affine((1, 1, 1), (5, 5, 0))), reference) == pytest.approx(0.25)
    assert coverage(Grid((10, 10, 10), affine((1, 1, 1), (100, 0, 0))), reference) == 0


def test_axis_order_makes_no_other_grid() -> None:
    flipped = Grid((6, 5, 7), np.array([[0, -1.0, 0, 4], [-1, 0, 0, 5], [0, 0, 1, 0], [0, 0, 0, 1]]))
    assert on_one_grid(Grid((5, 6, 7), np.eye(4)), flipped)
    assert not on_one_grid(Grid((5, 6, 7), affine((1, 1, 1.02))), flipped)


def test_the_contrast_enhanced_image_is_the_reference_of_aligned_ones() -> None:
    assert reference_modality(("t1n", "t1c", "t2f"), align=True) == "t1c"
    assert reference_modality(("t2f", "t1n"), align=True) == "t2f"
    assert reference_modality(("t1n", "t1c", "t2f"), align=False) == "t1n"
