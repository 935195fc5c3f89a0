import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.radiomics.neighbours import DIRECTIONS, lines

Mask = npt.NDArray[np.bool_]


def test_thirteen_directions_and_their_opposites_are_all_neighbours() -> None:
    both = {*DIRECTIONS, *((-x, -y, -z) for x, y, z in DIRECTIONS)}
    assert len(DIRECTIONS) == 13
    assert len(both) == 26


def test_linked_voxels_are_all_pairs_of_neighbours(scattered: Mask) -> None:
    voxels = np.argwhere(scattered)
    inside = {tuple(voxel) for voxel in voxels.tolist()}
    for direction, found in zip(DIRECTIONS, lines(voxels), strict=True):
        assert sorted(found.order.tolist()) == list(range(len(voxels)))
        here, there = voxels[found.order[:-1]][found.linked], voxels[found.order[1:]][found.linked]
        assert (there - here == direction).all()
        expected = sum(tuple(np.add(voxel, direction).tolist()) in inside for voxel in inside)
        assert np.count_nonzero(found.linked) == expected


@pytest.mark.parametrize(("shape", "count"), [((1, 1, 1), 0), ((1, 5, 1), 1), ((4, 1, 3), 4), ((2, 2, 2), 13)])
def test_directions_across_a_flat_region_are_left_out(shape: tuple[int, int, int], count: int) -> None:
    assert len(lines(np.argwhere(np.ones(shape)))) == count


def test_no_voxels_have_no_lines() -> None:
    assert lines(np.zeros((0, 3), np.int64)) == ()
