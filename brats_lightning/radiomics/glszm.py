"""Grey-level size zones (GLSZM): how large areas of one grey level are; features as pyradiomics names them.

A zone is what one can reach from a voxel by steps to any of the 26 neighbours without leaving its grey level. Thibault
et al., Texture indexes and gray level size zone matrix, PRIP 2009; definitions: Zwanenburg et al., The Image Biomarker
Standardization Initiative, Radiology 2020, reference manual section 3.8, aggregation "3D".
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from brats_lightning.radiomics.grey_levels import GreyLevels
from brats_lightning.radiomics.neighbours import Lines
from brats_lightning.radiomics.size_matrix import emphases

NAMES: Mapping[str, str] = {
    "SmallAreaEmphasis": "small",
    "LargeAreaEmphasis": "large",
    "LowGrayLevelZoneEmphasis": "low_level",
    "HighGrayLevelZoneEmphasis": "high_level",
    "SmallAreaLowGrayLevelEmphasis": "small_low",
    "SmallAreaHighGrayLevelEmphasis": "small_high",
    "LargeAreaLowGrayLevelEmphasis": "large_low",
    "LargeAreaHighGrayLevelEmphasis": "large_high",
    "GrayLevelNonUniformity": "level_non_uniformity",
    "GrayLevelNonUniformityNormalized": "level_non_uniformity_normalised",
    "SizeZoneNonUniformity": "size_non_uniformity",
    "SizeZoneNonUniformityNormalized": "size_non_uniformity_normalised",
    "ZonePercentage": "share",
    "GrayLevelVariance": "level_variance",
    "ZoneVariance": "size_variance",
    "ZoneEntropy": "entropy",
}


def glszm_features(levels: GreyLevels, lines: Sequence[Lines]) -> dict[str, float]:
    """Zone features of a region.

    Args:
        levels: Of its voxels.
        lines: Of the same voxels.

    Returns:
        By name; NaN for a single voxel.
    """
    count = len(levels.ranks)
    if not lines:
        return dict.fromkeys(NAMES, np.nan)
    ends = [_neighbours_alike(levels, one) for one in lines]
    one, other = (np.concatenate(end) for end in zip(*ends, strict=True))
    links = coo_array((np.ones(len(one), np.bool_), (one, other)), shape=(count, count))
    _, zones = connected_components(links, directed=False)
    sizes = np.bincount(zones)
    of_zone = np.zeros(len(sizes), np.int64)
    of_zone[zones] = levels.values[levels.ranks]
    found = emphases(of_zone, sizes, voxels=count)
    return {name: getattr(found, field) for name, field in NAMES.items()}


def _neighbours_alike(levels: GreyLevels, lines: Lines) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of neighbours of one grey level in one direction."""
    ranks = levels.ranks[lines.order]
    at = np.flatnonzero(lines.linked & (ranks[1:] == ranks[:-1]))
    return lines.order[at], lines.order[at + 1]
