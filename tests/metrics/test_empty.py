import dataclasses
import math

import pytest

from brats_lightning.metrics.empty import EMPTY_POLICIES, EmptyPolicy, empty_policy

NAN = math.nan
DIAGONAL_MM = 99.0
BOTH = {"dice": NAN, "sensitivity": NAN, "precision": NAN, "nsd_1mm": NAN, "hd95_mm": NAN, "assd_mm": NAN}
MISSED = {"dice": 0.0, "sensitivity": 0.0, "precision": NAN, "nsd_1mm": 0.0, "hd95_mm": NAN, "assd_mm": NAN}
INVENTED = {"dice": 0.0, "sensitivity": NAN, "precision": 0.0, "nsd_1mm": 0.0, "hd95_mm": NAN, "assd_mm": NAN}
"""What the formulas give where both masks, the prediction or the reference is empty."""


def settled(policy: str | EmptyPolicy, found: dict[str, float]) -> dict[str, float]:
    chosen = policy if isinstance(policy, EmptyPolicy) else EMPTY_POLICIES[policy]
    return chosen.settle(found, prediction=found is INVENTED, reference=found is MISSED, diagonal_mm=DIAGONAL_MM)


def shares_and_distances(share: float, distance: float) -> dict[str, float]:
    return {name: distance if name.endswith("_mm") else share for name in BOTH}


@pytest.mark.parametrize("policy", ["brats", "brats-diagonal"])
def test_brats_gives_full_marks_for_a_rightly_absent_region(policy: str) -> None:
    assert settled(policy, BOTH) == shares_and_distances(1, 0)


@pytest.mark.parametrize("found", [MISSED, INVENTED])
def test_brats_gives_a_missed_or_invented_region_nothing_and_the_diagonal(found: dict[str, float]) -> None:
    assert settled("brats", found) == pytest.approx(shares_and_distances(0, 373.13), abs=0.005)
    assert settled("brats-diagonal", found) == shares_and_distances(0, DIAGONAL_MM)


@pytest.mark.parametrize("found", [BOTH, MISSED, INVENTED])
def test_nan_leaves_undefined_what_the_formula_leaves_undefined(found: dict[str, float]) -> None:
    assert settled("nan", found) == pytest.approx(found, nan_ok=True)


def test_exclude_scores_those_who_have_the_region_and_no_others() -> None:
    for found in (BOTH, INVENTED):
        assert all(math.isnan(score) for score in settled("exclude", found).values())
    assert settled("exclude", MISSED) == settled("brats", MISSED)


@pytest.mark.parametrize("policy", sorted(set(EMPTY_POLICIES) - {"exclude"}))
@pytest.mark.parametrize("found", [BOTH, MISSED, INVENTED])
def test_what_empty_masks_leave_defined_stays(policy: str, found: dict[str, float]) -> None:
    others = {"specificity": 0.75, "accuracy": 0.5, "predicted_volume_ml": 0.0, "relative_volume_difference": NAN}
    sides = {"prediction": found is INVENTED, "reference": found is MISSED}
    kept = EMPTY_POLICIES[policy].settle(others | found, **sides, diagonal_mm=DIAGONAL_MM)
    assert {name: kept[name] for name in others} == pytest.approx(others, nan_ok=True)
    assert list(kept) == [*others, *found]


def test_the_penalty_is_a_parameter() -> None:
    assert settled(EmptyPolicy(distance_mm_one=374), MISSED)["hd95_mm"] == 374


def test_a_policy_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EMPTY_POLICIES["brats"].share_both = 0.5  # type: ignore[misc]


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"'zero': expected one of brats, brats-diagonal, nan, exclude"):
        empty_policy("zero")


@pytest.mark.parametrize("name", ["brats", "brats-diagonal", "nan", "exclude"])
def test_every_policy_knows_its_name(name: str) -> None:
    assert empty_policy(name).name == name
