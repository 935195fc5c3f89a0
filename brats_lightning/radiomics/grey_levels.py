"""Intensities of a region in bins of one width: the grey levels that entropy and texture count."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_LEVELS = 2048
"""More say nothing about texture, and the matrices of texture have this number squared of cells."""


class TooManyLevelsError(ValueError):
    """Bins too narrow for the intensities; its text says how many there would be."""


@dataclass(frozen=True, eq=False)
class GreyLevels:
    """Grey level of each voxel of a region.

    Args:
        ranks: (N,) index of each voxel's level among those that occur.
        values: (L,) the levels that occur, rising from 1; between them some may be missing.
    """

    ranks: npt.NDArray[np.int64]
    values: npt.NDArray[np.int64]


def discretise(intensities: npt.NDArray[np.floating], *, bin_width: float) -> GreyLevels:
    """Sort intensities into bins of a fixed width, counted from the lowest one of the region.

    Edges are multiples of the width, as in pyradiomics. The IBSI's "fixed bin size" begins at a lower limit given by
    the user; the two agree where that is such a multiple (reference manual, section 2.7).

    Args:
        intensities: (N,) of the region, at least one.
        bin_width: In the unit of the intensities.

    Raises:
        TooManyLevelsError: There would be more than `MOST_LEVELS`.

    Example:
        >>> levels = discretise(np.array([30.0, 49.0, 50.0, 130.0]), bin_width=25)
        >>> levels.values.tolist(), levels.ranks.tolist()
        ([1, 2, 5], [0, 0, 1, 2])
    """
    bins = np.floor(intensities.astype(np.float64) / bin_width)
    span = bins.max() - bins.min() + 1
    if span > MOST_LEVELS:
        raise TooManyLevelsError(f"{span:.0f} grey levels of width {bin_width:g}, {MOST_LEVELS} are the limit")
    levels = (bins - bins.min()).astype(np.int64)
    occupied = np.flatnonzero(np.bincount(levels))
    ranks = np.zeros(int(span), np.int64)
    ranks[occupied] = np.arange(len(occupied))
    return GreyLevels(ranks[levels], occupied + 1)
