"""The report of a case, and its pictures."""

import html
from collections.abc import Callable
from pathlib import Path

from brats_lightning.data.reading import read_case
from brats_lightning.errors import BratsError, DatasetError, Problem
from brats_lightning.labels import Modality
from brats_lightning.nifti import UnreadableVolumeError
from brats_lightning.reports.case.files import CaseFilesRead
from brats_lightning.reports.case.report import SUBTITLE, case_page
from brats_lightning.reports.html.written import write_page
from brats_lightning.reports.predicted import Predicted, read_prediction
from brats_lightning.web.records import CaseRecord
from brats_lightning.web.work.messages import Outcome, WorkOptions
from brats_lightning.web.work.tasks.comparing import MASK_FILE
from brats_lightning.web.work.tasks.given import Given
from brats_lightning.web.work.tasks.kept import SegmentedAs, keep
from brats_lightning.web.work.tasks.meaning import edition_of_reference

REPORT = "report.html"
PICTURES = "pictures"
SYNTHETIC = " · synthetic phantom, no patient"


def report(
    given: Given, record: CaseRecord, scratch: Path, options: WorkOptions, *, tell: Callable[[str, float], None]
) -> Outcome:
    """Write the report of a segmented case, with its reference if that can be used.

    Args:
        given: The case.
        record: What is known of it.
        scratch: Folder to write in.
        options: Of the prediction.
        tell: Is told the stage; may end the work.

    Raises:
        BratsError: It has no segmentation, or cannot be read any more.
    """
    tell("Pictures", 0)
    read = _read(given, record, options)
    folder = scratch / PICTURES
    folder.mkdir()
    text = case_page(read, folder, subtitle=SUBTITLE + SYNTHETIC * record.example)
    tell("Report", 90)
    for own, shown in given.names.items():
        text = text.replace(own, html.escape(shown))
    write_page(scratch / REPORT, text)
    results = [*(f"{PICTURES}/{path.name}" for path in sorted(folder.glob("*.png"))), REPORT]
    keep(results, scratch, given.folder)
    return Outcome(results=results)


def _read(given: Given, record: CaseRecord, options: WorkOptions) -> CaseFilesRead:
    view = record.view
    if view is None:
        raise BratsError("there is nothing to report: start the case")
    own = SegmentedAs.read(given.folder).edition
    modalities: tuple[Modality, ...] = tuple(kind for kind in view.images if kind != "seg")
    volumes = read_case(given.case, modalities=modalities, align=options.align is not None)
    predicted = Predicted(given.folder / MASK_FILE, own)
    reference, compared, meant = given.reference, None, own
    if "compare" in record.failed:
        reference = None  # the page says why it cannot be used
    if reference is not None:
        meant, _ = edition_of_reference(given, reference, predicted=own)
        try:
            compared = read_prediction(Predicted(reference, meant), volumes)
        except (UnreadableVolumeError, ValueError) as error:
            raise DatasetError(Problem(given.case.id, reference.name, str(error), "remove it")) from error
    return CaseFilesRead(
        case=given.case,
        modalities=modalities,
        volumes=volumes,
        predicted=predicted,
        prediction=read_prediction(predicted, volumes),
        reference_path=reference,
        reference=compared,
        reference_edition=meant,
        placed=view.placed,
    )
