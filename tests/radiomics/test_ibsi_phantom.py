"""The consensus values of the Image Biomarker Standardization Initiative for its digital phantom, three digits each."""

import math

import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.radiomics.first_order import first_order_features
from brats_lightning.radiomics.glcm import glcm_features
from brats_lightning.radiomics.glrlm import glrlm_features
from brats_lightning.radiomics.glszm import glszm_features
from brats_lightning.radiomics.grey_levels import discretise
from brats_lightning.radiomics.neighbours import lines
from brats_lightning.radiomics.shape import shape_features

Phantom = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]

SHAPE = {
    "MeshVolume": (556, 4),
    "VoxelVolume": (592, 4),
    "SurfaceArea": (388, 3),
    "SurfaceVolumeRatio": (0.698, 0.004),
    "Sphericity": (0.843, 0.005),
    "Maximum3DDiameter": (13.1, 0.1),
    "Elongation": (0.816, 0.005),
    "Flatness": (0.749, 0.005),
}
FIRST_ORDER = {
    "10Percentile": 1,
    "90Percentile": 4,
    "Energy": 567,
    "Entropy": 1.27,
    "InterquartileRange": 3,
    "Maximum": 6,
    "Mean": 2.15,
    "MeanAbsoluteDeviation": 1.55,
    "Median": 1,
    "Minimum": 1,
    "Range": 5,
    "RobustMeanAbsoluteDeviation": 1.11,
    "RootMeanSquared": 2.77,
    "Skewness": 1.08,
    "Uniformity": 0.512,
    "Variance": 3.05,
}
GLCM = {
    "Autocorrelation": 5.06,
    "ClusterProminence": 145,
    "ClusterShade": 16.6,
    "ClusterTendency": 7.07,
    "Contrast": 5.32,
    "Correlation": 0.157,
    "DifferenceAverage": 1.43,
    "DifferenceEntropy": 1.56,
    "DifferenceVariance": 3.06,
    "Id": 0.677,
    "Idm": 0.618,
    "Idmn": 0.898,
    "Idn": 0.851,
    "Imc1": -0.157,
    "Imc2": 0.52,
    "InverseVariance": 0.0604,
    "JointAverage": 2.14,
    "JointEnergy": 0.303,
    "JointEntropy": 2.4,
    "MaximumProbability": 0.503,
    "SumAverage": 4.29,
    "SumEntropy": 1.92,
    "SumSquares": 3.1,
}
GLRLM = {
    "GrayLevelNonUniformity": 21.8,
    "GrayLevelNonUniformityNormalized": 0.43,
    "GrayLevelVariance": 3.46,
    "HighGrayLevelRunEmphasis": 9.7,
    "LongRunEmphasis": 3.06,
    "LongRunHighGrayLevelEmphasis": 17.6,
    "LongRunLowGrayLevelEmphasis": 2.39,
    "LowGrayLevelRunEmphasis": 0.603,
    "RunEntropy": 2.43,
    "RunLengthNonUniformity": 26.9,
    "RunLengthNonUniformityNormalized": 0.513,
    "RunPercentage": 0.68,
    "RunVariance": 0.574,
    "ShortRunEmphasis": 0.705,
    "ShortRunHighGrayLevelEmphasis": 8.54,
    "ShortRunLowGrayLevelEmphasis": 0.352,
}
GLSZM = {
    "GrayLevelNonUniformity": 1.4,
    "GrayLevelNonUniformityNormalized": 0.28,
    "GrayLevelVariance": 2.64,
    "HighGrayLevelZoneEmphasis": 15.6,
    "LargeAreaEmphasis": 550,
    "LargeAreaHighGrayLevelEmphasis": 1490,
    "LargeAreaLowGrayLevelEmphasis": 503,
    "LowGrayLevelZoneEmphasis": 0.253,
    "SizeZoneNonUniformity": 1,
    "SizeZoneNonUniformityNormalized": 0.2,
    "SmallAreaEmphasis": 0.255,
    "SmallAreaHighGrayLevelEmphasis": 2.76,
    "SmallAreaLowGrayLevelEmphasis": 0.0256,
    "ZoneEntropy": 2.32,
    "ZonePercentage": 0.0676,
    "ZoneVariance": 331,
}


def three_digits(value: float) -> float:
    return round(value, 2 - math.floor(math.log10(abs(value)))) if value else 0.0


def test_shape(digital_phantom: Phantom) -> None:
    _, mask = digital_phantom
    assert np.count_nonzero(mask) == 74
    found = shape_features(mask, spacing_mm=(2, 2, 2))
    for name, (value, tolerance) in SHAPE.items():
        assert found[name] == pytest.approx(value, abs=tolerance), name


def test_axis_lengths_are_those_of_all_voxels_where_the_ibsi_takes_one_less(digital_phantom: Phantom) -> None:
    found = shape_features(digital_phantom[1], spacing_mm=(2, 2, 2))
    for name, value in {"MajorAxisLength": 11.4, "MinorAxisLength": 9.31, "LeastAxisLength": 8.54}.items():
        assert found[name] * math.sqrt(74 / 73) == pytest.approx(value, abs=0.01), name


def test_first_order(digital_phantom: Phantom) -> None:
    image, mask = digital_phantom
    found = first_order_features(image[mask], discretise(image[mask], bin_width=1), voxel_mm3=8)
    assert {name: three_digits(found[name]) for name in FIRST_ORDER} == FIRST_ORDER
    assert three_digits(found["Kurtosis"] - 3) == -0.355
    assert found["TotalEnergy"] == 8 * 567


def test_texture(digital_phantom: Phantom) -> None:
    image, mask = digital_phantom
    levels, neighbours = discretise(image[mask], bin_width=1), lines(np.argwhere(mask))
    assert levels.values.tolist() == [1, 3, 4, 6]
    for measure, expected in ((glcm_features, GLCM), (glrlm_features, GLRLM), (glszm_features, GLSZM)):
        found = measure(levels, neighbours)
        assert {name: three_digits(found[name]) for name in expected} == expected
        assert set(found) - set(expected) <= {"MCC"}
