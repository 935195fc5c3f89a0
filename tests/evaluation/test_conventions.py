import csv
import math
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.evaluation.conventions import Side, Way, side_by_side, write_conventions
from brats_lightning.labels import region_labels
from brats_lightning.metrics.case_scores import score_case
from brats_lightning.metrics.empty import EMPTY_POLICIES
from brats_lightning.metrics.lesion_rules import RULES
from brats_lightning.metrics.lesionwise import lesionwise_scores
from brats_lightning.metrics.surface import CONVENTIONS

REGIONS = region_labels(["ET", "ED", "NCR", "RC", "WT"])
SPACING_MM = (1.0, 2.0, 1.5)


def two_maps() -> tuple[np.typing.NDArray[np.uint8], np.typing.NDArray[np.uint8]]:
    """Maps of which ET is in both, ED only predicted, NCR only expected, RC in neither."""
    generator = np.random.default_rng(0)
    prediction, reference = generator.random((2, 12, 11, 10)) < 0.3
    one, other = np.where(prediction, 3, 0).astype(np.uint8), np.where(reference, 3, 0).astype(np.uint8)
    one[0, 0], other[-1, -1] = 2, 1
    return one, other


def test_each_way_is_what_scoring_by_it_gives() -> None:
    prediction, reference = two_maps()
    tried = side_by_side(prediction, reference, case="own", spacing_mm=SPACING_MM, regions=REGIONS)
    for convention in CONVENTIONS:
        for policy in EMPTY_POLICIES.values():
            row = score_case(
                prediction,
                reference,
                spacing_mm=SPACING_MM,
                regions=REGIONS,
                empty=policy,
                scores=("dice", "hd95_mm"),
                convention=convention,
            )
            sides = tried[Way(convention, policy.name)]
            for region in REGIONS:
                expected = (row[f"dice_{region}"], row[f"hd95_mm_{region}"])
                assert sides[region] == pytest.approx(expected, abs=0, nan_ok=True)
    lesions = lesionwise_scores(prediction, reference, spacing_mm=SPACING_MM, rules=RULES["2024-GLI"])
    found = tried[Way("surfel", rules="2024-GLI")]
    assert found == {region: Side(lesions[region].dice, lesions[region].hd95_mm) for region in REGIONS}


@pytest.mark.parametrize(
    ("case", "rules", "expected"),
    [
        ("BraTS-PED-00001-000", None, {"2023-PED", "2024-PED", "2024-PED-corrected"}),
        ("BraTS-MET-00001-000", None, {"2023-MET", "2024-MET"}),
        ("BraTS2021_00001", None, {"2023-GLI", "2024-GLI", "2024-GLI-corrected"}),
        ("BraTS2021_00001", "2023-MEN", {"2023-MEN"}),
    ],
)
def test_a_case_is_scored_by_the_rules_of_its_task(case: str, rules: str | None, expected: set[str]) -> None:
    prediction, reference = two_maps()
    tried = side_by_side(prediction, reference, case=case, spacing_mm=SPACING_MM, regions=REGIONS, rules=rules)
    found = {way.rules for way in tried if way.rules}
    assert expected <= found
    assert {name.split("-")[1] for name in found} == {next(iter(expected)).split("-")[1]}


def test_means_are_over_the_cases_that_have_a_score(tmp_path: Path) -> None:
    way = Way("directed", "nan")
    tried = {
        "a": {way: {"ET": Side(0.5, 4.0)}},
        "b": {way: {"ET": Side(0.0, math.nan)}},
        "c": {way: {"ET": Side(math.nan, math.nan)}},
    }
    write_conventions(tmp_path / "conventions.csv", tried)
    with (tmp_path / "conventions.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "distances": "directed", "empty_masks": "nan", "rules": "", "region": "ET",
        "dice": "0.25", "dice_cases": "2", "hd95_mm": "4.0", "hd95_cases": "1",
    }  # fmt: skip
