"""Score a case from its two files, on the reference's own grid and axes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform
from scipy import ndimage

from brats_lightning.errors import Problem
from brats_lightning.evaluation.conventions import Sides, Way, side_by_side
from brats_lightning.evaluation.label_files import read_label_map
from brats_lightning.evaluation.matching import Pair
from brats_lightning.evaluation.measures import Measures
from brats_lightning.labels import EDITIONS, MASK, REGIONS, WHOLE
from brats_lightning.metrics.case_scores import ACCURACY, score_case
from brats_lightning.metrics.empty import empty_policy
from brats_lightning.metrics.lesion_rules import RULES
from brats_lightning.metrics.lesionwise import lesionwise_scores
from brats_lightning.nifti import UnreadableVolumeError, Volume
from brats_lightning.parallel import in_parallel
from brats_lightning.reports.scores import RegionRow

Labels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scored:
    """Scores of a case.

    Args:
        rows: One a region; regions that the reference's edition does not have are left out.
        conventions: Dice and HD95 in mm by convention and region, where they were asked for.
    """

    rows: tuple[RegionRow, ...]
    conventions: Mapping[Way, Sides] = field(default_factory=dict)


def score_pairs(pairs: Sequence[Pair], measures: Measures, *, workers: int) -> tuple[dict[str, Scored], list[Problem]]:
    """Score cases on several processes.

    Returns:
        Scores by case in alphabetical order, and why some cases have none.
    """
    scored: dict[str, Scored] = {}
    problems: list[Problem] = []
    jobs = [(pair, measures) for pair in pairs]
    for (pair, _), result in in_parallel(score_pair, jobs, workers=workers, doing="Scoring cases"):
        if isinstance(result, Problem):
            problems.append(result)
        else:
            scored[pair.case] = result
    return {case: scored[case] for case in sorted(scored)}, problems


def score_pair(job: tuple[Pair, Measures]) -> Scored | Problem:
    """Score one case, or say why that is impossible."""
    pair, measures = job
    try:
        prediction, reference, spacing_mm = read_pair(pair)
    except UnreadableVolumeError as error:
        return Problem(pair.case, "", str(error), "mend the file")
    regions = measures.regions_of(pair.reference_edition)
    row = score_case(
        prediction,
        reference,
        spacing_mm=spacing_mm,
        regions=regions,
        empty=empty_policy(measures.empty),
        scores=measures.scores,
        convention=measures.distances,
    )
    lesions = _lesionwise(prediction, reference, spacing_mm, regions, measures.rules) if measures.rules else {}
    about = {
        "empty_masks": measures.empty,
        "distances": measures.distances,
        **({"rules": measures.rules} if measures.rules else {}),
        "grid": "native",
        "note": _note(pair),
    }
    rows = tuple(
        RegionRow(
            pair.case,
            region,
            {
                **{name: row[f"{name}_{region}"] for name in measures.scores if name != ACCURACY},
                ACCURACY: row[ACCURACY],
                **lesions.get(region, {}),
            },
            about,
        )
        for region in regions
    )
    if not measures.every_convention:
        return Scored(rows)
    tried = side_by_side(
        prediction, reference, case=pair.case, spacing_mm=spacing_mm, regions=regions, rules=measures.rules
    )
    return Scored(rows, tried)


def _note(pair: Pair) -> str:
    if pair.prediction is None:
        return "no prediction: counted as empty"
    return "prediction resampled" if pair.resampled else ""


def read_pair(pair: Pair) -> tuple[Labels, Labels, tuple[float, float, float]]:
    """Predicted and reference labels as inside the program, on the reference's axes, and its spacing in mm.

    Where one of them is a mask of the whole tumour, so is what the other one is compared as.

    Raises:
        UnreadableVolumeError: A file has changed since it was looked at, or nothing of it lies on the grid.
    """
    stored = _read(pair.reference)
    reference = EDITIONS[pair.reference_edition].decode(stored.array)
    as_masks = MASK in {pair.reference_edition, pair.prediction_edition}
    if as_masks:
        reference = _mask(reference)
    if pair.prediction is None:
        return np.zeros_like(reference), reference, stored.grid.spacing_mm
    volume = _read(pair.prediction)
    prediction = EDITIONS[pair.prediction_edition].decode(volume.array)
    if as_masks:
        prediction = _mask(prediction)
    decoded = Volume(prediction, volume.grid)
    if not pair.resampled:
        return _on_axes_of(decoded, stored), reference, stored.grid.spacing_mm
    moved = resample_labels(decoded, stored)
    if prediction.any() and not moved.any():
        raise UnreadableVolumeError(
            f"{pair.prediction.name}: no labelled voxel lies on the reference's grid, its header places it elsewhere"
        )
    return moved, reference, stored.grid.spacing_mm


def _mask(labels: Labels) -> Labels:
    return np.isin(labels, REGIONS["WT"]).astype(np.uint8) * np.uint8(WHOLE)


def _read(path: Path) -> Volume:
    try:
        return read_label_map(path)
    except UnreadableVolumeError as error:
        raise UnreadableVolumeError(f"{path.name}: {error}") from error


def resample_labels(labels: Volume, target: Volume) -> Labels:
    """Labels at the voxels of another grid, each the one of the nearest voxel; background outside."""
    to_source = np.linalg.inv(labels.grid.affine) @ target.grid.affine
    moved: Labels = ndimage.affine_transform(
        labels.array,
        to_source[:3, :3],
        to_source[:3, 3],
        target.grid.shape,
        order=0,
        mode="grid-constant",
        prefilter=False,
    )
    return moved


def _on_axes_of(labels: Volume, target: Volume) -> Labels:
    """The same voxels, axes ordered and directed as the target's: lesions are numbered as its scorer meets them."""
    to_target = ornt_transform(io_orientation(labels.grid.affine), io_orientation(target.grid.affine))
    turned: Labels = apply_orientation(labels.array, to_target)
    return turned


def _lesionwise(
    prediction: Labels, reference: Labels, spacing_mm: tuple[float, ...], regions: Iterable[str], rules: str
) -> dict[str, dict[str, float]]:
    """Lesion-wise scores of each region; NaN where the rules do not know the region."""
    scores = lesionwise_scores(prediction, reference, spacing_mm=spacing_mm, rules=RULES[rules])
    rows: dict[str, dict[str, float]] = {}
    for region in regions:
        found = scores.get(region)
        rows[region] = {
            "lesionwise_dice": found.dice if found else math.nan,
            "lesionwise_hd95_mm": found.hd95_mm if found else math.nan,
            **{
                f"lesionwise_nsd_{tolerance:g}mm": found.nsd[tolerance] if found else math.nan
                for tolerance in RULES[rules].nsd_tolerances_mm
            },
            "lesionwise_true_positives": found.true_positives if found else math.nan,
            "lesionwise_false_negatives": found.false_negatives if found else math.nan,
            "lesionwise_false_positives": found.false_positives if found else math.nan,
        }
    return rows
