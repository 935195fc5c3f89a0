"""Lesion-wise scores of a case: milliseconds beside a full-volume implementation of the same rules, in one run.

    python benchmarks/lesionwise.py [PAIRS] [--rules NAME ...] [--count N]

PAIRS is a folder of folders that hold `pred.nii.gz` and `gt.nii.gz` with the labels of BraTS 2024; without one, tumours
of full-size phantoms are held against themselves, moved and with false blobs. The named alternative does every step on
whole volumes as one would write the rules down, except that its distance transforms stay in the joint bounding box, as
in the surface-distance package. Both get the same arrays in turn, on one thread; ours is the best of three.
"""

import argparse
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from brats_lightning.labels import EDITIONS, REGIONS
from brats_lightning.metrics.bounding_box import joint_bounding_box
from brats_lightning.metrics.lesion_rules import RULES, LesionRules
from brats_lightning.metrics.lesionwise import LesionScores, lesionwise_scores
from brats_lightning.metrics.surfels import surfel_areas
from brats_lightning.nifti import read_labels
from brats_lightning.phantom.folder import phantom

Numbers = npt.NDArray[np.int64]
Volume = npt.NDArray[np.uint8]
Row = dict[str, float]
NEIGHBOURS_18 = ndimage.generate_binary_structure(3, 2)
NEIGHBOURS_26 = ndimage.generate_binary_structure(3, 3)


def full_volume(
    prediction: Volume, reference: Volume, *, spacing_mm: Sequence[float], rules: LesionRules
) -> dict[str, Row]:
    """Scores of each region, one lesion after the other and each on the whole volume."""
    regions = rules.regions

    def numbered(labels: Volume, name: str, *, predicted: bool) -> Numbers:
        region = regions.get(name, regions["ET"])
        mask = np.isin(labels, REGIONS[name])
        if predicted and not rules.merges_predictions:
            return np.asarray(ndimage.label(mask, NEIGHBOURS_26)[0], np.int64)
        numbers = np.where(mask, ndimage.label(dilated(mask, region.dilation), NEIGHBOURS_26)[0], 0)
        for number in numbers_of(numbers) if predicted else ():
            if np.count_nonzero(numbers == number) <= region.ignored:
                numbers[numbers == number] = 0
        return np.asarray(numbers, np.int64)

    rows = {}
    for name, region in regions.items():
        found, true = numbered(prediction, name, predicted=True), numbered(reference, name, predicted=False)
        if region.joined_through:
            found = joined(found, [numbered(prediction, one, predicted=True) for one in region.joined_through])
            true = joined(true, [numbered(reference, one, predicted=False) for one in region.joined_through])
        rows[name] = scored(found, true, spacing_mm, rules, name)
    return rows


def dilated(mask: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.bool_]:
    """The mask and all that so many steps over faces and edges reach."""
    return np.asarray(ndimage.binary_dilation(mask, NEIGHBOURS_18, iterations=steps))


def numbers_of(numbers: Numbers) -> list[int]:
    """Numbers of the lesions, in ascending order."""
    return [int(number) for number in np.unique(numbers) if number]


def joined(tissue: Numbers, partners: Sequence[Numbers]) -> Numbers:
    """Lesions that touch the same lesion of another tissue under one number."""
    for place, number in enumerate(numbers_of(tissue), start=1):
        tissue = np.where(tissue == number, place, tissue)
    for partner in partners:
        touching = {number: numbers_of(partner * dilated(tissue == number, 1)) for number in numbers_of(tissue)}
        if sum(map(len, touching.values())) < 2:
            continue
        order = [number for number, others in touching.items() if not others]
        result = np.zeros_like(tissue)
        for place, number in enumerate(order, start=1):
            result[tissue == number] = place
        groups: dict[int, int] = {}
        for number, others in touching.items():
            if others:
                result[tissue == number] = groups.setdefault(min(others), len(order) + len(groups) + 1)
        tissue = result
    return tissue


def scored(found: Numbers, true: Numbers, spacing_mm: Sequence[float], rules: LesionRules, name: str) -> Row:
    """Scores of one region from the numbered lesions of both sides."""
    region, voxel_mm3 = rules.regions[name], math.prod(spacing_mm)
    penalty_mm = math.sqrt(sum(size**2 for size in found.shape)) if rules.penalty_mm is None else rules.penalty_mm
    dices, distances, missed, matched = [], [], 0, set()
    for number in numbers_of(true):
        lesion = true == number
        matches = numbers_of(found * dilated(lesion, region.dilation))
        matched.update(matches)
        if np.count_nonzero(lesion) * voxel_mm3 > region.ignored:
            missed += not matches
            dices.append(dice(np.isin(found, matches), lesion) if matches else 0.0)
            distances.append(hd95_mm(np.isin(found, matches), lesion, spacing_mm) if matches else penalty_mm)
    false_positives = len(set(numbers_of(found)) - matched)
    total = len(dices) + false_positives
    if not rules.scores_numbers:
        found, true = (found > 0).astype(np.int64), (true > 0).astype(np.int64)
    whole_mm = hd95_mm(found, true, spacing_mm)
    both = int(np.count_nonzero((found == 1) & (true == 1)))
    rejected = int(np.count_nonzero((found != 1) & (true != 1)))
    return {
        "dice": sum(dices) / total if total else 1.0,
        "hd95_mm": (sum(distances) + penalty_mm * false_positives) / total if total else 0.0,
        "true_positives": len(dices) - missed,
        "false_positives": false_positives,
        "false_negatives": missed,
        "whole_dice": dice(found > 0, true > 0),
        "whole_hd95_mm": whole_mm if math.isfinite(whole_mm) else penalty_mm,
        "sensitivity": both / int(true.sum()) if true.any() else float(not found.any()),
        "specificity": rejected / (rejected + int(found.sum()) - both),
    }


def dice(prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> float:
    """2 |P ∩ R| / (|P| + |R|), 1 where both are empty."""
    voxels = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 2 * np.count_nonzero(prediction & reference) / voxels if voxels else 1.0


def hd95_mm(prediction: npt.NDArray[np.generic], reference: npt.NDArray[np.generic], spacing: Sequence[float]) -> float:
    """HD95 over surfels by distance transforms in the joint bounding box."""
    box = joint_bounding_box(prediction, reference)
    weights = np.array([2 ** (7 - bit) for bit in range(8)]).reshape(2, 2, 2)
    codes = [
        np.asarray(ndimage.correlate(np.pad(side[box].astype(np.int64), 1), weights, mode="constant") % 256)
        for side in (prediction, reference)
    ]
    surfaces = [(code != 0) & (code != 255) for code in codes]
    if not (surfaces[0].any() and surfaces[1].any()):
        return math.inf if surfaces[0].any() or surfaces[1].any() else 0.0
    areas, directed = surfel_areas(spacing), []
    for code, surface, other in zip(codes, surfaces, surfaces[::-1], strict=True):
        distances = ndimage.distance_transform_edt(~other, sampling=spacing)[surface]
        order = np.lexsort((areas[code[surface]], distances))
        summed = np.cumsum(areas[code[surface]][order]) / areas[code[surface]][order].sum()
        directed.append(distances[order][min(int(np.searchsorted(summed, 0.95)), order.size - 1)])
    return float(max(directed))


def row(scores: LesionScores) -> Row:
    """Our scores of a region under the alternative's names."""
    names = ("dice", "hd95_mm", "true_positives", "false_positives", "false_negatives", "sensitivity", "specificity")
    return {
        **{name: getattr(scores, name) for name in names},
        "whole_dice": scores.whole.dice,
        "whole_hd95_mm": scores.whole.hd95_mm,
    }


def difference(ours: dict[str, LesionScores], theirs: dict[str, Row]) -> float:
    """Largest difference of any score of any region."""
    return max(abs(row(ours[name])[score] - value) for name in theirs for score, value in theirs[name].items())


def pairs(root: Path | None, count: int) -> Iterator[tuple[str, Volume, Volume, tuple[float, ...]]]:
    """Name, prediction, reference and spacing in mm of each pair."""
    if root is not None:
        edition = EDITIONS["2024-GLI"]
        for folder in sorted(path for path in root.iterdir() if path.is_dir())[:count]:
            sides = [read_labels(folder / f"{side}.nii.gz") for side in ("pred", "gt")]
            known = [np.where(side.array <= max(edition.values), side.array, 0) for side in sides]
            yield folder.name, edition.decode(known[0]), edition.decode(known[1]), sides[1].grid.spacing_mm
        return
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder_name:
        phantom(Path(folder_name), cases=count)
        for path in sorted(Path(folder_name).rglob("*_seg.nii.gz")):
            volume = read_labels(path)
            reference = EDITIONS["2021"].decode(volume.array)
            prediction = np.roll(reference, (1, -1, 1), (0, 1, 2))
            for corner in generator.integers(60, 100, (8, 3)):
                blob = tuple(slice(start, start + int(generator.integers(1, 6))) for start in corner)
                prediction[blob] = generator.integers(1, 4)
            yield path.parent.name, prediction, reference, volume.grid.spacing_mm


def main() -> None:
    """Score each pair both ways by each set of rules and print the times, their ratio and how far the scores differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="?")
    parser.add_argument("--rules", nargs="+", default=["2023-GLI", "2024-GLI", "2024-MET"], choices=RULES)
    parser.add_argument("--count", type=int, default=9, help="pairs to take")
    options = parser.parse_args()
    packages = " ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}\n")
    print(
        "| pair | rules | lesions | ms | full volume, ms | ratio | largest difference |\n|---|---|---|---|---|---|---|"
    )
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in options.rules}
    for pair, prediction, reference, spacing_mm in pairs(options.pairs, options.count):
        for name in options.rules:
            seconds = []
            for _ in range(3):
                start = time.perf_counter()
                ours = lesionwise_scores(prediction, reference, spacing_mm=spacing_mm, rules=RULES[name])
                seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            theirs = full_volume(prediction, reference, spacing_mm=spacing_mm, rules=RULES[name])
            slow, fast = time.perf_counter() - start, min(seconds)
            taken[name].append((fast, slow))
            lesions = sum(len(scores.lesions) for scores in ours.values())
            figures = f"{1000 * fast:.0f} | {1000 * slow:.0f} | {slow / fast:.0f} | {difference(ours, theirs):.1g}"
            print(f"| {pair} | {name} | {lesions} | {figures} |", flush=True)
    for name, times in taken.items():
        fast, slow = (statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(slow / fast for fast, slow in times)
        longest = max(fast for fast, _ in times)
        figures = f"median {1000 * fast:.0f} ms, longest {1000 * longest:.0f} ms, full volume {1000 * slow:.0f} ms"
        print(f"\n{name}: {figures}, median ratio {ratio:.0f}")


if __name__ == "__main__":
    main()
