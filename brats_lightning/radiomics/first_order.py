"""First-order features: how the intensities of a region are distributed, wherever they are; as pyradiomics names them.

Definitions: Zwanenburg et al., The Image Biomarker Standardization Initiative, Radiology 2020, and its reference
manual, sections 3.3 (intensity-based statistics) and 3.4 (entropy and uniformity of the histogram). As in pyradiomics
the kurtosis of a normal distribution is 3; the IBSI's is lower by 3.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from brats_lightning.radiomics.grey_levels import GreyLevels

UNITS: Mapping[str, str] = {
    "10Percentile": "intensity",
    "90Percentile": "intensity",
    "Energy": "intensity²",
    "Entropy": "bit",
    "InterquartileRange": "intensity",
    "Kurtosis": "",
    "Maximum": "intensity",
    "Mean": "intensity",
    "MeanAbsoluteDeviation": "intensity",
    "Median": "intensity",
    "Minimum": "intensity",
    "Range": "intensity",
    "RobustMeanAbsoluteDeviation": "intensity",
    "RootMeanSquared": "intensity",
    "Skewness": "",
    "TotalEnergy": "intensity² mm³",
    "Uniformity": "",
    "Variance": "intensity²",
}


def first_order_features(
    intensities: npt.NDArray[np.floating], levels: GreyLevels, *, voxel_mm3: float
) -> dict[str, float]:
    """Distribution of the intensities of a region.

    Args:
        intensities: (N,), at least one.
        levels: The same voxels in bins.
        voxel_mm3: Volume of a voxel in mm³.

    Returns:
        By the names of `UNITS`; skewness and kurtosis are NaN where all intensities are the same.
    """
    values = intensities.astype(np.float64)
    low, first, median, third, high = np.percentile(values, [10, 25, 50, 75, 90])
    mean = values.mean()
    variance = np.square(values - mean).mean()
    middle = values[(values >= low) & (values <= high)]
    energy = np.square(values).sum()
    share = np.bincount(levels.ranks) / len(values)
    spread = variance if values.min() < values.max() else np.nan
    features = {
        "10Percentile": low,
        "90Percentile": high,
        "Energy": energy,
        "Entropy": -(share * np.log2(share)).sum() + 0.0,  # no -0.0
        "InterquartileRange": third - first,
        "Kurtosis": ((values - mean) ** 4).mean() / spread**2,
        "Maximum": values.max(),
        "Mean": mean,
        "MeanAbsoluteDeviation": np.abs(values - mean).mean(),
        "Median": median,
        "Minimum": values.min(),
        "Range": values.max() - values.min(),
        "RobustMeanAbsoluteDeviation": np.abs(middle - middle.mean()).mean() if len(middle) else np.nan,
        "RootMeanSquared": np.sqrt(energy / len(values)),
        "Skewness": ((values - mean) ** 3).mean() / spread**1.5,
        "TotalEnergy": energy * voxel_mm3,
        "Uniformity": np.square(share).sum(),
        "Variance": variance,
    }
    return {name: float(feature) for name, feature in features.items()}
