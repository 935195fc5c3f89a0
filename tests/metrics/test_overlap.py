import json
import math
from pathlib import Path

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
from brats_lightning.nifti import read_labels

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
    assert histogram.overlap([1]) == Overlap(prediction=3, reference=4, both=2, image=9)
    assert histogram.overlap([1]).dice == pytest.approx(4 / 7)
    assert histogram.overlap([1]).iou == pytest.approx(2 / 5)
    assert histogram.overlap([1, 3]) == Overlap(prediction=3, reference=5, both=2, image=9)
    assert histogram.overlap([3]).dice == 0
    assert histogram.accuracy == pytest.approx(5 / 9)  # two of label 1, three of the background


def test_labels_that_occur_nowhere_overlap_nowhere() -> None:
    overlap = joint_histogram(*small_example()).overlap([2, 200])
    assert overlap == Overlap(prediction=0, reference=0, both=0, image=9)
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


def test_every_score_of_the_small_example_is_that_counted_by_hand() -> None:
    """Label 1: 2 voxels rightly found, 1 falsely, 2 missed, 4 rightly left out."""
    overlap = joint_histogram(*small_example()).overlap([1])
    assert overlap.sensitivity == 2 / 4
    assert overlap.precision == 2 / 3
    assert overlap.specificity == 4 / 5
    assert overlap.accuracy == 6 / 9
    assert overlap.relative_volume_difference == -1 / 4
    spacing_mm = (1, 2, 5)
    assert overlap.predicted_volume_ml(spacing_mm) == pytest.approx(0.03)
    assert overlap.reference_volume_ml(spacing_mm) == pytest.approx(0.04)
    assert overlap.absolute_volume_difference_ml(spacing_mm) == pytest.approx(0.01)


def test_a_share_of_nothing_is_undefined() -> None:
    missed, invented, everything = Overlap(0, 2, 0, 9), Overlap(2, 0, 0, 9), Overlap(3, 9, 3, 9)
    assert (missed.dice, missed.sensitivity, missed.specificity, missed.relative_volume_difference) == (0, 0, 1, -1)
    assert (invented.iou, invented.precision, invented.specificity) == (0, 0, 7 / 9)
    for value in (missed.precision, invented.sensitivity, invented.relative_volume_difference, everything.specificity):
        assert math.isnan(value)


def test_a_slice_has_no_volume() -> None:
    with pytest.raises(ValueError, match="three spacings of a volume"):
        Overlap(1, 1, 1, 4).predicted_volume_ml((1, 1))


@hypothesis.given(label_maps(), label_maps())
@hypothesis.settings(deadline=None, max_examples=30)
def test_a_region_is_scored_no_worse_than_the_worst_of_its_parts(prediction: LabelMap, reference: LabelMap) -> None:
    histogram = joint_histogram(prediction, reference)
    parts, whole = [histogram.overlap([label]) for label in (1, 2, 3)], histogram.overlap([1, 2, 3])
    assert whole.prediction == sum(part.prediction for part in parts)
    assert sum(part.both for part in parts) <= whole.both <= min(whole.prediction, whole.reference)
    if known := [part for part in parts if part.prediction + part.reference]:
        assert min(part.dice for part in known) <= whole.dice + 1e-12
        assert min(part.iou for part in known) <= whole.iou + 1e-12
    assert histogram.overlap([1]).accuracy >= histogram.accuracy


@hypothesis.given(label_maps(), label_maps())
@hypothesis.settings(deadline=None, max_examples=30)
def test_what_lies_around_changes_no_score_but_those_of_the_background(
    prediction: LabelMap, reference: LabelMap
) -> None:
    inner, outer = joint_histogram(prediction, reference), joint_histogram(np.pad(prediction, 2), np.pad(reference, 2))
    swapped = joint_histogram(reference, prediction)
    for values in REGIONS.values():
        overlap, padded = inner.overlap(values), outer.overlap(values)
        assert (padded.prediction, padded.reference, padded.both) == (
            overlap.prediction,
            overlap.reference,
            overlap.both,
        )
        assert overlap.specificity <= padded.specificity or math.isnan(overlap.specificity)
        assert overlap.sensitivity == pytest.approx(swapped.overlap(values).precision, nan_ok=True)
        assert overlap.accuracy == swapped.overlap(values).accuracy


@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.int64, torch.uint16, torch.bool])
@pytest.mark.parametrize("as_on_a_gpu", [False, True])
def test_tensors_are_counted_as_arrays_are(
    kind: torch.dtype, *, as_on_a_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_on_a_gpu:
        monkeypatch.setattr("brats_lightning.metrics.overlap.on_host", lambda array: array)
    largest = 1 if kind == torch.bool else 5
    arrays = np.random.default_rng(0).integers(0, largest + 1, (2, 7, 9, 8))
    arrays[:, :2] = 0
    expected = joint_histogram(arrays[0], arrays[1])
    found = joint_histogram(*(torch.from_numpy(array).to(kind) for array in arrays))
    np.testing.assert_array_equal(found.counts, expected.counts)
    assert found.box == expected.box
    empty = torch.zeros((2, 2), dtype=kind)
    assert joint_histogram(empty, empty).counts.tolist() == [[4]]


@pytest.mark.usefixtures("tensors_stay_tensors")
@pytest.mark.parametrize(
    ("prediction", "reference", "words"),
    [
        (torch.zeros(2), torch.zeros(2, dtype=torch.int), "integer labels in the prediction, found torch.float32"),
        (torch.tensor([0, 256]), torch.zeros(2, dtype=torch.int), "0 to 255 in the prediction, found 256 to 256"),
        (torch.zeros(2, dtype=torch.int), torch.tensor([-1, 0]), "0 to 255 in the reference, found -1 to -1"),
        (torch.zeros(2, dtype=torch.int, device="meta"), torch.zeros(2, dtype=torch.int), "found meta and cpu"),
        (torch.zeros(2, dtype=torch.int), np.zeros(2, int), "on one device"),
    ],
)
def test_tensors_that_are_no_label_maps_are_refused_in_words(
    prediction: torch.Tensor, reference: torch.Tensor | LabelMap, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        joint_histogram(prediction, reference)


@pytest.fixture
def tensors_stay_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brats_lightning.metrics.overlap.on_host", lambda array: array)


def test_masks_are_label_1() -> None:
    masks = np.random.default_rng(0).random((2, 5, 6, 7)) > 0.5
    overlap = joint_histogram(masks[0], masks[1]).overlap([1])
    assert overlap == joint_histogram(*masks.astype(np.uint8)).overlap([1])
    assert overlap.both == np.count_nonzero(masks.all(axis=0)) > 0


def test_scores_are_those_of_the_reference_tools(shared: Path) -> None:
    """The definitions, MedPy (but where it gives 0 for 0/0) and SimpleITK, on real and synthetic pairs."""
    golden = json.loads((shared / "golden" / "whole_image.json").read_text())
    for name, regions in golden["pairs"].items():
        files = (shared / "golden" / "pairs" / name / file for file in ("pred.nii.gz", "gt.nii.gz"))
        prediction, reference = (read_labels(file) for file in files)
        histogram = joint_histogram(prediction.array, reference.array)
        for region, values in golden["meta"]["regions"].items():
            overlap, expected = histogram.overlap(values), regions[region]["definition"]
            assert overlap.both == expected["tp"]
            assert overlap.image == sum(expected[count] for count in ("tp", "fp", "fn", "tn"))
            assert overlap.accuracy == pytest.approx((expected["tp"] + expected["tn"]) / overlap.image)
            for score in ("dice", "iou", "sensitivity", "specificity", "precision"):
                for tool in ("definition", "medpy"):
                    wanted = regions[region][tool][score]
                    if tool == "medpy" and (expected[score] is None or wanted is None):
                        continue  # 0/0, or a grid too large for it
                    wanted = math.nan if wanted is None else wanted
                    assert getattr(overlap, score) == pytest.approx(wanted, abs=1e-12, nan_ok=True), (name, region)
            if overlap.prediction + overlap.reference:
                volumes = [
                    volume(reference.grid.spacing_mm)
                    for volume in (overlap.predicted_volume_ml, overlap.reference_volume_ml)
                ]
                similarity = 2 * (volumes[0] - volumes[1]) / (volumes[0] + volumes[1])
                assert similarity == pytest.approx(regions[region]["sitk"]["volume_similarity"]), (name, region)


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
    assert histogram.overlap([1]) == Overlap(prediction=0, reference=0, both=0, image=60)


@pytest.mark.parametrize(
    ("prediction", "reference", "words"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"one shape.*\(2, 3\).*\(3, 2\)"),
        (np.zeros((2, 0), int), np.zeros((2, 0), int), "with voxels"),
        (np.zeros(2), np.zeros(2, int), "integer labels in the prediction, found float64"),
        (np.zeros(2, int), np.zeros(2, complex), "integer labels in the reference, found complex128"),
        (np.array([0, -1]), np.zeros(2, int), "0 to 255 in the prediction, found -1 to -1"),
        (np.zeros(2, int), np.array([0, 256]), "0 to 255 in the reference, found 256 to 256"),
    ],
)
def test_what_is_no_label_map_is_refused_in_words(
    prediction: npt.NDArray[np.int64], reference: npt.NDArray[np.int64], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        joint_histogram(prediction, reference)
