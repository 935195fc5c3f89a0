import pytest

from brats_lightning.comparison.extremes import extremes
from brats_lightning.comparison.paired_tests import PairedTest

DIFFERENCES = {"a": 0.4, "b": 0.1, "c": -0.3, "d": 0.0, "e": -0.1}


def paired(region: str, differences: dict[str, float], *, score: str = "dice") -> PairedTest:
    return PairedTest(
        "first", "second", region, score, "higher", differences, undefined=0, means=(0.5, 0.5), interval=(0, 0), p=0.5,
        balance=0.0, exact=True, used=len(differences),
    )  # fmt: skip


def test_both_ends_are_told_from_the_best_to_the_worst_of_the_first() -> None:
    found = extremes([paired("own", DIFFERENCES), paired("own", {"z": 9.0}, score="hd95_mm")])
    assert [each.case for each in found] == ["a", "b", "e", "c"]  # no difference is neither
    assert [each.mean for each in found] == [0.4, 0.1, -0.1, -0.3]
    assert [each.case for each in extremes([paired("own", DIFFERENCES)], at_each_end=1)] == ["a", "c"]
    assert extremes([paired("own", {"a": 0.0})]) == []
    assert extremes([paired("own", {"a": 1.0}, score="iou")]) == []


def test_the_mean_is_over_the_challenges_regions_where_a_case_has_them() -> None:
    tests = [paired(region, {"a": value, "b": 0.2}) for region, value in (("ET", 0.3), ("TC", 0.0), ("WT", 0.0))]
    tests[1].differences.pop("b")  # type: ignore[attr-defined]
    first, second = extremes([*tests, paired("ED", {"a": 0.9, "b": -0.9})])
    assert (first.case, second.case) == ("b", "a")
    assert [first.mean, second.mean] == pytest.approx([0.2, 0.1])
    assert first.differences == {"ET": 0.2, "WT": 0.2, "ED": -0.9}
    assert second.differences == {"ET": 0.3, "TC": 0.0, "WT": 0.0, "ED": 0.9}


def test_swapping_the_methods_mirrors_the_list() -> None:
    swapped = extremes([paired("own", {case: -value for case, value in DIFFERENCES.items()})])
    assert [each.case for each in swapped] == [each.case for each in extremes([paired("own", DIFFERENCES)])][::-1]
