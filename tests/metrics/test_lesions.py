import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from brats_lightning.metrics.lesions import Lesions, dilated, grown, lesions

Mask = npt.NDArray[np.bool_]
NEIGHBOURS_18 = ndimage.generate_binary_structure(3, 2)
sparse_masks = hypothesis.extra.numpy.arrays(
    bool,
    hypothesis.extra.numpy.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9),
    elements=st.booleans(),
    fill=st.just(False),
)


def voxels(*places: tuple[int, int, int], shape: tuple[int, int, int] = (30, 12, 12)) -> Mask:
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return mask


@hypothesis.given(sparse_masks, st.integers(0, 5))
@hypothesis.settings(deadline=None, max_examples=150)
def test_a_dilation_equals_scipys(mask: Mask, steps: int) -> None:
    expected = ndimage.binary_dilation(mask, NEIGHBOURS_18, iterations=steps) if steps else mask
    np.testing.assert_array_equal(dilated(mask, steps), expected)


@hypothesis.given(sparse_masks, st.integers(0, 3))
@hypothesis.settings(deadline=None, max_examples=100)
def test_lesions_are_the_components_of_the_dilated_volume(mask: Mask, steps: int) -> None:
    components, _ = ndimage.label(dilated(mask, steps), np.ones((3, 3, 3)))
    np.testing.assert_array_equal(lesions(mask, merge_steps=steps).numbers, components * mask)


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_lesions_merge_up_to_a_distance_of_twice_the_steps_and_one(steps: int) -> None:
    near, far = (voxels((2, 5, 5), (2 + distance, 5, 5)) for distance in (2 * steps + 1, 2 * steps + 2))
    assert len(lesions(near, merge_steps=steps).boxes) == 1
    assert len(lesions(far, merge_steps=steps).boxes) == 2


def test_corners_connect_without_merging() -> None:
    assert len(lesions(voxels((3, 3, 3), (4, 4, 4))).boxes) == 1
    assert len(lesions(voxels((3, 3, 3), (5, 3, 3))).boxes) == 2


def test_lesions_are_numbered_with_the_last_axis_fastest() -> None:
    found = lesions(voxels((1, 9, 9), (9, 1, 9), (9, 9, 1)))
    assert [found.numbers[place] for place in ((1, 9, 9), (9, 1, 9), (9, 9, 1))] == [1, 2, 3]


def test_a_dilation_may_begin_before_that_of_an_earlier_voxel() -> None:
    # The larger reach of a corner lesion is cut by the grid: both begin in plane 0, and its row decides.
    found = lesions(voxels((2, 0, 3), (0, 9, 3)), merge_steps=2)
    assert (found.numbers[2, 0, 3], found.numbers[0, 9, 3]) == (1, 2)


def test_voxels_and_boxes_belong_to_the_numbers() -> None:
    found = lesions(voxels((1, 2, 3), (1, 2, 4), (20, 6, 7)))
    assert found.voxels[1:] == [2, 1]
    assert found.boxes == {
        1: (slice(1, 2), slice(2, 3), slice(3, 5)),
        2: (slice(20, 21), slice(6, 7), slice(7, 8)),
    }


def test_small_lesions_go_and_numbers_stay() -> None:
    found = lesions(voxels((1, 2, 3), (9, 2, 3), (9, 2, 4), (20, 6, 7))).larger_than(1)
    assert list(found.boxes) == [2]
    assert np.count_nonzero(found.numbers) == 2


def test_touch_is_a_matter_of_steps() -> None:
    own, other = lesions(voxels((8, 5, 5), (20, 5, 5))), lesions(voxels((5, 5, 5)))
    assert own.touched_by(other, 1, steps=2) == []
    assert own.touched_by(other, 1, steps=3) == [1]
    assert own.touched_by(other, 1, steps=15) == [1, 2]


def chain(*, length: int) -> tuple[Lesions, Lesions]:
    """Voxels of two tissues in a row, taking turns."""
    one, other = ([(2 + 2 * step + offset, 5, 5) for step in range(length)] for offset in (0, 1))
    return lesions(voxels(*one)), lesions(voxels(*other[:-1]))


def test_lesions_that_touch_one_partner_become_one() -> None:
    tissue, partner = chain(length=2)
    assert (len(tissue.boxes), len(partner.boxes)) == (2, 1)
    assert list(tissue.joined([partner]).boxes) == [1]


def test_a_chain_is_not_joined_to_one() -> None:
    tissue, partner = chain(length=4)
    joined = tissue.joined([partner])
    assert [joined.numbers[2 + 2 * step, 5, 5] for step in range(4)] == [1, 1, 2, 3]


def test_what_touches_nothing_is_numbered_first() -> None:
    tissue = lesions(voxels((2, 5, 5), (4, 5, 5), (12, 5, 5)))
    joined = tissue.joined([lesions(voxels((3, 5, 5)))])
    assert [joined.numbers[x, 5, 5] for x in (2, 4, 12)] == [2, 2, 1]


def test_a_single_contact_leaves_the_order() -> None:
    tissue = lesions(voxels((2, 5, 5), (12, 5, 5)))
    np.testing.assert_array_equal(tissue.joined([lesions(voxels((3, 5, 5)))]).numbers, tissue.numbers)


def test_joining_closes_gaps_in_the_numbers() -> None:
    tissue = lesions(voxels((2, 5, 5), (8, 5, 5), (8, 5, 6))).larger_than(1)
    assert list(tissue.boxes) == [2]
    assert list(tissue.joined([lesions(voxels())]).boxes) == [1]


def test_nothing_has_no_lesions() -> None:
    found = lesions(np.zeros((4, 4, 4), bool), merge_steps=3)
    assert not found.boxes
    assert not found.joined([found]).larger_than(3).boxes


def test_a_box_grows_as_far_as_the_grid() -> None:
    assert grown((slice(1, 3), slice(5, 6)), 2, (10, 7)) == (slice(0, 5), slice(3, 7))
    assert grown((slice(0, 0), slice(0, 0)), 2, (10, 7)) == (slice(0, 0), slice(0, 0))
