import math

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.radiomics.shape import UNITS, shape_features

Mask = npt.NDArray[np.bool_]


def test_every_feature_has_a_unit_or_none(blob: Mask) -> None:
    assert shape_features(blob, spacing_mm=(1, 1, 1)).keys() == UNITS.keys()


def test_each_feature_scales_as_its_unit_says(blob: Mask) -> None:
    power = {"mm³": 3, "mm²": 2, "mm": 1, "1/mm": -1, "": 0}
    once, twice = (shape_features(blob, spacing_mm=(s, s, s * 1.5)) for s in (1.0, 2.0))
    for name, unit in UNITS.items():
        assert twice[name] == pytest.approx(once[name] * 2.0 ** power[unit]), name


def test_a_box_worked_out_by_hand() -> None:
    found = shape_features(np.ones((10, 4, 2), np.bool_), spacing_mm=(1, 1, 3))
    assert found["VoxelVolume"] == 240
    assert found["MajorAxisLength"] == pytest.approx(4 * math.sqrt((10**2 - 1) / 12))
    assert found["MinorAxisLength"] == pytest.approx(4 * 3 * math.sqrt((2**2 - 1) / 12))
    assert found["LeastAxisLength"] == pytest.approx(4 * math.sqrt((4**2 - 1) / 12))
    assert found["Elongation"] == pytest.approx(found["MinorAxisLength"] / found["MajorAxisLength"])
    assert found["Flatness"] == pytest.approx(found["LeastAxisLength"] / found["MajorAxisLength"])


def test_a_ball_is_round_and_a_needle_is_not() -> None:
    x, y, z = np.ogrid[-12:13, -12:13, -12:13]
    ball = shape_features(x**2 + y**2 + z**2 <= 121, spacing_mm=(1, 1, 1))
    needle = shape_features(np.ones((30, 2, 2), np.bool_), spacing_mm=(1, 1, 1))
    assert 0.9 < ball["Sphericity"] <= 1
    assert ball["Elongation"] == pytest.approx(1)
    assert needle["Sphericity"] < 0.6
    assert needle["Elongation"] < 0.1


@pytest.mark.parametrize(
    ("shape", "undefined"),
    [
        ((1, 1, 1), {"MajorAxisLength", "MinorAxisLength", "LeastAxisLength", "Elongation", "Flatness"}),
        ((1, 7, 1), {"MinorAxisLength", "LeastAxisLength", "Elongation", "Flatness"}),
        ((4, 7, 1), {"LeastAxisLength", "Flatness"}),
        ((4, 7, 2), set()),
    ],
)
def test_what_a_region_is_too_flat_for_is_undefined(shape: tuple[int, int, int], undefined: set[str]) -> None:
    found = shape_features(np.ones(shape, np.bool_), spacing_mm=(1, 1, 1))
    assert {name for name, value in found.items() if math.isnan(value)} == undefined
