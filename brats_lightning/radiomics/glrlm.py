"""Grey-level run lengths (GLRLM): how long grey levels go on in a line; features as pyradiomics names them.

A matrix for each of the thirteen directions; each feature is the average over the directions. Galloway, Texture
analysis using gray level run lengths, Computer Graphics and Image Processing 1975; definitions: Zwanenburg et al., The
Image Biomarker Standardization Initiative, Radiology 2020, reference manual section 3.7, aggregation "3D, averaged".
"""

from collections.abc import Mapping, Sequence

import numpy as np

from brats_lightning.radiomics.grey_levels import GreyLevels
from brats_lightning.radiomics.neighbours import Lines
from brats_lightning.radiomics.size_matrix import Emphases, emphases

NAMES: Mapping[str, str] = {
    "ShortRunEmphasis": "small",
    "LongRunEmphasis": "large",
    "LowGrayLevelRunEmphasis": "low_level",
    "HighGrayLevelRunEmphasis": "high_level",
    "ShortRunLowGrayLevelEmphasis": "small_low",
    "ShortRunHighGrayLevelEmphasis": "small_high",
    "LongRunLowGrayLevelEmphasis": "large_low",
    "LongRunHighGrayLevelEmphasis": "large_high",
    "GrayLevelNonUniformity": "level_non_uniformity",
    "GrayLevelNonUniformityNormalized": "level_non_uniformity_normalised",
    "RunLengthNonUniformity": "size_non_uniformity",
    "RunLengthNonUniformityNormalized": "size_non_uniformity_normalised",
    "RunPercentage": "share",
    "GrayLevelVariance": "level_variance",
    "RunVariance": "size_variance",
    "RunEntropy": "entropy",
}


def glrlm_features(levels: GreyLevels, lines: Sequence[Lines]) -> dict[str, float]:
    """Run-length features of a region.

    Args:
        levels: Of its voxels.
        lines: Of the same voxels.

    Returns:
        By name, averaged over the directions; NaN where there is none.
    """
    if not lines:
        return dict.fromkeys(NAMES, np.nan)
    found = [_runs(levels, one) for one in lines]
    return {name: float(np.mean([getattr(one, field) for one in found])) for name, field in NAMES.items()}


def _runs(levels: GreyLevels, lines: Lines) -> Emphases:
    ranks = levels.ranks[lines.order]
    starts = np.flatnonzero(np.r_[True, ~lines.linked | (ranks[1:] != ranks[:-1])])
    lengths = np.diff(np.r_[starts, len(ranks)])
    return emphases(levels.values[ranks[starts]], lengths, voxels=len(ranks))
