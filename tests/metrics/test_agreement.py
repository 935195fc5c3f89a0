import math

import numpy as np
import pytest

from brats_lightning.metrics.agreement import Agreement, agreement

SPACING = (1.0, 1.0, 1.0)


def test_masks_that_are_equal_agree() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[2:6, 3:7, 1:8] = True
    found = agreement(mask, mask, spacing_mm=SPACING, nsd_tolerances_mm=(0.5, 1))
    assert found == Agreement(1.0, 0.0, {0.5: 1.0, 1: 1.0})


def test_empty_masks_agree_and_one_empty_mask_does_not() -> None:
    empty, mask = np.zeros((2, 5, 5, 5), bool)
    mask[2, 2, 2] = True
    assert agreement(empty, empty, spacing_mm=SPACING, nsd_tolerances_mm=(1,)) == Agreement(1.0, 0.0, {1: 1.0})
    for sides in ((empty, mask), (mask, empty)):
        found = agreement(*sides, spacing_mm=SPACING, nsd_tolerances_mm=(1,))
        assert found == Agreement(0.0, math.inf, {1: 0.0})


def test_a_row_that_is_twice_as_long() -> None:
    short, long = np.zeros((2, 14, 5, 5), bool)
    short[2:6, 2, 2] = long[2:10, 2, 2] = True
    found = agreement(long, short, spacing_mm=(2, 1, 1), nsd_tolerances_mm=(1, 2, 5))
    assert found.dice == pytest.approx(2 / 3)
    # Forth 4, 5, 5 and 6 of 8 voxels lie within the tolerance, back all of 4.
    assert found.nsd == pytest.approx({1: (4 / 8 + 1) / 2, 2: (5 / 8 + 1) / 2, 5: (6 / 8 + 1) / 2})


def test_numbers_of_lesions_count_as_a_mask_but_for_hd95() -> None:
    numbers = np.zeros((20, 20, 20), np.int32)
    numbers[3:17, 3:17, 3:17] = 2
    found = agreement(numbers, numbers > 0, spacing_mm=SPACING, nsd_tolerances_mm=(1,))
    assert (found.dice, found.nsd) == (1.0, {1: 1.0})
    assert found.hd95_mm == 3  # the wrapped code makes the inside a surface
