import json
import math
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.labels import region_labels
from brats_lightning.metrics.case_scores import score_case, score_names
from brats_lightning.metrics.empty import EMPTY_POLICIES, EmptyPolicy
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


@pytest.mark.parametrize("name", EMPTY_POLICIES)
def test_the_policy_speaks_where_a_region_is_empty(name: str) -> None:
    empty = EMPTY_POLICIES[name]
    prediction, reference = np.zeros((2, 4, 4, 4), np.int64)
    prediction[1, 1, 1] = 1  # a core that the reference does not have; no enhancing tumour in either
    scores = score_case(prediction, reference, spacing_mm=(1, 1, 1), regions=REGIONS, empty=empty)
    swapped = score_case(reference, prediction, spacing_mm=(1, 1, 1), regions=REGIONS, empty=empty)
    for score in ("dice", "iou", "hd95_mm"):
        both, one = (empty.scores(both=both)[score] for both in (True, False))
        assert scores[f"{score}_ET"] == pytest.approx(both, nan_ok=True)
        assert scores[f"{score}_TC"] == pytest.approx(one, nan_ok=True)
        assert swapped[f"{score}_TC"] == pytest.approx(one, nan_ok=True)


def test_the_penalty_is_that_of_the_policy() -> None:
    prediction, reference = np.zeros((2, 4, 4, 4), np.int64)
    reference[1, 1, 1] = 3
    missed = score_case(
        prediction, reference, spacing_mm=(1, 1, 1), regions=REGIONS, empty=EmptyPolicy(hd95_mm_one=374)
    )
    assert missed["hd95_mm_ET"] == 374
    assert missed["accuracy"] == 63 / 64


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
