"""Grey-level co-occurrence (GLCM): which grey levels lie next to each other; features as pyradiomics names them.

One symmetric matrix for each of the thirteen directions, a voxel's distance away; each feature is the average over the
directions. Haralick, Shanmugam and Dinstein, Textural features for image classification, IEEE Trans SMC 1973;
definitions: Zwanenburg et al., The Image Biomarker Standardization Initiative, Radiology 2020, reference manual section
3.6, aggregation "3D, averaged". Not of the IBSI: MCC, the maximal correlation coefficient (Haralick's fourteenth).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.radiomics.grey_levels import GreyLevels
from brats_lightning.radiomics.neighbours import Lines

Numbers = npt.NDArray[np.float64]

NAMES: tuple[str, ...] = (
    "Autocorrelation",
    "ClusterProminence",
    "ClusterShade",
    "ClusterTendency",
    "Contrast",
    "Correlation",
    "DifferenceAverage",
    "DifferenceEntropy",
    "DifferenceVariance",
    "Id",
    "Idm",
    "Idmn",
    "Idn",
    "Imc1",
    "Imc2",
    "InverseVariance",
    "JointAverage",
    "JointEnergy",
    "JointEntropy",
    "MCC",
    "MaximumProbability",
    "SumAverage",
    "SumEntropy",
    "SumSquares",
)


def glcm_features(levels: GreyLevels, lines: Sequence[Lines]) -> dict[str, float]:
    """Co-occurrence features of a region.

    Args:
        levels: Of its voxels.
        lines: Of the same voxels.

    Returns:
        By name, averaged over the directions that have neighbours. All NaN where no voxel has one; correlation, Imc1
        and MCC are NaN in directions with one grey level alone.
    """
    found = [matrix for one in lines if (matrix := _co_occurrence(levels, one)).any()]
    if not found:
        return dict.fromkeys(NAMES, np.nan)
    features = [_features(matrix, levels.values) for matrix in found]
    # Where every direction is NaN the average is too; numpy.nanmean would warn.
    averages = {}
    for name in NAMES:
        defined = [one[name] for one in features if not np.isnan(one[name])]
        averages[name] = float(np.mean(defined)) if defined else np.nan
    return averages


def _co_occurrence(levels: GreyLevels, lines: Lines) -> Numbers:
    """(L, L) how often two levels are neighbours in one direction or its opposite."""
    count = len(levels.values)
    ranks = levels.ranks[lines.order]
    pairs = (ranks[:-1] * count + ranks[1:])[lines.linked]
    matrix = np.bincount(pairs, minlength=count**2).reshape(count, count)
    return (matrix + matrix.T).astype(np.float64)


def _features(matrix: Numbers, values: npt.NDArray[np.int64]) -> dict[str, Any]:
    matrix = matrix / matrix.sum()
    rows, columns = np.nonzero(matrix)
    p, i, j = matrix[rows, columns], values[rows], values[columns]
    margin = matrix.sum(0)  # of rows and of columns alike
    mean = values @ margin
    variance = np.square(values - mean) @ margin
    several = np.count_nonzero(margin) > 1
    highest = int(values[-1])
    differences = np.bincount(np.abs(i - j), p).astype(np.float64)
    sums = np.bincount(i + j, p).astype(np.float64)
    k, total = np.arange(len(differences)), np.arange(len(sums))
    difference, centred = k @ differences, i + j - 2 * mean
    own, joint = _entropy(margin), _entropy(p)
    across = -(p * np.log2(margin[rows] * margin[columns])).sum()
    covariance = (i * j) @ p - mean**2
    return {
        "Autocorrelation": (i * j) @ p,
        "ClusterProminence": centred**4 @ p,
        "ClusterShade": centred**3 @ p,
        "ClusterTendency": centred**2 @ p,
        "Contrast": k**2 @ differences,
        "Correlation": covariance / variance if several else np.nan,
        "DifferenceAverage": difference,
        "DifferenceEntropy": _entropy(differences),
        "DifferenceVariance": (k - difference) ** 2 @ differences,
        "Id": (differences / (1 + k)).sum(),
        "Idm": (differences / (1 + k**2)).sum(),
        "Idmn": (differences / (1 + (k / highest) ** 2)).sum(),
        "Idn": (differences / (1 + k / highest)).sum(),
        "Imc1": (joint - across) / own if several else np.nan,
        "Imc2": np.sqrt(1 - np.exp(-2 * max(2 * own - joint, 0.0))),
        "InverseVariance": (differences[1:] / k[1:] ** 2).sum(),
        "JointAverage": mean,
        "JointEnergy": p @ p,
        "JointEntropy": joint,
        "MCC": _maximal_correlation(matrix, margin) if several else np.nan,
        "MaximumProbability": p.max(),
        "SumAverage": total @ sums,
        "SumEntropy": _entropy(sums),
        "SumSquares": variance,
    }


def _entropy(probabilities: Numbers) -> float:
    """In bits."""
    some = probabilities[probabilities > 0]
    return float(-(some * np.log2(some)).sum()) + 0.0  # no -0.0


def _maximal_correlation(matrix: Numbers, margin: Numbers) -> float:
    """Second-largest singular value of the matrix, each cell over the root of its margins; the largest is 1."""
    occupied = margin > 0
    scale = 1 / np.sqrt(margin[occupied])
    scaled = matrix[np.ix_(occupied, occupied)] * scale * scale[:, None]
    return float(np.sort(np.abs(np.linalg.eigvalsh(scaled)))[-2])
