import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import torch

from brats_lightning.metrics.bounding_box import joint_bounding_box, on_host


@hypothesis.given(
    hypothesis.extra.numpy.arrays(np.int16, (4, 5, 3), elements=st.integers(-1, 1), fill=st.just(0)),
    st.permutations(range(3)),
)
@hypothesis.settings(deadline=None, max_examples=50)
def test_box_holds_all_foreground_and_touches_it_on_every_side(array: npt.NDArray[np.int16], order: list[int]) -> None:
    array = array.transpose(order)
    box = joint_bounding_box(array)
    foreground = np.argwhere(array)
    if not len(foreground):
        assert array[box].size == 0
        return
    assert [span.start for span in box] == foreground.min(axis=0).tolist()
    assert [span.stop for span in box] == (foreground.max(axis=0) + 1).tolist()


def test_joint_box_is_the_hull_of_both() -> None:
    first, second = np.zeros((2, 6, 7, 8), bool)
    first[1, 2, 3] = second[4, 2, 6] = True
    assert joint_bounding_box(first, second) == (slice(1, 5), slice(2, 3), slice(3, 7))
    assert joint_bounding_box(first, np.asfortranarray(second)) == joint_bounding_box(second, first)


def test_an_empty_array_adds_nothing() -> None:
    mask = np.zeros((3, 3), np.uint8)
    mask[1, 2] = 4
    assert joint_bounding_box(mask, np.zeros_like(mask)) == (slice(1, 2), slice(2, 3))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_background_alone_gives_empty_slices(axes: int) -> None:
    nothing = np.zeros((4,) * axes, np.uint8)
    assert nothing[joint_bounding_box(nothing, nothing)].size == 0


@hypothesis.given(
    hypothesis.extra.numpy.arrays(np.int16, (4, 5, 3), elements=st.integers(-1, 1), fill=st.just(0)),
    st.permutations(range(3)),
)
@hypothesis.settings(deadline=None, max_examples=30)
def test_tensors_have_the_box_of_arrays(array: npt.NDArray[np.int16], order: list[int]) -> None:
    tensor = torch.from_numpy(array).permute(order)
    mask = array.transpose(order) > 0
    expected = joint_bounding_box(array.transpose(order), mask)
    assert joint_bounding_box(tensor, tensor > 0) == expected
    assert joint_bounding_box(torch.from_numpy(array.ravel())) == joint_bounding_box(array.ravel())


def test_a_tensor_of_the_cpu_is_an_array_of_the_same_memory() -> None:
    tensor = torch.zeros(2, 3)
    array = on_host(tensor)
    assert isinstance(array, np.ndarray)
    array[1, 1] = 5
    assert tensor[1, 1] == 5
    assert on_host(array) is array
