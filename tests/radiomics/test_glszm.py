"""Zones against labelled components of each grey level, and where they have no meaning."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from brats_lightning.radiomics.glszm import NAMES, glszm_features
from brats_lightning.radiomics.grey_levels import discretise
from brats_lightning.radiomics.neighbours import lines

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float64]


def features(image: Image, mask: Mask, width: float = 1) -> dict[str, float]:
    return glszm_features(discretise(image[mask], bin_width=width), lines(np.argwhere(mask)))


def test_features_are_those_of_labelled_components(scattered: Mask) -> None:
    image = np.random.default_rng(1).integers(1, 5, scattered.shape).astype(np.float64)
    zones: list[tuple[int, int]] = []
    for level in range(1, 5):
        labelled, _ = ndimage.label(scattered & (image == level), np.ones((3, 3, 3)))
        zones += [(level, size) for size in np.bincount(labelled.ravel())[1:].tolist()]
    found = features(image, scattered)
    i, j = np.array(zones, np.float64).T
    cells = np.unique(zones, axis=0, return_counts=True)[1] / len(zones)
    assert found.keys() == NAMES.keys()
    assert found["ZonePercentage"] == pytest.approx(len(zones) / np.count_nonzero(scattered))
    assert found["SmallAreaHighGrayLevelEmphasis"] == pytest.approx(np.mean(i**2 / j**2))
    assert found["LargeAreaLowGrayLevelEmphasis"] == pytest.approx(np.mean(j**2 / i**2))
    assert found["ZoneVariance"] == pytest.approx(np.var(j))
    assert found["SizeZoneNonUniformity"] == pytest.approx((np.bincount(j.astype(int)) ** 2).sum() / len(zones))
    assert found["ZoneEntropy"] == pytest.approx(-(cells * np.log2(cells)).sum())


def test_one_grey_level_is_one_zone_for_each_piece() -> None:
    mask = np.zeros((9, 3, 3), np.bool_)
    mask[:2], mask[5:] = True, True
    found = features(np.full(mask.shape, 40.0), mask)
    assert found["LargeAreaEmphasis"] == (18**2 + 36**2) / 2
    assert found["ZoneEntropy"] == 1


def test_flips_change_nothing(blob: Mask) -> None:
    image = np.random.default_rng(2).normal(0, 60, blob.shape)
    expected = features(image, blob, width=25)
    for turn in (np.s_[::-1], np.s_[:, ::-1], np.s_[:, :, ::-1]):
        assert features(image[turn], blob[turn], width=25) == pytest.approx(expected)


def test_a_single_voxel_has_no_zones() -> None:
    found = features(np.ones((1, 1, 1)), np.ones((1, 1, 1), np.bool_))
    assert all(math.isnan(value) for value in found.values())
