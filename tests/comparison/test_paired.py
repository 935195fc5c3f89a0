import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from brats_lightning.comparison.paired import (
    EXACT_UP_TO,
    bootstrap_interval,
    holm,
    paired_differences,
    signed_rank,
    smallest_p,
)

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=6)


def brute_force_p(differences: list[float]) -> float:
    """Share of all arrangements of signs that lie at least as far from the middle, two-sided."""
    signed = np.array([value for value in differences if value])
    ranks = stats.rankdata(np.abs(signed))
    arrangements = np.array(list(itertools.product((0, 1), repeat=signed.size)))
    sums = np.abs(arrangements @ ranks - ranks.sum() / 2)
    return float(np.mean(sums >= abs(ranks[signed > 0].sum() - ranks.sum() / 2) - 1e-9))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=10))
def test_p_counts_all_arrangements_of_signs_with_ties_and_zeros(differences: list[float]) -> None:
    test = signed_rank(differences)
    assert test.used == sum(value != 0 for value in differences)
    assert test.p == pytest.approx(brute_force_p(differences) if test.used else 1.0, abs=1e-12)


@pytest.mark.parametrize("count", [5, 12, 50])
def test_p_equals_scipys_without_ties(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.3, 1, count)
    assert signed_rank(differences).p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, rel=1e-9)


def test_pencil_and_paper() -> None:
    # Ranks 1 2 3 4 5 6; above 0: 1. Sums of 0 or 1: 2 of 64 arrangements on either side.
    assert signed_rank([1, -2, -3, -4, -5, -6]).p == pytest.approx(4 / 64)
    assert signed_rank([1, -2, -3, -4, -5, -6]).balance == pytest.approx((1 - 20) / 21)


def test_the_exact_test_goes_over_into_the_normal_limit() -> None:
    differences = np.random.default_rng(1).normal(0.13, 1, EXACT_UP_TO + 1)
    limit, counted = signed_rank(differences), signed_rank(differences[:-1])
    assert counted.exact
    assert not limit.exact
    assert counted.p == pytest.approx(stats.wilcoxon(differences[:-1], method="approx").pvalue, rel=0.05)
    assert limit.p == pytest.approx(stats.wilcoxon(differences).pvalue)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.randoms())
def test_signed_rank_is_antisymmetric_and_blind_to_order(
    differences: list[float], random: "np.random.Generator"
) -> None:
    here, mirrored = signed_rank(differences), signed_rank([-value for value in differences])
    assert (mirrored.p, mirrored.balance, mirrored.used) == pytest.approx((here.p, -here.balance, here.used))
    random.shuffle(differences)
    assert signed_rank(differences).p == pytest.approx(here.p)


@pytest.mark.parametrize("count", range(1, 12))
def test_no_result_is_smaller_than_the_smallest_p(count: int) -> None:
    assert signed_rank(np.arange(1, count + 1)).p == pytest.approx(smallest_p(count))


def test_nothing_can_be_shown_without_differences() -> None:
    assert signed_rank([0.0, 0.0]).p == smallest_p(0) == 1


def test_rounding_noise_is_no_difference_and_nan_is_left_out() -> None:
    differences = paired_differences([0.1 + 0.2, 0.5, np.nan, 1.0], [0.3, 0.4, 0.1, np.nan])
    assert differences.tolist() == pytest.approx([0.0, 0.1])
    assert signed_rank(differences).used == 1
    # 0.9 - 0.8 and 0.2 - 0.3 differ by rounding only: as ties, no arrangement is rarer than the other.
    assert signed_rank(paired_differences([0.9, 0.2], [0.8, 0.3])).balance == 0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(P_VALUES)
def test_holm_lies_between_nothing_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= min(1, len(p_values) * p) + 1e-12 for p, a in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1, len(p_values) * min(p_values)))
    ordered = [a for _, a in sorted(zip(p_values, adjusted, strict=True))]
    assert ordered == sorted(ordered)


@given(P_VALUES, st.data())
def test_holm_is_monotone(p_values: list[float], data: st.DataObject) -> None:
    larger = [data.draw(st.floats(p, 1)) for p in p_values]
    assert all(a <= b for a, b in zip(holm(p_values), holm(larger), strict=True))


def test_the_interval_is_scipys() -> None:
    differences = np.random.default_rng(0).normal(0.2, 1, 30)
    reference = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    )
    expected = reference.confidence_interval
    assert bootstrap_interval(differences, seed=0) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_the_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(3)
    samples = generator.normal(1.0, 2.0, (200, 40))
    intervals = [bootstrap_interval(sample, seed=0, resamples=400) for sample in samples]
    assert 0.88 <= np.mean([low <= 1.0 <= high for low, high in intervals]) <= 0.99


def test_the_interval_is_seeded_antisymmetric_and_contains_the_mean() -> None:
    differences = np.random.default_rng(2).exponential(1, 25)
    low, high = bootstrap_interval(differences, seed=4)
    assert (low, high) == bootstrap_interval(differences, seed=4) != bootstrap_interval(differences, seed=5)
    assert bootstrap_interval(-differences, seed=4) == pytest.approx((-high, -low))
    assert low < differences.mean() < high
    assert bootstrap_interval([0.25, 0.25], seed=0) == (0.25, 0.25)


def test_many_cases_are_drawn_in_blocks() -> None:
    differences = np.random.default_rng(0).normal(0, 1, 3000)
    low, high = bootstrap_interval(differences, seed=0, resamples=2000)
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(3000), rel=0.1)
