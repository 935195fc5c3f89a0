"""The radiomics of a case, as `brats radiomics --predictions` has them."""

from collections.abc import Callable
from pathlib import Path

from brats_lightning.errors import BratsError, DatasetError, Problem
from brats_lightning.inference.results import INTERNAL
from brats_lightning.labels import Modality, region_labels
from brats_lightning.radiomics.columns import columns
from brats_lightning.radiomics.files import write_results
from brats_lightning.radiomics.measuring import Row, Settings, measure_case
from brats_lightning.radiomics.radiomics import REGIONS
from brats_lightning.radiomics.sources import Source
from brats_lightning.web.records import CaseRecord
from brats_lightning.web.work.messages import Outcome
from brats_lightning.web.work.tasks.comparing import MASK_FILE
from brats_lightning.web.work.tasks.given import Given
from brats_lightning.web.work.tasks.kept import SegmentedAs, keep

BIN_WIDTH = 25.0
"""Of the grey levels, as the command's."""
TABLE = "radiomics.csv"


def measure(given: Given, record: CaseRecord, scratch: Path, *, tell: Callable[[str, float], None]) -> Outcome:
    """Measure the regions of a segmented case.

    Args:
        given: The case.
        record: What is known of it.
        scratch: Folder to write in.
        tell: Is told the stage; may end the work.

    Raises:
        BratsError: It cannot be measured.
    """
    if record.view is None:
        raise BratsError("there is nothing to measure: start the case")
    edition = SegmentedAs.read(given.folder).edition
    if edition == INTERNAL:
        raise BratsError("a mask with the program’s own label values is not measured: choose another network")
    tell("Measuring", 0)
    modalities: tuple[Modality, ...] = tuple(kind for kind in record.view.images if kind != "seg")
    settings = Settings(modalities, region_labels(REGIONS), BIN_WIDTH, normalise=False)
    found = measure_case((Source(given.case, given.folder / MASK_FILE, edition), settings))
    rows: list[Row] = []
    for each in found:
        if isinstance(each, Problem):
            raise DatasetError(each)
        rows.append(each)
    write_results(scratch, rows, columns(modalities), formats=("csv",), about={}, problems=())
    keep([TABLE], scratch, given.folder)
    return Outcome(results=[TABLE])
