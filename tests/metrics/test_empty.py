import dataclasses
import math

import pytest

from brats_lightning.metrics.empty import EMPTY_POLICIES, EmptyPolicy, empty_policy


def test_brats_gives_full_marks_for_a_rightly_absent_region() -> None:
    assert EMPTY_POLICIES["brats"].scores(both=True) == {"dice": 1, "iou": 1, "hd95_mm": 0}


def test_brats_gives_a_missed_region_the_diagonal_of_the_volume() -> None:
    scores = EMPTY_POLICIES["brats"].scores(both=False)
    assert scores == {"dice": 0, "iou": 0, "hd95_mm": pytest.approx(373.13, abs=0.005)}


def test_nan_leaves_undefined_what_the_formula_leaves_undefined() -> None:
    both, one = (EMPTY_POLICIES["nan"].scores(both=both) for both in (True, False))
    assert all(math.isnan(score) for score in both.values())
    assert (one["dice"], one["iou"]) == (0, 0)
    assert math.isnan(one["hd95_mm"])


def test_the_penalty_is_a_parameter() -> None:
    assert EmptyPolicy(hd95_mm_one=374).scores(both=False)["hd95_mm"] == 374


def test_a_policy_does_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EMPTY_POLICIES["brats"].dice_both = 0.5  # type: ignore[misc]


def test_an_unknown_name_is_answered_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"'zero': expected one of brats, nan"):
        empty_policy("zero")


def test_every_policy_knows_its_name() -> None:
    assert {name: policy.name for name, policy in EMPTY_POLICIES.items()} == {"brats": "brats", "nan": "nan"}
