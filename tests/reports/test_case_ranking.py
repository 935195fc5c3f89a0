import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brats_lightning.reports.ranking import ends, mean_dice, ranked

MEANS = st.dictionaries(st.text(max_size=3), st.floats(0, 1) | st.just(math.nan), max_size=30)


@given(MEANS, st.integers(0, 8))
def test_both_ends_are_apart_and_nothing_between_them_is_worse_or_better(means: dict[str, float], count: int) -> None:
    worst, best = ends(means, count=count)
    order = ranked(means)
    assert worst == order[: len(worst)]
    assert best == order[::-1][: len(best)]
    assert not set(worst) & set(best)
    assert len(worst) + len(best) == min(2 * count, len(order))
    assert len(worst) - len(best) in {0, 1}


@given(MEANS, st.integers(1, 4), st.randoms())
def test_who_was_no_end_of_the_first_cases_is_none_of_all(means: dict[str, float], count: int, random: object) -> None:
    """What lets pictures of others be forgotten while cases are scored one by one, and in several processes."""
    cases = list(means)
    random.shuffle(cases)  # type: ignore[attr-defined]
    of_all = set().union(*ends(means, count=count))
    for first in range(len(cases) + 1):
        of_some = set().union(*ends({case: means[case] for case in cases[:first]}, count=count))
        assert of_all & set(cases[:first]) <= of_some


def test_regions_that_are_undefined_are_left_out_of_the_mean() -> None:
    assert mean_dice({"ET": math.nan, "WT": 0.5, "TC": 1.0, "NCR": 0.0}) == 0.75
    assert math.isnan(mean_dice({"ET": math.nan}))
    assert math.isnan(mean_dice({}))


def test_cases_alike_are_ranked_by_name() -> None:
    assert ends({"b": 0.5, "a": 0.5, "c": 0.5}, count=5) == (["a", "b"], ["c"])
    assert ends({"a": math.nan}, count=5) == ([], [])


@pytest.mark.parametrize("count", [1, 5])
def test_one_case_is_the_worst(count: int) -> None:
    assert ends({"a": 0.5}, count=count) == (["a"], [])
