"""Scoring a case: milliseconds for five regions' Dice, IoU and HD95 beside other ways, as ratios in one run.

    python benchmarks/metrics.py [ROOT] [--cases N]

ROOT is a folder of cases with labels; without one, full-size phantoms are written to a temporary folder. The prediction
is the reference, perturbed by a seeded generator as networks err: moved by up to a voxel an axis, its borders eaten and
grown in patches, and with few or many false blobs. All ways get the same arrays in turn, on one thread; a case's figure
is the best of up to three repetitions, a row's the median over cases. With a GPU, arrays that lie there are scored too.
"""

import argparse
import math
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from scipy import ndimage

from brats_lightning.data.cases import find_cases
from brats_lightning.labels import EDITIONS, Edition, region_labels
from brats_lightning.metrics.bounding_box import Array, joint_bounding_box
from brats_lightning.metrics.case_scores import ALL_SCORES, score_case
from brats_lightning.metrics.empty import EMPTY_POLICIES
from brats_lightning.nifti import read_labels
from brats_lightning.phantom.folder import phantom

REGIONS = region_labels(["ET", "ED", "NCR", "WT", "TC"])
EVERY = f"this project, all {len(ALL_SCORES)} scores"
NAN = EMPTY_POLICIES["nan"]  # as the others do: what is undefined stays so
BLOBS = {"fair": 6, "scattered": 60}
REPETITIONS, ENOUGH_S = 3, 1.0

Labels = npt.NDArray[np.uint8]
Scores = dict[str, float]


@dataclass(frozen=True, eq=False)
class Pair:
    """A case's reference, its perturbed copy (X, Y, Z) and the distances between neighbouring voxels."""

    prediction: Array
    reference: Array
    spacing_mm: tuple[float, ...]


def perturbed(labels: Labels, generator: np.random.Generator, *, blobs: int) -> Labels:
    """A prediction such as a network would make of this reference, with so many false blobs."""
    prediction = np.roll(labels, generator.integers(-1, 2, labels.ndim), axis=tuple(range(labels.ndim)))
    patches = ndimage.gaussian_filter(generator.normal(size=labels.shape).astype(np.float32), 4)
    grown = ndimage.grey_dilation(prediction, size=(3, 3, 3))
    eaten = ndimage.grey_erosion(prediction, size=(3, 3, 3))
    level = float(patches.std())
    prediction = np.where(patches > level, grown, np.where(patches < -level, eaten, prediction))
    for _ in range(blobs):
        radius = int(generator.integers(1, 5))
        centre = [int(generator.integers(size // 4, 3 * size // 4)) for size in labels.shape]
        offsets = np.indices((2 * radius + 1,) * labels.ndim) - radius
        ball = (offsets**2).sum(axis=0) <= radius**2
        window = prediction[tuple(slice(middle - radius, middle + radius + 1) for middle in centre)]
        window[ball] = generator.integers(1, 4)
    return prediction.astype(np.uint8)


def ours(pair: Pair) -> Scores:
    """This project's defaults."""
    return score_case(pair.prediction, pair.reference, spacing_mm=pair.spacing_mm, regions=REGIONS, empty=NAN)


def ours_all(pair: Pair) -> Scores:
    """Every score this project has."""
    return score_case(
        pair.prediction, pair.reference, spacing_mm=pair.spacing_mm, regions=REGIONS, empty=NAN, scores=ALL_SCORES
    )


def ours_by_surfels(pair: Pair) -> Scores:
    """Distances weighed by area, as surface-distance does."""
    return score_case(
        pair.prediction, pair.reference, spacing_mm=pair.spacing_mm, regions=REGIONS, empty=NAN, convention="surfel"
    )


def masks(pair: Pair) -> Iterator[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
    """Each region's two masks where neither is empty."""
    for region, values in REGIONS.items():
        predicted, expected = (np.isin(np.asarray(labels), values) for labels in (pair.prediction, pair.reference))
        if predicted.any() and expected.any():
            yield region, predicted, expected


def monai(pair: Pair) -> Scores:
    """MONAI's functions on one-hot regions, as its tutorials call them."""
    stacked = []
    for labels in (pair.prediction, pair.reference):
        tensor = torch.as_tensor(labels)
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("--cases", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="monai")
    with tempfile.TemporaryDirectory() as folder:
        root = options.root
        if root is None:
            root = Path(folder) / "phantoms"
            phantom(root, cases=options.cases)
        labelled = [(case.label, EDITIONS[case.edition]) for case in find_cases(root).cases if case.label is not None][
            : options.cases
        ]
        packages = " ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "torch", "monai"))
        print(f"{len(labelled)} {'real cases' if options.root else 'phantoms'}, {', '.join(REGIONS)}; one thread")
        print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}")
        for name, blobs in BLOBS.items():
            pairs = [
                read_pair(file, edition, np.random.default_rng(seed), blobs=blobs)
                for seed, (file, edition) in enumerate(labelled)
            ]
            report(pairs, f"{name}, {blobs} blobs")


def read_pair(file: Path, edition: Edition, generator: np.random.Generator, *, blobs: int) -> Pair:
    """A case's labels and what a network might have made of them."""
    volume = read_labels(file)
    reference = np.ascontiguousarray(edition.decode(volume.array))
    return Pair(perturbed(reference, generator, blobs=blobs), reference, volume.grid.spacing_mm)


def report(pairs: list[Pair], title: str) -> None:
    """Time every way on every pair, compare what it found with this project's scores and print a table."""
    ways: dict[str, Callable[[Pair], Scores]] = {
        "MONAI": monai,
        "SciPy distance transforms in boxes": distance_transform,
        "this project": ours,
        "this project, HD95 by surfels (another definition)": ours_by_surfels,
        EVERY: ours_all,
    }
    measured = {name: [timed(way, pair) for pair in pairs] for name, way in ways.items()}
    if torch.cuda.is_available():
        on_gpu = [
            replace(
                pair,
                prediction=torch.as_tensor(pair.prediction).cuda(),
                reference=torch.as_tensor(pair.reference).cuda(),
            )
            for pair in pairs
        ]
        for name in ("this project", EVERY):
            measured[f"{name}, on the GPU"] = [timed(ways[name], pair) for pair in on_gpu]
    own = [scores for _, scores in measured["this project"]]
    base = statistics.median(seconds for seconds, _ in measured["MONAI"])
    print(f"\n| {title} | ms a pair, median (range) | MONAI ÷ it | largest difference: Dice, IoU | HD95 mm |")
    print("|---|---|---|---|---|")
    for name, results in measured.items():
        times = [1000 * seconds for seconds, _ in results]
        middle = statistics.median(times)
        gaps = [largest_gap(results, own, kinds) for kinds in (("dice", "iou"), ("hd95",))]
        print(
            f"| {name} | {middle:.0f} ({min(times):.0f}–{max(times):.0f}) | {1000 * base / middle:.1f} "
            f"| {gaps[0]:.1g} | {gaps[1]:.1g} |"
        )


def timed(way: Callable[[Pair], Scores], pair: Pair) -> tuple[float, Scores]:
    """Seconds, the best of a few, and the scores."""
    seconds: list[float] = []
    scores: Scores = {}
    while len(seconds) < REPETITIONS and sum(seconds) < ENOUGH_S:
        start = time.perf_counter()
        scores = way(pair)
        seconds.append(time.perf_counter() - start)
    return min(seconds), scores


def largest_gap(results: list[tuple[float, Scores]], own: list[Scores], kinds: tuple[str, ...]) -> float:
    """Largest difference of scores that both give."""
    gaps = [
        abs(scores[name] - mine[name])
        for (_, scores), mine in zip(results, own, strict=True)
        for name in scores.keys() & mine.keys()
        if name.startswith(kinds) and not math.isnan(scores[name]) and not math.isnan(mine[name])
    ]
    return max(gaps, default=math.nan)


if __name__ == "__main__":
    main()
