"""What `brats validate` and `brats test` leave behind: the scores of cases, and those of callbacks that score."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pytorch_lightning import Callback

from brats_lightning.errors import BratsError
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.model.score_callbacks import ClassScores, SliceScores
from brats_lightning.reports.class_tables import print_class_scores, write_class_scores
from brats_lightning.reports.picture_files import pictures_of, remove_pictures
from brats_lightning.reports.pictures import OverlayPictures
from brats_lightning.reports.scores import print_scores, write_scores
from brats_lightning.runs import name_of_run

log = logging.getLogger("brats_lightning")


def report_scores(
    scores: RegionScores,
    callbacks: Sequence[Callback],
    *,
    folder: Path,
    part: str,
    title: str,
    grid: str,
    checkpoint: str,
) -> None:
    """Print tables, write `scores_<part>.csv`, `scores_classes_<part>.csv` and `scores_slices_<part>.csv`, and draw.

    Args:
        scores: Of cases, after `compute`.
        callbacks: Of the trainer; those that scored nothing are passed over.
        folder: For the files.
        part: In their names.
        title: Above the tables.
        grid: On which the scores were taken.
        checkpoint: Of the network.

    Raises:
        BratsError: A file cannot be written.
    """
    of_cases = partial(write_scores, grid=grid, checkpoint=checkpoint)
    print_scores(scores, title=title)
    drawn = _cleared(pictures_of(folder / f"scores_{part}.csv"))
    _write(folder / f"scores_{part}.csv", partial(of_cases, scores=scores))
    for callback in callbacks:
        if isinstance(callback, ClassScores):
            counts, names = callback.counts, list(callback.classes)
            print_class_scores(counts, names, cases=callback.cases, title=f"Classes of {title}")
            write = partial(write_class_scores, counts=counts, names=names, grid=grid, checkpoint=checkpoint)
            _write(folder / f"scores_classes_{part}.csv", write)
        elif isinstance(callback, SliceScores):
            print_scores(callback.scores, title=f"{callback.plane.title()} slices of {title}", of="slice")
            _write(folder / f"scores_slices_{part}.csv", partial(of_cases, scores=callback.scores))
    for callback in callbacks:  # last: what was scored is worth more than its pictures
        if isinstance(callback, OverlayPictures):
            callback.draw(drawn, title=f"{name_of_run(folder)} · {part.replace('_', ' ')}")


def _cleared(pictures: Path) -> Path:
    """A folder without the pictures of earlier scores, which another network got."""
    try:
        remove_pictures(pictures)
    except OSError as error:
        raise BratsError(f"old pictures in {pictures} cannot be removed ({error.strerror}): remove them") from error
    return pictures


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    except OSError as error:
        raise BratsError(f"the scores above could not be written to {path} ({error.strerror})") from error
    log.info("written: %s", path)
