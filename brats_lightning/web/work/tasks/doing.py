"""Which task does which work."""

import shutil
from collections.abc import Callable
from pathlib import Path

from brats_lightning.errors import BratsError
from brats_lightning.web.records import CaseRecord, Work
from brats_lightning.web.work.messages import Outcome
from brats_lightning.web.work.tasks.comparing import compare
from brats_lightning.web.work.tasks.given import given
from brats_lightning.web.work.tasks.measuring import measure
from brats_lightning.web.work.tasks.networks import Networks
from brats_lightning.web.work.tasks.reporting import report
from brats_lightning.web.work.tasks.segmenting import segment

SCRATCH = "work"
"""Folder of a case in which results are made; what is whole is moved to the others."""
Tell = Callable[[str, float], None]


def do(work: Work, folder: Path, record: CaseRecord, networks: Networks, *, tell: Tell) -> Outcome:
    """Do work on a case.

    Args:
        work: What to do.
        folder: Of the case.
        record: What is known of it.
        networks: That this worker has.
        tell: Is told the stage and the per cent; what it raises ends the work.

    Raises:
        BratsError: It cannot be done; one sentence for the user of the page.
    """
    scratch = folder / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()  # not its parents: a case that was erased in the meantime does not come back
    known = given(record, folder)
    try:
        match work:
            case "segment":
                return segment(known, record, scratch, networks, tell=tell)
            case "compare":
                return compare(known, record, scratch, networks.options, tell=tell)
            case "report":
                return report(known, record, scratch, networks.options, tell=tell)
            case "radiomics":
                return measure(known, record, scratch, tell=tell)
    except BratsError as error:
        raise BratsError(known.sentence(error)) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
