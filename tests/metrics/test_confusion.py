import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_jaccard_index,
    multiclass_precision,
    multiclass_recall,
    multiclass_specificity,
)

from brats_lightning.labels import REGIONS, WHOLE, region_labels
from brats_lightning.metrics.confusion import (
    MEASURES,
    accuracy_of,
    class_rows,
    class_score_names,
    class_scores,
    confusion,
    flat,
)
from brats_lightning.metrics.overlap import joint_histogram

NAMES = ("NCR", "ED", "ET")
Labels = npt.NDArray[np.uint8]
MAPS = arrays(np.uint8, (2, 5, 4, 3), elements=st.integers(0, 3))


def counts_of(prediction: Labels, reference: Labels) -> npt.NDArray[np.int64]:
    return confusion(joint_histogram(prediction, reference), region_labels(NAMES))


def one_hot(labels: Labels) -> npt.NDArray[np.bool_]:
    masks: npt.NDArray[np.bool_] = labels[..., None] == np.arange(4)
    return masks


def measures_of(predicted: npt.NDArray[np.bool_], expected: npt.NDArray[np.bool_]) -> dict[str, float]:
    """From masks alone, as Keras code adds them up over one-hot arrays; 0 where a share is one of nothing."""
    hits, both_out = int((predicted & expected).sum()), int((~predicted & ~expected).sum())
    too_much, missed = int((predicted & ~expected).sum()), int((~predicted & expected).sum())

    def share(part: int, whole: int) -> float:
        return part / whole if whole else 0.0

    return {
        "precision": share(hits, hits + too_much),
        "sensitivity": share(hits, hits + missed),
        "specificity": share(both_out, both_out + too_much) if both_out + too_much else math.nan,
        "iou": share(hits, hits + too_much + missed),
        "dice": share(2 * hits, 2 * hits + too_much + missed),
    }


def test_a_matrix_worked_by_hand() -> None:
    # Predicted class in rows: background, ET, ED.
    counts = np.array([[70, 2, 3], [1, 8, 4], [5, 0, 7]])
    rows = class_scores(counts, ["ET", "ED"])
    assert rows["class_ET"] == {
        "precision": 8 / 13,
        "sensitivity": 8 / 10,
        "specificity": 85 / 90,
        "iou": 8 / 15,
        "dice": 16 / 23,
    }
    assert rows["class_ED"]["precision"] == 7 / 12
    assert rows["class_BACKGROUND"]["sensitivity"] == 70 / 76
    assert rows["micro_tumour_classes"] == {
        "precision": 15 / 25,
        "sensitivity": 15 / 24,
        "specificity": (200 - 24 - 10) / (200 - 24),
        "iou": 15 / 34,
        "dice": 30 / 49,
    }
    assert rows["macro_tumour_classes"]["iou"] == pytest.approx((8 / 15 + 7 / 19) / 2)
    assert rows["macro_with_background"]["iou"] == pytest.approx((70 / 81 + 8 / 15 + 7 / 19) / 3)
    assert accuracy_of(counts) == 0.85


@given(MAPS)
def test_pooled_with_the_background_all_shares_are_the_accuracy(maps: Labels) -> None:
    """What a paper calls a precision of .99 may be this: nothing that accuracy does not say."""
    counts = counts_of(maps[0], maps[1])
    accuracy = accuracy_of(counts)
    classes = int(((counts.sum(axis=0) + counts.sum(axis=1)) > 0).sum())
    row = class_scores(counts, NAMES)["micro_with_background"]
    assert row["precision"] == row["sensitivity"] == row["dice"] == accuracy == float((maps[0] == maps[1]).mean())
    assert row["iou"] == pytest.approx(accuracy / (2 - accuracy))
    if classes > 1:
        assert row["specificity"] == pytest.approx(1 - (1 - accuracy) / (classes - 1))
    else:
        assert math.isnan(row["specificity"])


def test_a_published_specificity_is_its_accuracy() -> None:
    """Of 2-D U-Nets of four classes in Keras: accuracy .9935, specificity .9979."""
    wrong = 65
    counts = np.diag([10_000 - wrong - 3, 1, 1, 1])
    counts[0, 1] = wrong
    assert class_scores(counts, NAMES)["micro_with_background"]["specificity"] == pytest.approx(0.9979, abs=1e-4)


@given(MAPS)
def test_masks_added_up_one_by_one_say_the_same(maps: Labels) -> None:
    predicted, expected = (one_hot(labels) for labels in maps)
    rows = class_scores(counts_of(maps[0], maps[1]), NAMES)
    present = [number for number in range(4) if predicted[..., number].any() or expected[..., number].any()]
    each = {number: measures_of(predicted[..., number], expected[..., number]) for number in present}
    for number, name in enumerate(class_rows(NAMES)[:4]):
        if number in present:
            assert rows[name] == pytest.approx(each[number], nan_ok=True)
        else:
            assert all(math.isnan(value) for value in rows[name].values())
    for of, chosen in (("with_background", present), ("tumour_classes", [n for n in present if n])):
        if not chosen:
            assert all(math.isnan(rows[f"{how}_{of}"][measure]) for how in ("micro", "macro") for measure in MEASURES)
            continue
        assert rows[f"micro_{of}"] == pytest.approx(
            measures_of(predicted[..., chosen], expected[..., chosen]), nan_ok=True
        )
        for measure in MEASURES:
            defined = [each[number][measure] for number in chosen if not math.isnan(each[number][measure])]
            mean = sum(defined) / len(defined) if defined else math.nan
            assert rows[f"macro_{of}"][measure] == pytest.approx(mean, nan_ok=True)


@pytest.mark.parametrize("classes", [4, 3])
def test_torchmetrics_says_the_same(classes: int) -> None:
    """Of three classes the fourth is in neither map, and torchmetrics leaves it out of its macro means too."""
    generator = torch.Generator().manual_seed(classes)
    prediction, reference = torch.randint(0, classes, (2, 600), generator=generator)
    rows = class_scores(counts_of(prediction.numpy().astype(np.uint8), reference.numpy().astype(np.uint8)), NAMES)
    functions: dict[str, Any] = {
        "precision": multiclass_precision,
        "sensitivity": multiclass_recall,
        "specificity": multiclass_specificity,
        "iou": multiclass_jaccard_index,
        "dice": multiclass_f1_score,
    }
    for measure, function in functions.items():
        single = function(prediction, reference, num_classes=4, average="none")
        macro = function(prediction, reference, num_classes=4, average="macro")
        micro = function(prediction, reference, num_classes=classes, average="micro")
        for number, name in enumerate(class_rows(NAMES)[:classes]):
            assert rows[name][measure] == pytest.approx(float(single[number]), abs=1e-6)
        assert rows["macro_with_background"][measure] == pytest.approx(float(macro), abs=1e-6)
        assert rows["micro_with_background"][measure] == pytest.approx(float(micro), abs=1e-6)
    accuracy = multiclass_accuracy(prediction, reference, num_classes=4, average="micro")
    assert flat(counts_of(*np.stack([prediction, reference]).astype(np.uint8)), NAMES)[
        "accuracy_all_voxels"
    ] == pytest.approx(float(accuracy), abs=1e-6)


def test_a_class_that_is_never_found_lowers_the_mean_and_one_that_nobody_has_does_not() -> None:
    reference = np.array([[0, 0, 1, 2]], np.uint8)
    rows = class_scores(counts_of(np.array([[0, 0, 0, 2]], np.uint8), reference), NAMES)
    assert rows["class_NCR"]["precision"] == 0
    assert rows["macro_tumour_classes"]["precision"] == 0.5
    assert math.isnan(rows["class_ET"]["dice"])
    assert math.isnan(rows["class_ET"]["specificity"])


def test_classes_are_regions_and_all_else_is_background() -> None:
    prediction = np.array([0, WHOLE, WHOLE, 0, 0], np.uint8)
    reference = np.array([0, 1, 0, 3, 4], np.uint8)
    counts = confusion(joint_histogram(prediction, reference), {"WT": REGIONS["WT"]})
    assert counts.tolist() == [[2, 1], [1, 1]]
    assert class_scores(counts, ["WT"])["class_WT"]["iou"] == 1 / 3


@pytest.mark.parametrize("classes", [{}, {"A": (1, 2), "B": (2,)}, {"A": (0,)}, {"A": ()}, {"A": (1, 1)}])
def test_classes_that_are_none_are_refused(classes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="expected classes of labels above 0 that exclude each other"):
        confusion(joint_histogram(np.ones(3, np.uint8), np.ones(3, np.uint8)), classes)


def test_names_say_class_average_and_measure() -> None:
    names = class_score_names(["ET"])
    scores = flat(counts_of(np.array([0, 3], np.uint8), np.array([3, 3], np.uint8))[[0, 3]][:, [0, 3]], ["ET"])
    assert list(scores) == names
    assert {"precision_micro_with_background", "iou_macro_tumour_classes", "dice_class_ET"} <= set(names)
    assert "sensitivity_class_BACKGROUND" in names
    assert scores["accuracy_all_voxels"] == 0.5


def test_counts_of_nothing_are_undefined() -> None:
    assert all(math.isnan(value) for value in flat(np.zeros((4, 4), np.int64), NAMES).values())
