"""Which segmentation of which case is measured."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.errors import ConfigError, Problem
from brats_lightning.evaluation.label_files import find_label_files
from brats_lightning.labels import EDITIONS, MASK, Modality

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What is read for a case.

    Args:
        case: Its images; its reference too where that is measured.
        prediction: Predicted label map that is measured, None for the reference.
        edition: Whose label values the prediction holds.
    """

    case: Case
    prediction: Path | None = None
    edition: str = ""

    @property
    def is_mask(self) -> bool:
        """Whether what is measured tells tumour from all else, and no tissues."""
        return (self.case.edition if self.prediction is None else self.edition) == MASK


@dataclass(frozen=True)
class Sources:
    """What two folders give.

    Args:
        found: To be measured, sorted by case.
        problems: Everything that cannot be.
        without: Cases that have no segmentation.
    """

    found: tuple[Source, ...]
    problems: tuple[Problem, ...]
    without: tuple[str, ...]


def find_sources(
    root: Path,
    *,
    predictions: Path | None = None,
    modalities: Iterable[Modality],
    edition: str | None = None,
    prediction_edition: str | None = None,
) -> Sources:
    """Find cases and their segmentations.

    Args:
        root: Folder of cases.
        predictions: Folder of label maps named after the cases, None to measure the references.
        modalities: Those that every case must have.
        edition: Whose label values the references hold, None to recognise them.
        prediction_edition: The same for the predictions, None where each has those of its case's edition.

    Raises:
        BratsError: A folder is not there or holds nothing, or an edition is none.
    """
    if prediction_edition is not None and prediction_edition not in EDITIONS:
        raise ConfigError(f"edition {prediction_edition!r} is unknown: expected one of {', '.join(EDITIONS)}")
    cases = find_cases(root, modalities=modalities, edition=edition)
    problems = list(cases.problems)
    if predictions is None:
        found = [Source(case) for case in cases.cases if case.label is not None]
    else:
        files, more = find_label_files(predictions, beside_images=False)
        problems += more
        found = [
            Source(replace(case, label=None), files[case.id.lower()].path, prediction_edition or case.edition)
            for case in cases.cases
            if case.id.lower() in files
        ]
        known = {case.id.lower() for case in cases.cases} | {problem.case.lower() for problem in problems}
        problems += [
            Problem(file.case, file.path.name, "a prediction without a case", f"name it after a case of {root}")
            for case, file in files.items()
            if case not in known
        ]
    if masks := sum(source.is_mask for source in found):
        logger.warning("%d of %d segmentations are masks of the whole tumour: WT alone is measured", masks, len(found))
    refused = {problem.case for problem in problems}
    measured = {source.case.id for source in found}
    without = tuple(case.id for case in cases.cases if case.id not in measured | refused)
    return Sources(tuple(found), tuple(problems), without)
