"""What becomes of a case when work on it begins, ends well, or fails: changes of its record."""

from typing import TypedDict

from brats_lightning.web.records import CaseRecord, Scores, Size, State, View, Work
from brats_lightning.web.work.messages import Outcome

OF_THE_REPORT = ("pictures/", "report.html")
"""What a new report takes the place of."""
ON_THE_REFERENCE = "the reference is "
"""How notes begin that hold for one reference alone."""


class Changes(TypedDict, total=False):
    """Fields of a `CaseRecord`."""

    state: State
    position: int | None
    stage: str
    percent: float
    error: str | None
    networks: list[str]
    notes: list[str]
    working: list[Work]
    failed: dict[str, str]
    results: list[str]
    sizes: dict[str, dict[str, Size | None]]
    scores: dict[str, Scores]
    view: View | None


def asked_for(record: CaseRecord, work: Work) -> Changes:
    """Work besides the segmentation waits."""
    failed = {name: sentence for name, sentence in record.failed.items() if name != work}
    return {"working": list(dict.fromkeys([*record.working, work])), "failed": failed}


def queued(networks: list[str]) -> Changes:
    """A segmentation waits; nothing of an earlier one is left."""
    return {
        "state": "queued", "networks": networks, "stage": "", "percent": 0, "error": None, "working": [], "failed": {},
        "results": [], "sizes": {}, "scores": {}, "view": None,
    }  # fmt: skip


def ended(record: CaseRecord, work: Work, outcome: Outcome) -> Changes:
    """Work was done."""
    added: Changes = {
        "results": list(dict.fromkeys([*_still_true(record, work), *outcome.results])),
        "sizes": {**record.sizes, **outcome.sizes},
        "notes": list(dict.fromkeys([*_notes(record, work), *outcome.notes])),
        "working": [name for name in record.working if name != work],
    }
    if outcome.view is not None:
        added["view"] = outcome.view
    if work == "segment":
        added |= {"state": "done", "stage": "", "percent": 100, "position": None}
    if work == "compare":
        added["scores"] = outcome.scores
    if work == "report" and not has_reference(record):
        added["sizes"].pop("reference", None)
    return added


def went_wrong(record: CaseRecord, work: Work, sentence: str) -> Changes:
    """Work could not be done."""
    if work == "segment":
        return {"state": "failed", "error": sentence, "stage": "", "percent": 0, "position": None}
    working = [name for name in record.working if name != work]
    return {"working": working, "failed": {**record.failed, work: sentence}, "notes": _notes(record, work)}


def following(record: CaseRecord, work: Work) -> list[Work]:
    """What is to be done after work on a case has ended, well or not.

    Args:
        record: As it has become.
        work: That has ended.
    """
    if work == "compare":
        return ["report"]
    if work != "segment" or record.state != "done":
        return []
    return ["compare", "radiomics"] if has_reference(record) else ["report", "radiomics"]


def has_reference(record: CaseRecord) -> bool:
    """Whether a reference segmentation has been put."""
    return any(file.kind == "seg" for file in record.files)


def same_inputs(record: CaseRecord, other: CaseRecord) -> bool:
    """Whether two records of a case are of the same files, so that work on one is good for the other."""
    return {(file.id, file.kind) for file in record.files} == {(file.id, file.kind) for file in other.files}


def _notes(record: CaseRecord, work: Work) -> list[str]:
    if work != "compare" and has_reference(record):
        return record.notes
    return [note for note in record.notes if not note.startswith(ON_THE_REFERENCE)]


def _still_true(record: CaseRecord, work: Work) -> list[str]:
    return [name for name in record.results if work != "report" or not name.startswith(OF_THE_REPORT)]
