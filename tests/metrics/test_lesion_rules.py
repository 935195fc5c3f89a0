from dataclasses import replace

import pytest

from brats_lightning.labels import REGIONS
from brats_lightning.metrics.lesion_rules import RULES

PUBLISHED = [
    *(f"2023-{task}" for task in ("GLI", "SSA", "PED", "MEN", "MET")),
    *(f"{season}-{task}" for season in ("2024", "2024HEAD") for task in ("GLI", "SSA", "PED", "MET")),
    "2024HEAD-MEN",
]
SLIPPED = [name for name in PUBLISHED if name.startswith("2024") and name != "2024HEAD-MEN"]


def test_every_season_and_task_has_its_rules_under_its_name() -> None:
    assert set(RULES) == {*PUBLISHED, *(f"{name}-corrected" for name in SLIPPED)}
    assert all(rules.name == name for name, rules in RULES.items())


@pytest.mark.parametrize("name", RULES)
def test_rules_name_regions_that_exist(name: str) -> None:
    for region, rules in RULES[name].regions.items():
        assert {region, *rules.joined_through} <= set(REGIONS)
        assert region not in rules.joined_through


@pytest.mark.parametrize("name", SLIPPED)
def test_a_corrected_set_differs_by_the_known_slips_alone(name: str) -> None:
    published, corrected = RULES[name], RULES[f"{name}-corrected"]
    assert published.scores_numbers
    undone = replace(corrected, name=name, scores_numbers=True)
    if name.endswith("GLI"):
        assert (published.regions["ED"].dilation, corrected.regions["ED"].dilation) == (3, 5)
        oedema = replace(corrected.regions["ED"], dilation=3)
        undone = replace(undone, regions={**corrected.regions, "ED": oedema})
    assert undone == published


@pytest.mark.parametrize(
    ("name", "region", "dilation", "ignored", "penalty_mm"),
    [
        ("2023-GLI", "ET", 3, 50, 374),
        ("2023-MEN", "WT", 1, 50, 374),
        ("2023-MET", "TC", 1, 2, 374),
        ("2024-GLI", "ET", 3, 10, 337),
        ("2024-GLI", "NCR", 5, 20, 337),
        ("2024-GLI", "RC", 5, 20, 337),
        ("2024-SSA", "ET", 3, 50, 374),
        ("2024-PED", "CC", 5, 10, 374),
        ("2024-MET", "ET", 1, 2, 374),
        ("2024HEAD-MET", "RC", 1, 2, None),
    ],
)
def test_the_challenges_published_table(
    name: str, region: str, dilation: int, ignored: int, penalty_mm: float | None
) -> None:
    rules = RULES[name]
    assert (rules.regions[region].dilation, rules.regions[region].ignored) == (dilation, ignored)
    assert rules.penalty_mm == penalty_mm
