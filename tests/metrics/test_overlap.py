import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.metrics import compute_dice, compute_iou
from torchmetrics.functional.segmentation import dice_score

from brats_lightning.labels import REGIONS
from brats_lightning.metrics.overlap import Overlap, joint_histogram

LabelMap = npt.NDArray[np.uint8]


def label_maps() -> st.SearchStrategy[LabelMap]:
    return hypothesis.extra.numpy.arrays(np.uint8, (4, 3, 5), elements=st.integers(0, 5), fill=st.just(0))


def small_example() -> tuple[LabelMap, LabelMap]:
    """Maps with 3 predicted and 4 expected voxels of label 1, 2 of them shared; label 3 once, missed."""
    prediction = np.array([[[1, 1, 1], [0, 0, 0], [0, 0, 0]]], np.uint8)
    reference = np.array([[[1, 1, 0], [1, 1, 0], [0, 0, 3]]], np.uint8)
    return prediction, reference


def test_scores_of_the_small_example_are_those_counted_by_hand() -> None:
    histogram = joint_histogram(*small_example())
    assert histogram.overlap([1]) == Overlap(prediction=3, reference=4, both=2)
    assert histogram.overlap([1]).dice == pytest.approx(4 / 7)
    assert histogram.overlap([1]).iou == pytest.approx(2 / 5)
    assert histogram.overlap([1, 3]) == Overlap(prediction=3, reference=5, both=2)
    assert histogram.overlap([3]).dice == 0
    assert histogram.accuracy == pytest.approx(5 / 9)  # two of label 1, three of the background


def test_labels_that_occur_nowhere_overlap_nowhere() -> None:
    overlap = joint_histogram(*small_example()).overlap([2, 200])
    assert overlap == Overlap(prediction=0, reference=0, both=0)
    assert np.isnan([overlap.dice, overlap.iou]).all()


def test_a_region_confuses_its_own_labels_without_loss() -> None:
    prediction, reference = np.array([1, 3, 3, 0]), np.array([3, 1, 3, 0])
    assert joint_histogram(prediction, reference).overlap([1, 3]).dice == 1


@hypothesis.given(label_maps(), label_maps())
@hypothesis.settings(deadline=None, max_examples=60)
def test_counts_are_those_of_masks(prediction: LabelMap, reference: LabelMap) -> None:
    histogram = joint_histogram(prediction, reference)
    assert histogram.counts.sum() == prediction.size
    assert histogram.accuracy == pytest.approx(np.mean(prediction == reference))
    for values in REGIONS.values():
        predicted, expected = np.isin(prediction, values), np.isin(reference, values)
        overlap = histogram.overlap(values)
        assert overlap.prediction == np.count_nonzero(predicted)
        assert overlap.reference == np.count_nonzero(expected)
        assert overlap.both == np.count_nonzero(predicted & expected)


@hypothesis.given(label_maps(), label_maps())
@hypothesis.settings(deadline=None, max_examples=30)
def test_overlap_is_symmetric_and_dice_and_iou_determine_each_other(prediction: LabelMap, reference: LabelMap) -> None:
    forth, back = joint_histogram(prediction, reference), joint_histogram(reference, prediction)
    flipped = joint_histogram(prediction[::-1, :, ::-1], np.asfortranarray(reference[::-1, :, ::-1]))
    for values in REGIONS.values():
        overlap = forth.overlap(values)
        if overlap.prediction + overlap.reference:
            assert overlap.dice == pytest.approx(2 * overlap.iou / (1 + overlap.iou))
            assert overlap.dice == back.overlap(values).dice == flipped.overlap(values).dice


@pytest.mark.parametrize("values", [(1,), (1, 2)])
@pytest.mark.parametrize("absent_from_reference", [False, True])
def test_dice_and_iou_are_monais_and_torchmetrics(values: tuple[int, ...], *, absent_from_reference: bool) -> None:
    prediction, reference = np.random.default_rng(1).integers(0, 3, (2, 9, 8, 7))
    if absent_from_reference:
        reference[:] = 0
    overlap = joint_histogram(prediction, reference).overlap(values)
    masks = [torch.from_numpy(np.isin(labels, values))[None, None] for labels in (prediction, reference)]
    floats = [mask.float() for mask in masks]
    dice, iou = (
        score(*floats, include_background=True, ignore_empty=False).item() for score in (compute_dice, compute_iou)
    )
    theirs = dice_score(masks[0].long(), masks[1].long(), num_classes=1, average="macro", input_format="one-hot").item()
    assert overlap.dice == pytest.approx(dice) == pytest.approx(theirs)
    assert overlap.iou == pytest.approx(iou)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64, np.uint64])
@pytest.mark.parametrize("other", [np.uint8, np.int32, np.uint64])
def test_the_integer_type_does_not_matter(kind: type[np.integer], other: type[np.integer]) -> None:
    prediction, reference = (np.tile(labels, 2) for labels in small_example())
    mixed = joint_histogram(prediction.astype(kind), reference.astype(other))
    np.testing.assert_array_equal(mixed.counts, joint_histogram(prediction, reference).counts)


def test_background_alone_is_all_right() -> None:
    nothing = np.zeros((3, 4, 5), np.uint8)
    histogram = joint_histogram(nothing, nothing)
    assert histogram.accuracy == 1
    assert histogram.overlap([1]) == Overlap(prediction=0, reference=0, both=0)


@pytest.mark.parametrize(
    ("prediction", "reference", "words"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"one shape.*\(2, 3\).*\(3, 2\)"),
        (np.zeros((2, 0), int), np.zeros((2, 0), int), "with voxels"),
        (np.zeros(2), np.zeros(2, int), "integer labels in the prediction, found float64"),
        (np.zeros(2, int), np.zeros(2, bool), "integer labels in the reference, found bool"),
        (np.array([0, -1]), np.zeros(2, int), "0 to 255 in the prediction, found -1 to -1"),
        (np.zeros(2, int), np.array([0, 256]), "0 to 255 in the reference, found 256 to 256"),
    ],
)
def test_what_is_no_label_map_is_refused_in_words(
    prediction: npt.NDArray[np.int64], reference: npt.NDArray[np.int64], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        joint_histogram(prediction, reference)
