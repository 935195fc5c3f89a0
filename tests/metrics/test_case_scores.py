import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from brats_lightning.labels import region_labels
from brats_lightning.metrics.case_scores import ALL_SCORES, score_case, score_names
from brats_lightning.metrics.empty import EMPTY_POLICIES, VOLUME_DIAGONAL_MM, EmptyPolicy
from brats_lightning.metrics.overlap import joint_histogram
from brats_lightning.metrics.surface import CONVENTIONS, Convention, surface_distances
from brats_lightning.nifti import read_labels

REGIONS = region_labels(["ET", "TC"])
BRATS = EMPTY_POLICIES["brats"]


def test_scores_of_a_line_are_those_found_by_hand() -> None:
    prediction, reference = np.zeros((2, 1, 1, 9), np.uint8)
    prediction[0, 0, [0, 1]] = 3, 1  # enhancing, then necrosis
    reference[0, 0, [0, 5]] = 3, 1
    scores = score_case(prediction, reference, spacing_mm=(1, 1, 2), regions=REGIONS, empty=BRATS)
    assert scores == {
        "dice_ET": 1,
        "iou_ET": 1,
        "hd95_mm_ET": 0,
        "dice_TC": 0.5,
        "iou_TC": pytest.approx(1 / 3),
        "hd95_mm_TC": pytest.approx(0.95 * 4 * 2),  # of two boundary voxels one is right, one 4 voxels off
        "accuracy": pytest.approx(7 / 9),
    }
    assert list(scores) == score_names(REGIONS)


EMPTY_CASES = {
    # policy: shares where both are empty, where the prediction and where the reference is; the same for distances
    "brats": ((1, 0, 0), (0, VOLUME_DIAGONAL_MM, VOLUME_DIAGONAL_MM)),
    "brats-diagonal": ((1, 0, 0), (0, math.hypot(4, 5, 12), math.hypot(4, 5, 12))),
    "nan": ((math.nan, 0, 0), (math.nan, math.nan, math.nan)),
    "exclude": ((math.nan, 0, math.nan), (math.nan, VOLUME_DIAGONAL_MM, math.nan)),
}


@pytest.mark.parametrize("name", EMPTY_POLICIES)
def test_the_policy_speaks_where_a_region_is_empty(name: str) -> None:
    full, nothing = np.zeros((2, 4, 5, 6), np.int64)
    full[1, 1, 1] = 3
    shares, distances = EMPTY_CASES[name]
    for place, (prediction, reference) in enumerate(((nothing, nothing), (nothing, full), (full, nothing))):
        scores = score_case(
            prediction,
            reference,
            spacing_mm=(1, 1, 2),
            regions=REGIONS,
            empty=EMPTY_POLICIES[name],
            scores=("dice", "iou", "nsd_3mm", "hd95_mm", "hd100_mm", "assd_mm", "relative_volume_difference"),
        )
        for region in REGIONS:
            for score in ("dice", "iou", "nsd_3mm"):
                assert scores[f"{score}_{region}"] == pytest.approx(shares[place], nan_ok=True)
            for score in ("hd95_mm", "hd100_mm", "assd_mm"):
                assert scores[f"{score}_{region}"] == pytest.approx(distances[place], nan_ok=True)
            expected = -1 if place == 1 else math.nan
            assert scores[f"relative_volume_difference_{region}"] == pytest.approx(expected, nan_ok=True)
        assert scores["accuracy"] == (1 if place == 0 else 119 / 120)


def test_sensitivity_without_a_reference_and_precision_without_a_prediction_follow_the_policy() -> None:
    full, nothing = np.ones((2, 2, 2), int), np.zeros((2, 2, 2), int)
    for name, share in (("brats", 0), ("nan", math.nan)):
        for sides, score in (((full, nothing), "sensitivity_core"), ((nothing, full), "precision_core")):
            scores = score_case(
                *sides,
                spacing_mm=(1, 1, 1),
                regions={"core": (1,)},
                empty=EMPTY_POLICIES[name],
                scores=("sensitivity", "precision", "specificity"),
            )
            assert scores[score] == pytest.approx(share, nan_ok=True)
    assert math.isnan(scores["specificity_core"])  # a reference that fills the image leaves nothing out


def test_the_penalty_is_that_of_the_policy() -> None:
    prediction, reference = np.zeros((2, 4, 4, 4), np.int64)
    reference[1, 1, 1] = 3
    missed = score_case(
        prediction, reference, spacing_mm=(1, 1, 1), regions=REGIONS, empty=EmptyPolicy(distance_mm_one=374)
    )
    assert missed["hd95_mm_ET"] == 374
    assert missed["accuracy"] == 63 / 64


def random_maps(seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng(seed).integers(0, 4, (2, 9, 8, 7))


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_score_is_that_of_its_function(convention: Convention) -> None:
    prediction, reference = random_maps()
    spacing_mm = (1.0, 1.0, 2.0)
    names = (*ALL_SCORES, "nsd_0.5mm")
    scores = score_case(
        prediction,
        reference,
        spacing_mm=spacing_mm,
        regions=REGIONS,
        empty=BRATS,
        scores=names,
        convention=convention,
    )
    assert list(scores) == score_names(REGIONS, names)
    for region, values in REGIONS.items():
        overlap = joint_histogram(prediction, reference).overlap(values)
        masks = [np.isin(labels, values) for labels in (prediction, reference)]
        distances = surface_distances(*masks, spacing_mm=spacing_mm, convention=convention)
        expected = {
            "dice": overlap.dice,
            "iou": overlap.iou,
            "sensitivity": overlap.sensitivity,
            "specificity": overlap.specificity,
            "precision": overlap.precision,
            "accuracy": overlap.accuracy,
            "relative_volume_difference": overlap.relative_volume_difference,
            "predicted_volume_ml": overlap.predicted_volume_ml(spacing_mm),
            "reference_volume_ml": overlap.reference_volume_ml(spacing_mm),
            "absolute_volume_difference_ml": overlap.absolute_volume_difference_ml(spacing_mm),
            "hd95_mm": distances.percentile_mm(95),
            "hd100_mm": distances.percentile_mm(100),
            "assd_mm": distances.assd_mm,
            "nsd_1mm": distances.nsd(1),
            "nsd_0.5mm": distances.nsd(0.5),
        }
        assert {name: scores[f"{name}_{region}"] for name in names} == expected
    alone = score_case(
        prediction,
        reference,
        spacing_mm=spacing_mm,
        regions=REGIONS,
        empty=BRATS,
        scores=["hd95_mm"],
        convention=convention,
    )
    assert alone == {name: scores[name] for name in ("hd95_mm_ET", "hd95_mm_TC", "accuracy")}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("kind", [torch.uint8, torch.int64])
@pytest.mark.parametrize("as_on_a_gpu", [False, True])
def test_tensors_are_scored_as_arrays_are(
    convention: Convention, kind: torch.dtype, *, as_on_a_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if as_on_a_gpu:
        for module in ("surface", "overlap", "case_scores"):
            monkeypatch.setattr(f"brats_lightning.metrics.{module}.on_host", lambda array: array)
    settings: dict[str, Any] = {
        "spacing_mm": (0.9, 1, 3),
        "regions": {**REGIONS, "near": (1,), "far": (1, 258)},  # in eight bits 258 is 2
        "empty": BRATS,
        "scores": ALL_SCORES,
        "convention": convention,
    }
    arrays = random_maps(1)
    tensors = [torch.from_numpy(array).to(kind) for array in arrays]
    expected = score_case(arrays[0], arrays[1], **settings)
    assert score_case(tensors[0], tensors[1], **settings) == pytest.approx(expected)
    assert [expected[f"{name}_far"] for name in ALL_SCORES] == [expected[f"{name}_near"] for name in ALL_SCORES]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_scores_as_the_cpu_does() -> None:
    settings: dict[str, Any] = {"spacing_mm": (0.9, 1, 3), "regions": REGIONS, "empty": BRATS, "scores": ALL_SCORES}
    arrays = random_maps(1)
    tensors = [torch.from_numpy(array).cuda() for array in arrays]
    expected = score_case(arrays[0], arrays[1], **settings)
    assert score_case(tensors[0], tensors[1], **settings) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"scores": ["dice", "hausdorff"]}, "unknown score hausdorff: expected any of dice, iou"),
        ({"scores": ["nsd_-1mm"]}, "unknown score nsd_-1mm"),
        ({"scores": ["dice", "dice"]}, "each score once"),
        ({"convention": "medpy"}, "'medpy': expected one of directed, pooled, averaged, surfel"),
        ({"spacing_mm": (1, 1)}, "3 spacings above 0 mm"),
        ({"spacing_mm": (1, 1, 0)}, "3 spacings above 0 mm"),
        ({"spacing_mm": (1, 1, math.nan)}, "3 spacings above 0 mm"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_words(changed: dict[str, Any], words: str) -> None:
    settings: dict[str, Any] = {"spacing_mm": (1, 1, 1), "regions": REGIONS, "empty": BRATS, **changed}
    prediction, reference = random_maps()
    with pytest.raises(ValueError, match=words):
        score_case(prediction, reference, **settings)


@pytest.mark.parametrize("values", [(), (0, 1), (-1,)])
def test_a_region_with_background_is_refused(values: tuple[int, ...]) -> None:
    nothing = np.zeros((2, 2, 2), int)
    with pytest.raises(ValueError, match="labels above 0 for the region rest"):
        score_case(nothing, nothing, spacing_mm=(1, 1, 1), regions={"rest": values}, empty=BRATS)


def test_scores_are_those_of_the_reference_tools(shared: Path) -> None:
    """Counts, and brute force over boundary points (the larger direction), on real and synthetic pairs."""
    golden = json.loads((shared / "golden" / "whole_image.json").read_text())
    regions = {name: tuple(values) for name, values in golden["meta"]["regions"].items()}
    for name, expected in golden["pairs"].items():
        prediction, reference = (
            read_labels(shared / "golden" / "pairs" / name / file) for file in ("pred.nii.gz", "gt.nii.gz")
        )
        scores = score_case(
            prediction.array,
            reference.array,
            spacing_mm=reference.grid.spacing_mm,
            regions=regions,
            empty=EMPTY_POLICIES["nan"],
        )
        for region in regions:
            overlap, distances = expected[region]["definition"], expected[region]["bruteforce"] or {}
            for score, value in (
                ("dice", overlap["dice"]),
                ("iou", overlap["iou"]),
                ("hd95_mm", distances.get("hd95")),
            ):
                wanted = math.nan if value is None else value  # undefined, as a mask is empty
                assert scores[f"{score}_{region}"] == pytest.approx(wanted, abs=1e-6, nan_ok=True), (
                    name,
                    region,
                )
