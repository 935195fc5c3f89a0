from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from brats_lightning.comparison.paired_tests import PairedTest, Verdict, paired_tests
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.score_kinds import Better

BETTER: dict[str, Better] = {"dice": "higher", "hd95_mm": "lower"}


def outcome(
    *methods: list[float], score: str = "dice", pairs: tuple[tuple[int, int], ...] = ((0, 1),)
) -> tuple[list[PairedTest], list[str]]:
    files = [ScoreFile(name, Path(name), {}, {}, ()) for name in "abc"[: len(methods)]]
    cases = [f"case {index}" for index in range(len(methods[0]))]
    values = {("ET", score): np.array(methods)}
    return paired_tests(files, cases, values, better=BETTER, pairs=pairs, seed=0)


def test_pencil_and_paper() -> None:
    (test,), skipped = outcome([0.9, 0.8, 0.5, 0.7], [0.7, 0.9, 0.1, 0.7])
    assert not skipped
    assert (test.first, test.second, test.region, test.score) == ("a", "b", "ET", "dice")
    assert list(test.differences.values()) == pytest.approx([0.2, -0.1, 0.4, 0.0])
    assert test.difference == pytest.approx(0.125)
    assert test.means == pytest.approx((0.725, 0.6))
    assert (test.won, test.tied, test.lost) == (2, 1, 1)
    # Ranks 2, -1, 3 of three cases that differ: of eight arrangements two have at most 1 below 0, as many above.
    assert (test.used, test.p, test.smallest_p) == (3, 0.5, 0.25)
    assert test.balance == pytest.approx((5 - 1) / 6)


@pytest.mark.parametrize(("score", "won"), [("dice", (2, 1, 1)), ("hd95_mm", (1, 1, 2))])
def test_who_wins_depends_on_which_way_is_better(score: str, won: tuple[int, int, int]) -> None:
    (test,), _ = outcome([0.9, 0.8, 0.5, 0.7], [0.7, 0.9, 0.1, 0.7], score=score)
    assert (test.won, test.tied, test.lost) == won


@pytest.mark.parametrize("score", ["dice", "hd95_mm"])
def test_swapped_methods_swap_everything(score: str) -> None:
    numbers = np.random.default_rng(0).uniform(size=(2, 15)).tolist()
    (one,), _ = outcome(*numbers, score=score)
    (other,), _ = outcome(*reversed(numbers), score=score)
    assert other.difference == pytest.approx(-one.difference)
    assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert (other.won, other.tied, other.lost) == (one.lost, one.tied, one.won)
    assert (other.p, other.balance, *other.means) == pytest.approx((one.p, -one.balance, *one.means[::-1]))


def test_a_method_against_itself_shows_nothing() -> None:
    (test,), _ = outcome([0.1, 0.9, 0.4], [0.1, 0.9, 0.4])
    assert (test.p, test.p_holm, test.won, test.tied, test.lost) == (1, 1, 0, 3, 0)
    assert test.difference == 0
    assert test.interval == (0, 0)
    assert test.verdict(0.05) == "none shown"


def test_undefined_scores_are_left_out_in_pairs() -> None:
    nan = float("nan")
    (test,), _ = outcome([0.9, nan, 0.5, nan], [0.7, 0.9, 0.1, nan])
    assert list(test.differences) == ["case 0", "case 2"]
    assert test.undefined == 2
    assert test.means == pytest.approx((0.7, 0.4))
    assert outcome([0.9, nan, 0.5, nan], [0.7, 0.9, nan, nan]) == ([], ["ET dice"])


def test_all_tests_are_one_family() -> None:
    numbers = np.random.default_rng(1).uniform(size=(3, 12)) + np.array([[0.0], [0.2], [0.4]])
    tests, _ = outcome(*numbers.tolist(), pairs=((0, 1), (0, 2), (1, 2)))
    assert [(test.first, test.second) for test in tests] == [("a", "b"), ("a", "c"), ("b", "c")]
    p_values = [stats.wilcoxon(numbers[one], numbers[other]).pvalue for one, other in ((0, 1), (0, 2), (1, 2))]
    assert [test.p for test in tests] == pytest.approx(p_values)
    order = np.argsort(p_values)
    stepwise = np.maximum.accumulate(np.array(p_values)[order] * [3, 2, 1]).clip(max=1)
    assert [tests[index].p_holm for index in order] == pytest.approx(stepwise.tolist())
    assert {test.smallest_p_holm for test in tests} == {3 * 2.0**-11}


@pytest.mark.parametrize(
    ("count", "score", "verdict"),
    [(5, "dice", "too few cases"), (6, "dice", "first"), (6, "hd95_mm", "second"), (5, "hd95_mm", "too few cases")],
)
def test_six_cases_that_agree_are_the_least_that_can_show_anything(count: int, score: str, verdict: Verdict) -> None:
    first = [0.5 + 0.01 * index for index in range(count)]
    (test,), _ = outcome(first, [0.4] * count, score=score)
    assert test.verdict(0.05) == verdict
    assert test.p == test.smallest_p == test.smallest_p_holm


def test_many_cases_that_disagree_show_nothing() -> None:
    (test,), _ = outcome([0.5, 0.6] * 10, [0.6, 0.5] * 10)
    assert test.p == 1
    assert test.verdict(0.05) == "none shown"
