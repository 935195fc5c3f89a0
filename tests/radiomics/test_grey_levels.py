import numpy as np
import pytest

from brats_lightning.radiomics.grey_levels import MOST_LEVELS, TooManyLevelsError, discretise


def test_edges_are_multiples_of_the_width_below_zero_too() -> None:
    levels = discretise(np.array([-26.0, -25.0, -0.5, 0.0, 24.9, 25.0]), bin_width=25)
    assert levels.values[levels.ranks].tolist() == [1, 2, 2, 3, 3, 4]


def test_levels_are_counted_from_the_lowest_and_missing_ones_left_out() -> None:
    values = np.random.default_rng(0).normal(500, 200, 400)
    levels = discretise(values, bin_width=7)
    numbers = np.floor(values / 7) - np.floor(values.min() / 7) + 1
    assert levels.values[levels.ranks].tolist() == numbers.tolist()
    assert levels.values.tolist() == sorted(set(numbers.tolist()))


def test_moving_intensities_by_whole_bins_changes_nothing() -> None:
    values = np.random.default_rng(0).integers(0, 900, 200).astype(np.float32)
    one, other = discretise(values, bin_width=25), discretise(values + 1000, bin_width=25)
    assert one.ranks.tolist() == other.ranks.tolist()
    assert one.values.tolist() == other.values.tolist()


def test_bins_too_narrow_are_refused_before_memory_ends() -> None:
    assert len(discretise(np.array([0.0, MOST_LEVELS - 1]), bin_width=1).values) == 2
    with pytest.raises(TooManyLevelsError, match=f"1000001 grey levels of width 1, {MOST_LEVELS} are the limit"):
        discretise(np.array([0.0, 1e6]), bin_width=1)
