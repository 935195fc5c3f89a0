"""Which prediction is held against which reference."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from brats_lightning.errors import DatasetError, Problem
from brats_lightning.evaluation.label_files import LabelFile, LabelMap, find_label_files, inspect
from brats_lightning.evaluation.label_meaning import recognise_editions
from brats_lightning.nifti import SAME_GRID_MM, Grid
from brats_lightning.parallel import in_parallel

Missing = Literal["empty", "skip"]


@dataclass(frozen=True)
class Pair:
    """A case's two label maps.

    Args:
        case: Its id, as the reference has it.
        reference: File of the expert's segmentation.
        reference_edition: Whose label values that holds.
        prediction: File, None for a prediction that is missing and counts as empty.
        prediction_edition: Whose label values that holds.
        resampled: Whether the prediction has to be brought to the reference's grid.
    """

    case: str
    reference: Path
    reference_edition: str
    prediction: Path | None = None
    prediction_edition: str = ""
    resampled: bool = False


@dataclass(frozen=True)
class Matched:
    """What two folders give.

    Args:
        pairs: To be scored, by case.
        problems: Everything that cannot be.
        missing: References without a prediction.
    """

    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...]
    missing: tuple[str, ...]


def match(
    predictions: Path,
    references: Path,
    *,
    edition: str | None = None,
    prediction_edition: str | None = None,
    missing: Missing = "empty",
    resample: bool = False,
    workers: int = 1,
) -> Matched:
    """Match two folders of label maps case by case, every file read and checked.

    Args:
        predictions: Folder of label maps.
        references: Folder of label maps, or of cases of any edition.
        edition: Whose label values the references hold, None to recognise them.
        prediction_edition: The same for the predictions; where their names tell nothing, `edition` holds.
        missing: What becomes of a reference without a prediction.
        resample: Whether another grid is brought to that of the reference instead of refused.
        workers: Processes that read.

    Raises:
        ConfigError: A folder is not there, an edition is none.
        DatasetError: A folder holds no label map, or no name occurs in both.
    """
    expected, problems = find_label_files(references, beside_images=True)
    found, more = find_label_files(predictions, beside_images=False)
    problems += more
    spoilt = {problem.case.lower() for problem in problems}
    if not expected.keys() & found.keys() and not (expected.keys() | found.keys()) & spoilt:
        raise DatasetError(_nothing_in_common(expected, found, predictions))
    for case in sorted(found.keys() - expected.keys() - spoilt):
        what = "a prediction without a reference"
        cure = "add its reference or take the prediction out of the folder"
        problems.append(Problem(found[case].case, found[case].path.name, what, cure))
    looked_at = _inspect([*expected.values(), *(found[case] for case in found.keys() & expected.keys())], workers)
    problems += [result for result in looked_at.values() if isinstance(result, Problem)]
    sides = []
    for files, told, option, otherwise in (
        (expected, edition, "--edition", None),
        (found, prediction_edition, "--prediction-edition", edition),
    ):
        maps = {case: one for case, file in files.items() if isinstance(one := looked_at.get(file), LabelMap)}
        editions = recognise_editions(maps.values(), told=told, option=option, problems=problems, otherwise=otherwise)
        sides.append((maps, editions))
    absent = sorted(expected.keys() - found.keys() - spoilt)
    pairs = _pairs(sides[0], sides[1], absent if missing == "empty" else [], resample, problems)
    return Matched(
        tuple(sorted(pairs, key=lambda pair: pair.case)),
        tuple(sorted(problems, key=lambda problem: (problem.case, problem.file))),
        tuple(expected[case].case for case in absent),
    )


def _inspect(files: list[LabelFile], workers: int) -> dict[LabelFile, LabelMap | Problem]:
    return dict(in_parallel(inspect, files, workers=workers, doing="Reading label maps"))


def _pairs(
    references: tuple[Mapping[str, LabelMap], Mapping[str, str]],
    predictions: tuple[Mapping[str, LabelMap], Mapping[str, str]],
    absent: list[str],
    resample: bool,
    problems: list[Problem],
) -> list[Pair]:
    """Put together what is on one grid; a side is its label maps and their editions, by case."""
    pairs = []
    for case, edition in references[1].items():
        reference = references[0][case]
        name, path = reference.file.case, reference.file.path
        if case in absent:
            pairs.append(Pair(name, path, edition))
        elif case in predictions[1]:
            prediction = predictions[0][case]
            apart_mm = prediction.grid.ras().distance_mm(reference.grid.ras())
            moved = apart_mm > SAME_GRID_MM
            if moved and not resample:
                problems.append(_another_grid(prediction, reference.grid, apart_mm))
            else:
                pairs.append(Pair(name, path, edition, prediction.file.path, predictions[1][case], moved))
    return pairs


def _another_grid(prediction: LabelMap, expected: Grid, apart_mm: float) -> Problem:
    what = f"its grid ({prediction.grid}) is not that of the reference ({expected})"
    if np.isfinite(apart_mm):
        what += f": the same voxels, but {apart_mm:.3g} mm apart by their headers"
    cure = "write the prediction on the reference's grid, or have it brought there by --resample"
    return Problem(prediction.file.case, prediction.file.path.name, what, cure)


def _nothing_in_common(
    references: Mapping[str, LabelFile], predictions: Mapping[str, LabelFile], folder: Path
) -> Problem:
    one, other = (min(side.values(), key=lambda file: file.case) for side in (predictions, references))
    what = (
        f"none of {len(predictions)} predictions has the name of one of {len(references)} references: "
        f"{one.path.name} is read as case {one.case}, {other.path.name} as {other.case}"
    )
    return Problem(folder.name, "", what, "name each prediction after its case: <case>.nii.gz")
