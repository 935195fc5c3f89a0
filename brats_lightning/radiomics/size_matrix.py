"""Features of a matrix that counts pieces of a region by grey level and size: runs (GLRLM) and zones (GLSZM) alike."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Emphases:
    """The sixteen features that both matrices have, under names that fit both.

    "Small" and "large" mean short and long where the pieces are runs.
    """

    small: float
    large: float
    low_level: float
    high_level: float
    small_low: float
    small_high: float
    large_low: float
    large_high: float
    level_non_uniformity: float
    level_non_uniformity_normalised: float
    size_non_uniformity: float
    size_non_uniformity_normalised: float
    share: float
    level_variance: float
    size_variance: float
    entropy: float


def emphases(levels: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], *, voxels: int) -> Emphases:
    """Features of pieces, each voxel of the region being in one of them.

    Args:
        levels: (P,) grey level of each piece, from 1.
        sizes: (P,) number of its voxels.
        voxels: Of the region.
    """
    longest = int(sizes.max()) + 1
    counts = np.bincount(levels * longest + sizes)
    cells = np.flatnonzero(counts)
    i, j, p = cells // longest, cells % longest, counts[cells] / len(levels)
    squares_i, squares_j = i.astype(np.float64) ** 2, j.astype(np.float64) ** 2
    of_level, of_size = np.bincount(i, p), np.bincount(j, p)
    level_uniformity, size_uniformity = float(of_level @ of_level), float(of_size @ of_size)
    return Emphases(
        small=float(p @ (1 / squares_j)),
        large=float(p @ squares_j),
        low_level=float(p @ (1 / squares_i)),
        high_level=float(p @ squares_i),
        small_low=float(p @ (1 / (squares_i * squares_j))),
        small_high=float(p @ (squares_i / squares_j)),
        large_low=float(p @ (squares_j / squares_i)),
        large_high=float(p @ (squares_i * squares_j)),
        level_non_uniformity=level_uniformity * len(levels),
        level_non_uniformity_normalised=level_uniformity,
        size_non_uniformity=size_uniformity * len(levels),
        size_non_uniformity_normalised=size_uniformity,
        share=len(levels) / voxels,
        level_variance=float(p @ (i - p @ i) ** 2),
        size_variance=float(p @ (j - p @ j) ** 2),
        entropy=float(-(p * np.log2(p)).sum()) + 0.0,  # no -0.0
    )
