import itertools

import numpy as np
import pytest

from brats_lightning.comparison.ranking import cumulative_ranks, permutation_p, standings


def test_pencil_and_paper() -> None:
    # Three methods, two cases, two races: Dice and, negated, HD95.
    quality = [
        [[0.9, -2.0], [0.8, -5.0]],
        [[0.8, -2.0], [0.9, -4.0]],
        [[0.7, -9.0], [0.8, -6.0]],
    ]
    ranks = cumulative_ranks(quality)
    # Case 1: ranks 1 2 3 and 1.5 1.5 3. Case 2: ranks 2.5 1 2.5 and 2 1 3.
    assert ranks.tolist() == [[1.25, 2.25], [1.75, 1.0], [3.0, 2.75]]
    table = standings(["a", "b", "c"], ranks, seed=0)
    assert [(row.name, row.place, row.rank) for row in table] == [("b", 1, 1.375), ("a", 2, 1.75), ("c", 3, 2.875)]
    # b to a: gaps -0.5 and 1.25, sum 0.75; of the sums ±0.75 and ±1.75 two reach it. a to c: 1.75, 0.5: one of four.
    assert [row.p_next for row in table] == [0.5, 0.25, None]


def test_equal_methods_share_a_place() -> None:
    table = standings(["a", "b", "c"], [[1.5, 1.5], [1.5, 1.5], [3.0, 3.0]], seed=0)
    assert [(row.name, row.place) for row in table] == [("a", 1), ("b", 1), ("c", 3)]
    assert table[0].p_next == 1


def test_each_race_distributes_the_same_ranks() -> None:
    quality = np.random.default_rng(0).integers(0, 3, (4, 7, 5)).astype(float)
    assert cumulative_ranks(quality).sum(axis=0) == pytest.approx([10.0] * 7)


def test_ranks_do_not_depend_on_the_order_of_methods_cases_and_races() -> None:
    generator = np.random.default_rng(1)
    quality = generator.normal(size=(3, 6, 4))
    ranks = cumulative_ranks(quality)
    methods, cases, races = (generator.permutation(size) for size in quality.shape)
    shuffled = cumulative_ranks(quality[methods][:, cases][:, :, races])
    assert shuffled == pytest.approx(ranks[methods][:, cases])


def test_a_race_without_a_score_is_left_out_for_all() -> None:
    quality = np.array([[[0.9, np.nan], [np.nan, 0.1]], [[0.8, 0.7], [0.2, np.nan]]])
    ranks = cumulative_ranks(quality)
    assert ranks[:, 0].tolist() == [1.0, 2.0]
    assert np.isnan(ranks[:, 1]).all()  # a case without any race
    assert [row.rank for row in standings(["a", "b"], ranks, seed=0)] == [1.0, 2.0]
    assert standings(["a", "b"], ranks[:, 1:], seed=0) == []


def test_p_counts_all_swaps() -> None:
    better, worse = np.random.default_rng(2).integers(2, 7, (2, 9)) / 2
    gaps = worse - better
    swaps = np.array(list(itertools.product((1, -1), repeat=gaps.size)))
    expected = np.mean(swaps @ gaps >= gaps.sum() - 1e-9)
    assert permutation_p(better, worse, seed=0) == pytest.approx(expected)
    drawn = permutation_p(better, worse, seed=0, permutations=400)  # fewer than there are: 512
    assert drawn == pytest.approx(expected, abs=0.08)
    assert drawn != permutation_p(better, worse, seed=1, permutations=400)


def test_drawn_swaps_are_seeded_and_never_give_zero() -> None:
    ranks = np.ones(30), np.full(30, 2.0)
    assert permutation_p(*ranks, seed=0, permutations=1000) == 1 / 1001
    better, worse = np.random.default_rng(0).normal([[1.4], [1.6]], 0.5, (2, 30))
    assert permutation_p(better, worse, seed=7) == permutation_p(better, worse, seed=7)


def test_false_alarms_are_as_rare_as_the_p_says() -> None:
    pairs = np.random.default_rng(5).normal(size=(400, 2, 10))
    found = [permutation_p(min(a, b, key=np.mean), max(a, b, key=np.mean), seed=0) for a, b in pairs]
    # The better one is chosen after looking: p is at most about 0.5, and below 0.05 twice as often as 0.05.
    assert max(found) <= 0.5 + 1 / 1024
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.1, abs=0.05)


def test_rounding_tells_no_equal_sums_apart() -> None:
    # 0.1 + 0.2 - 0.3 is not quite 0 to a computer; of eight swaps five reach it.
    assert permutation_p([0.0, 0.0, 0.3], [0.1, 0.2, 0.0], seed=0) == 5 / 8
