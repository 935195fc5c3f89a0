"""Run lengths against a walk along every line, and where they have no meaning."""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.radiomics.glrlm import NAMES, glrlm_features
from brats_lightning.radiomics.grey_levels import discretise
from brats_lightning.radiomics.neighbours import DIRECTIONS, lines

Mask = npt.NDArray[np.bool_]
Image = npt.NDArray[np.float64]


def features(image: Image, mask: Mask, width: float = 1) -> dict[str, float]:
    return glrlm_features(discretise(image[mask], bin_width=width), lines(np.argwhere(mask)))


def runs(image: Image, mask: Mask, direction: tuple[int, int, int]) -> Counter[tuple[int, int]]:
    """How often each grey level has each length, walking from every voxel that begins a run."""
    levels = {tuple(voxel): int(image[tuple(voxel)]) for voxel in np.argwhere(mask).tolist()}
    found: Counter[tuple[int, int]] = Counter()
    for voxel, level in levels.items():
        if levels.get(tuple(np.subtract(voxel, direction).tolist())) == level:
            continue
        length, at = 0, voxel
        while levels.get(at) == level:
            length, at = length + 1, tuple(np.add(at, direction).tolist())
        found[level, length] += 1
    return found


def test_features_are_those_of_runs_walked_one_by_one(scattered: Mask) -> None:
    image = np.random.default_rng(1).integers(1, 4, scattered.shape).astype(np.float64)
    found = features(image, scattered)
    assert found.keys() == NAMES.keys()
    slow = []
    for direction in DIRECTIONS:
        cells = runs(image, scattered, direction)
        total = sum(cells.values())
        levels = [sum(n for (i, _), n in cells.items() if i == level) for level in (1, 2, 3)]
        mean = sum(j * n for (_, j), n in cells.items()) / total
        slow.append(
            {
                "LongRunLowGrayLevelEmphasis": sum(n * j**2 / i**2 for (i, j), n in cells.items()) / total,
                "GrayLevelNonUniformity": sum(n**2 for n in levels) / total,
                "RunPercentage": total / np.count_nonzero(scattered),
                "RunVariance": sum(n * (j - mean) ** 2 for (_, j), n in cells.items()) / total,
                "RunEntropy": -sum(n / total * math.log2(n / total) for n in cells.values()),
            }
        )
    for name in slow[0]:
        assert found[name] == pytest.approx(np.mean([one[name] for one in slow])), name


def test_a_gap_in_the_region_ends_a_run() -> None:
    image, mask = np.ones((7, 1, 1)), np.array([1, 1, 1, 0, 1, 1, 0], np.bool_).reshape(7, 1, 1)
    assert features(image, mask)["LongRunEmphasis"] == (9 + 4) / 2


def test_flips_change_nothing(blob: Mask) -> None:
    image = np.random.default_rng(2).normal(0, 60, blob.shape)
    expected = features(image, blob, width=25)
    for turn in (np.s_[::-1], np.s_[:, ::-1], np.s_[:, :, ::-1]):
        assert features(image[turn], blob[turn], width=25) == pytest.approx(expected)


def test_a_single_voxel_has_no_runs() -> None:
    found = features(np.ones((1, 1, 1)), np.ones((1, 1, 1), np.bool_))
    assert all(math.isnan(value) for value in found.values())
