"""Hold a segmentation against a reference: scores as `brats evaluate` has them, and where the two differ."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from brats_lightning.data.pictures import is_picture
from brats_lightning.data.reading import read_case
from brats_lightning.errors import BratsError, DatasetError, Problem
from brats_lightning.evaluation.label_files import LabelFile, inspect, read_label_map
from brats_lightning.evaluation.matching import Pair
from brats_lightning.evaluation.measures import chosen_measures
from brats_lightning.evaluation.scoring import score_pair
from brats_lightning.inference.results import INTERNAL
from brats_lightning.labels import EDITIONS, MASK, MODALITIES
from brats_lightning.nifti import SAME_GRID_MM, UnreadableVolumeError, Volume
from brats_lightning.reports.case import numbers as case_numbers
from brats_lightning.reports.case.numbers import mask_of, told_by
from brats_lightning.reports.predicted import Labels, Predicted, read_prediction
from brats_lightning.reports.scores import RegionRow, write_rows
from brats_lightning.web.records import CaseRecord, Scores, View
from brats_lightning.web.work.messages import Outcome, WorkOptions
from brats_lightning.web.work.tasks.given import Given
from brats_lightning.web.work.tasks.kept import SegmentedAs, keep
from brats_lightning.web.work.tasks.meaning import edition_of_reference
from brats_lightning.web.work.tasks.sizes import PIXELS, sizes_of
from brats_lightning.web.work.tasks.viewing import tissues_of, write_labels

SCORES_FILE = "scores.csv"
HIT, MISSED, FALSE = 1, 2, 3
MASK_FILE = "mask.nii.gz"


def compare(
    given: Given, record: CaseRecord, scratch: Path, options: WorkOptions, *, tell: Callable[[str, float], None]
) -> Outcome:
    """Score a segmented case and map the differences.

    Args:
        given: The case.
        record: What is known of it.
        scratch: Folder to write in.
        options: Of the prediction.
        tell: Is told the stage; may end the work.

    Raises:
        BratsError: The reference cannot be used.
    """
    view = record.view
    if given.reference is None or view is None:
        raise BratsError("there is nothing to compare: put a reference segmentation, and start the case")
    tell("Comparing", 0)
    own = SegmentedAs.read(given.folder).edition
    theirs, notes = edition_of_reference(given, given.reference, predicted=own)
    if is_picture(given.reference) or not view.placed or own == INTERNAL:
        prediction, reference = _read_both(given, (own, theirs), view, align=options.align is not None)
        both = [region for region in told_by(own, prediction) if region in told_by(theirs, reference)]
        rows = _rows_of_arrays(given, prediction, reference, both, view)
    else:
        rows = _rows(given, given.reference, own, theirs)
        reference = _labels(given.reference, theirs)
        prediction = _labels(given.folder / MASK_FILE, own)
    tell("Comparing", 50)
    whole = mask_of(reference, "WT"), mask_of(prediction, "WT")
    difference = np.select([whole[0] & whole[1], whole[0], whole[1]], [HIT, MISSED, FALSE]).astype(np.uint8)
    results = [
        write_labels(scratch, "reference", reference, spacing_mm=view.spacing_mm),
        write_labels(scratch, "difference", difference, spacing_mm=view.spacing_mm),
        SCORES_FILE,
    ]
    write_rows(scratch / SCORES_FILE, rows)
    keep(results, scratch, given.folder)
    return Outcome(
        results=results,
        sizes={
            "reference": sizes_of(reference, told_by(theirs, reference), spacing_mm=view.spacing_mm, placed=view.placed)
        },
        scores={row.region: _scores(row.scores) for row in rows},
        view=view.model_copy(update={"tissues": tissues_of([prediction, reference])}),
        notes=notes,
    )


def _rows(given: Given, reference: Path, own: str, theirs: str) -> Sequence[RegionRow]:
    """The rows that `brats evaluate` writes for these two files and editions.

    Raises:
        DatasetError: The reference is no label map, or lies on another grid.
    """
    maps = {}
    for name, path in (("reference", reference), ("prediction", given.folder / MASK_FILE)):
        looked_at = inspect(LabelFile(given.case.id, path, ""))
        if isinstance(looked_at, Problem):
            raise DatasetError(looked_at)
        maps[name] = looked_at
    apart_mm = maps["prediction"].grid.ras().distance_mm(maps["reference"].grid.ras())
    if apart_mm > SAME_GRID_MM:
        what = f"its grid ({maps['reference'].grid}) is not that of the case ({maps['prediction'].grid})"
        raise DatasetError(Problem(given.case.id, reference.name, what, "resample it to the grid of the case’s images"))
    measures = chosen_measures(None)
    if own == MASK:
        measures = measures.of_masks(chosen=False)
    scored = score_pair((Pair(given.case.id, reference, theirs, given.folder / MASK_FILE, own), measures))
    if isinstance(scored, Problem):
        raise DatasetError(scored)
    return scored.rows


def _labels(path: Path, edition: str) -> Labels:
    """(X, Y, Z) in RAS order, as inside the program."""
    stored = read_label_map(path)
    labels: Labels = Volume(EDITIONS[edition].decode(stored.array), stored.grid).ras().array
    return labels


def _read_both(given: Given, editions: tuple[str, str], view: View, *, align: bool) -> tuple[Labels, Labels]:
    """Both segmentations of what `brats evaluate` does not read: pictures, which have no grid to be compared by."""
    volumes = read_case(given.case, modalities=[name for name in MODALITIES if name in view.images], align=align)
    reference = given.reference or Path()
    files = given.folder / MASK_FILE, reference
    try:
        found = [
            read_prediction(Predicted(path, edition), volumes) for path, edition in zip(files, editions, strict=True)
        ]
    except (UnreadableVolumeError, ValueError) as error:
        cure = "give a mask of the image’s own size: 0 and 255, or label values"
        raise DatasetError(Problem(given.case.id, reference.name, str(error), cure)) from error
    return found[0], found[1]


def _rows_of_arrays(
    given: Given, prediction: Labels, reference: Labels, regions: Sequence[str], view: View
) -> Sequence[RegionRow]:
    """As the case's report scores them, in pixels where the case has no place in the patient."""
    empty = case_numbers.EMPTY if view.placed else case_numbers.EMPTY_OF_PICTURES
    spacing_mm = view.spacing_mm if view.placed else PIXELS
    found = case_numbers.scores(prediction, reference, regions, spacing_mm=spacing_mm, empty=empty)
    note = "" if view.placed else "distances in pixels"
    about = {"empty_masks": empty, "distances": case_numbers.DISTANCES, "grid": "native", "note": note}
    return [RegionRow(given.case.id, region, scores, about) for region, scores in found.items()]


def _scores(scores: Mapping[str, float]) -> Scores:
    known = {name: value if math.isfinite(value) else None for name, value in scores.items()}
    return Scores(dice=known["dice"], iou=known["iou"], sensitivity=known["sensitivity"], hd95_mm=known["hd95_mm"])
