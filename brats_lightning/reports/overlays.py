"""`brats overlay`: a picture a case with its predicted segmentation, where there is no reference too."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.pictures import is_picture
from brats_lightning.data.reading import read_case, reference_file
from brats_lightning.errors import SHOWN_PROBLEMS, ConfigError, DatasetError, Problem
from brats_lightning.inference.results import INTERNAL
from brats_lightning.labels import EDITIONS, MODALITIES, Modality
from brats_lightning.machine import usable_cores
from brats_lightning.nifti import UnreadableVolumeError
from brats_lightning.parallel import in_parallel
from brats_lightning.reports.figures.planes import tilt_degrees
from brats_lightning.reports.predicted import Predicted, find_predictions, read_prediction
from brats_lightning.reports.slice_figure import overlay_slices


@dataclass(frozen=True)
class Job:
    """What is drawn of a case.

    Args:
        case: Which one.
        predicted: Its label map, whose edition is known.
        modalities: Drawn.
        slices: How many at most.
        output: Folder of the pictures.
    """

    case: Case
    predicted: Predicted
    modalities: tuple[Modality, ...]
    slices: int
    output: Path


def overlay(
    cases: Path,
    *,
    predictions: Path,
    output: Path = Path("overlays"),
    modalities: tuple[Modality, ...] = MODALITIES,
    slices: int = 2,
    edition: str | None = None,
    prediction_edition: str | None = None,
    workers: int | None = None,
) -> None:
    """Draw cases with their predicted segmentations, and the references of those that have one: `<case>.png` each.

    Shown are the axial slices with the most predicted tumour, in the orientation radiologists read: the patient's
    right is on the left. A case that cannot be drawn is reported and stops no other; the exit code is 1 then.

    Args:
        cases: Folder of cases of any edition, or of pictures of one slice.
        predictions: Folder that `brats predict` has written, or label maps named after the cases.
        output: Folder of the pictures.
        modalities: Which are drawn; every case must have them.
        slices: How many of each case at most, 8 mm apart or more.
        edition: Edition whose label values the references hold, where names and values do not tell.
        prediction_edition: The same for the predictions, or internal; null takes what `brats predict` has recorded,
            else the edition of each case.
        workers: Processes; null takes the cores this process may use.
    """
    _require_options(cases, predictions, output, slices=slices, labels=prediction_edition, workers=workers)
    found = find_cases(cases, modalities=modalities, edition=edition)
    problems = list(found.problems)
    predicted = find_predictions(predictions, problems)
    without = [case.id for case in found.cases if case.id.lower() not in predicted]
    jobs = [
        Job(case, Predicted(own.path, prediction_edition or own.labels or case.edition), modalities, slices, output)
        for case in found.cases
        if (own := predicted.get(case.id.lower()))
    ]
    if not jobs and not problems:
        raise ConfigError(f"{predictions} has no label map of a case of {cases}: expected <case>.nii.gz")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for _, wrong in in_parallel(draw_case, jobs, workers=workers or usable_cores(), doing="Drawing cases"):
            problems += wrong
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error.strerror}): give another --output") from error
    drawn = len(jobs) - len({problem.case for problem in problems} & {job.case.id for job in jobs})
    _say(drawn, output, without=without)
    if problems:
        raise DatasetError(problems)


def _say(drawn: int, output: Path, *, without: Sequence[str]) -> None:
    console = Console(markup=False, emoji=False, highlight=False)  # brackets in a file's name are no markup
    console.print(f"{drawn} pictures: {output}" if drawn != 1 else f"1 picture: {output}", soft_wrap=True)
    if without:
        shown = ", ".join(without[:SHOWN_PROBLEMS]) + (" …" if len(without) > SHOWN_PROBLEMS else "")
        said = f"{len(without)} cases" if len(without) > 1 else "1 case"
        console.print(f"{said} without a prediction: {shown}", soft_wrap=True)


def _require_options(
    cases: Path, predictions: Path, output: Path, *, slices: int, labels: str | None, workers: int | None
) -> None:
    """Refuse options without sense.

    Raises:
        ConfigError: Says which.
    """
    if labels not in {None, INTERNAL, *EDITIONS}:
        raise ConfigError(f"edition {labels!r} is unknown: expected {INTERNAL} or one of {', '.join(EDITIONS)}")
    if slices < 1:
        raise ConfigError(f"slices is {slices}: give 1 or more")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}: give 1 or more")
    if not predictions.is_dir():
        raise ConfigError(f"no folder {predictions}: expected one of label maps")
    # A prediction or an image may be a PNG of the same name.
    if output.resolve() in {cases.resolve(), predictions.resolve()}:
        raise ConfigError(f"{output} holds what the pictures are made of: give another --output")


def draw_case(job: Job) -> tuple[Problem, ...]:
    """Draw a case, or say what is wrong with it.

    Raises:
        OSError: The picture cannot be written.
    """
    case = job.case
    try:
        volumes = read_case(case, modalities=job.modalities)
        prediction = read_prediction(job.predicted, volumes)
    except DatasetError as error:
        return error.problems
    except (UnreadableVolumeError, ValueError) as error:
        cure = "write it again on the grid of the case, or say with --prediction-edition which labels it holds"
        return (Problem(case.id, job.predicted.path.name, str(error), cure),)
    segmentations = {"prediction": prediction}
    if volumes.label is not None:
        segmentations["reference"] = volumes.label
    overlay_slices(
        volumes.image,
        segmentations,
        spacing_mm=volumes.grid.spacing_mm,
        path=job.output / f"{case.id}.png",
        title=case.id,
        modalities=job.modalities,
        slices=job.slices,
        tilt_degrees=tilt_degrees(volumes.grid.affine),
        placed=not is_picture(reference_file(case, modalities=job.modalities)),
    )
    return ()
