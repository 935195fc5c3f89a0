import math

import numpy as np
import pytest
from scipy import stats

from brats_lightning.radiomics.first_order import UNITS, first_order_features
from brats_lightning.radiomics.grey_levels import discretise

VALUES = np.random.default_rng(0).gamma(3, 150, 500)


def features(values: np.ndarray[tuple[int], np.dtype[np.float64]], width: float = 25) -> dict[str, float]:
    return first_order_features(values, discretise(values, bin_width=width), voxel_mm3=1.5)


def test_features_are_those_of_scipy() -> None:
    found = features(VALUES)
    levels = discretise(VALUES, bin_width=25)
    assert found.keys() == UNITS.keys()
    assert found["Skewness"] == pytest.approx(stats.skew(VALUES))
    assert found["Kurtosis"] == pytest.approx(stats.kurtosis(VALUES, fisher=False))
    assert found["Entropy"] == pytest.approx(stats.entropy(np.bincount(levels.ranks), base=2))
    assert found["InterquartileRange"] == pytest.approx(stats.iqr(VALUES))
    assert found["TotalEnergy"] == pytest.approx(1.5 * found["RootMeanSquared"] ** 2 * len(VALUES))
    low, high = found["10Percentile"], found["90Percentile"]
    middle = VALUES[(low <= VALUES) & (high >= VALUES)]
    assert found["RobustMeanAbsoluteDeviation"] == pytest.approx(np.abs(middle - middle.mean()).mean())


def test_features_follow_the_intensities() -> None:
    once, twice = features(VALUES), features(2 * VALUES, width=50)
    power = {"intensity": 1, "intensity²": 2, "intensity² mm³": 2, "": 0, "bit": 0}
    for name, unit in UNITS.items():
        assert twice[name] == pytest.approx(once[name] * 2 ** power[unit]), name


def test_intensities_that_are_all_the_same_have_no_skewness() -> None:
    found = features(np.full(9, 0.1))
    assert {name for name, value in found.items() if math.isnan(value)} == {"Skewness", "Kurtosis"}
    assert (found["Entropy"], found["Uniformity"], found["Range"]) == (0, 1, 0)
    assert math.copysign(1, found["Entropy"]) == 1
