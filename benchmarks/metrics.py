"""Scoring a case: milliseconds for five regions' Dice, IoU and HD95 beside other ways, as ratios in one run.

    python benchmarks/metrics.py [ROOT] [--cases N]

ROOT is a folder of cases with labels; without one, full-size phantoms are written to a temporary folder. The prediction
is the reference, perturbed by a seeded generator as networks err: moved by a voxel, its borders eaten and grown in
patches, and with false blobs far from it. All ways get the same arrays in turn, on one thread; each case's figure is
the best of a few repetitions, each row's the median over cases.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from scipy import ndimage

from brats_lightning.data.cases import find_cases
from brats_lightning.labels import EDITIONS, region_labels
from brats_lightning.metrics.bounding_box import joint_bounding_box
from brats_lightning.metrics.case_scores import score_case
from brats_lightning.metrics.empty import EMPTY_POLICIES
from brats_lightning.nifti import read_labels
from brats_lightning.phantom.folder import phantom

REGIONS = region_labels(["ET", "ED", "NCR", "WT", "TC"])
NAN = EMPTY_POLICIES["nan"]  # as the others do: what is undefined stays so
BLOBS, SEED = 6, 0
ALL_SCORES = ("dice", "iou", "sensitivity", "specificity", "precision", "hd95_mm", "hd100_mm", "assd_mm", "nsd_1mm")

Labels = npt.NDArray[np.uint8]
Scores = dict[str, float]


@dataclass(frozen=True, eq=False)
class Pair:
    """A case's reference, its perturbed copy (X, Y, Z) and the distances between neighbouring voxels."""

    case: str
    prediction: Labels
    reference: Labels
    spacing_mm: tuple[float, ...]


def perturbed(labels: Labels, generator: np.random.Generator) -> Labels:
    """A prediction such as a fair network would make of this reference."""
    prediction = np.roll(labels, generator.integers(-1, 2, labels.ndim), axis=tuple(range(labels.ndim)))
    patches = ndimage.gaussian_filter(generator.normal(size=labels.shape).astype(np.float32), 4)
    grown = ndimage.grey_dilation(prediction, size=(3, 3, 3))
    eaten = ndimage.grey_erosion(prediction, size=(3, 3, 3))
    level = float(patches.std())
    prediction = np.where(patches > level, grown, np.where(patches < -level, eaten, prediction))
    for _ in range(BLOBS):
        radius = int(generator.integers(1, 5))
        centre = [int(generator.integers(size // 4, 3 * size // 4)) for size in labels.shape]
        offsets = np.indices((2 * radius + 1,) * labels.ndim) - radius
        ball = (offsets**2).sum(axis=0) <= radius**2
        window = prediction[tuple(slice(middle - radius, middle + radius + 1) for middle in centre)]
        window[ball] = generator.integers(1, 4)
    return prediction.astype(np.uint8)


def ours(pair: Pair) -> Scores:
    """This project."""
    return score_case(pair.prediction, pair.reference, spacing_mm=pair.spacing_mm, regions=REGIONS, empty=NAN)


def masks(pair: Pair) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Each region's two masks where neither is empty."""
    for region, values in REGIONS.items():
        predicted, expected = (np.isin(labels, values) for labels in (pair.prediction, pair.reference))
        if predicted.any() and expected.any():
            yield region, predicted, expected


def monai(pair: Pair) -> Scores:
    """MONAI's functions on one-hot regions, as its tutorials call them."""
    stacked = []
    for labels in (pair.prediction, pair.reference):
        tensor = torch.from_numpy(labels)
        regions = [torch.isin(tensor, torch.tensor(values)) for values in REGIONS.values()]
        stacked.append(torch.stack(regions)[None].float())
    distance = compute_hausdorff_distance(
        *stacked, include_background=True, percentile=95, spacing=list(pair.spacing_mm)
    )
    found = {
        "dice": compute_dice(*stacked, include_background=True, ignore_empty=False),
        "iou": compute_iou(*stacked, include_background=True, ignore_empty=False),
        "hd95_mm": distance,
    }
    return {f"{score}_{region}": float(found[score][0, i]) for i, region in enumerate(REGIONS) for score in found}


def distance_transform(pair: Pair) -> Scores:
    """SciPy's exact distance transform inside each region's joint bounding box."""
    scores: Scores = {}
    for region, predicted, expected in masks(pair):
        box = joint_bounding_box(predicted, expected)
        cut = [np.pad(mask[box], 1) for mask in (predicted, expected)]
        edges = [mask & ~ndimage.binary_erosion(mask) for mask in cut]
        directed = [
            ndimage.distance_transform_edt(~edges[1 - side], sampling=pair.spacing_mm)[edges[side]] for side in (0, 1)
        ]
        both = np.count_nonzero(cut[0] & cut[1])
        total = np.count_nonzero(cut[0]) + np.count_nonzero(cut[1])
        scores[f"dice_{region}"], scores[f"iou_{region}"] = 2 * both / total, both / (total - both)
        scores[f"hd95_mm_{region}"] = float(max(np.percentile(side, 95) for side in directed))
    return scores


if __name__ == "__main__":
    pass
