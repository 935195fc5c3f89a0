"""What putting, removing and naming files makes of a case: from record to record, without touching the disk."""

from collections.abc import Sequence

from brats_lightning.web.files.kinds import common_name
from brats_lightning.web.limits import Limits, Refused
from brats_lightning.web.records import CaseRecord, FileRecord, Kind, State

OPEN: tuple[State, ...] = ("collecting", "failed", "cancelled")
"""States in which files may be put and removed."""
OF_THE_REFERENCE = (
    "volumes/reference.nii.gz",
    "volumes/difference.nii.gz",
    "pictures/difference.png",
    "scores.csv",
)
"""Results that another reference makes untrue."""
_MOST_NOTES = 20


def require_change(record: CaseRecord, *kinds: Kind | None) -> None:
    """Refuse to change files of these kinds while they are in use, or after they have led to a result.

    Raises:
        Refused: A modality's file where the case is not open; a reference that is not wanted now.
    """
    if record.state in OPEN:
        return
    if record.state in ("queued", "running"):
        raise Refused(409, "the case is being worked on: cancel it first, or wait until it is done")
    if not set(kinds) <= {"seg", None}:
        raise Refused(409, "the case is done: its images stay as they are; make a new case for others")
    if "compare" in record.working:
        raise Refused(409, "the reference is being compared: try again in a moment")


def with_file(record: CaseRecord, file: FileRecord, limits: Limits) -> CaseRecord:
    """The case with one more file, which takes its kind from any earlier one.

    Raises:
        Refused: It may not be changed now, or has as many files or bytes as may be.
    """
    if record.state == "done" and file.kind is None:
        raise Refused(409, "the case is done: put further files as its reference, or make a new case for them")
    require_change(record, file.kind)
    require_room(record, limits, files=1, bytes_more=file.bytes)
    others = [_without_kind(other) if other.kind == file.kind else other for other in record.files]
    return _changed(record, [*others, file], {file.kind})


def with_notes(record: CaseRecord, notes: Sequence[str]) -> CaseRecord:
    """The case with more to say of its files, the oldest forgotten where it is too much."""
    return record.model_copy(update={"notes": list(dict.fromkeys([*record.notes, *notes]))[-_MOST_NOTES:]})


def require_room(record: CaseRecord, limits: Limits, *, files: int = 0, bytes_more: int = 0) -> None:
    """Refuse more than a case may have.

    Raises:
        Refused: Too many files or bytes.
    """
    if len(record.files) + files > limits.files:
        raise Refused(413, f"a case has no more than {limits.files} files: remove one first")
    if sum(file.bytes for file in record.files) + bytes_more > limits.case_bytes:
        raise Refused(413, f"the files of a case take no more than {limits.case_mb:g} MB: remove one first")


def without_file(record: CaseRecord, file: str) -> CaseRecord:
    """The case without one of its files.

    Raises:
        Refused: It may not be changed now, or has no such file.
    """
    removed = file_of(record, file)
    require_change(record, removed.kind)
    return _changed(record, [other for other in record.files if other.id != file], {removed.kind})


def with_kind(record: CaseRecord, file: str, kind: Kind | None) -> CaseRecord:
    """The case with another kind for one of its files, taken from the file that had it.

    Raises:
        Refused: It may not be changed now, or has no such file.
    """
    named = file_of(record, file)
    if named.kind == kind:
        return record
    require_change(record, named.kind, kind)
    others = [_without_kind(other) if other.kind == kind else other for other in record.files]
    files = [other.model_copy(update={"kind": kind}) if other.id == file else other for other in others]
    return _changed(record, files, {named.kind, kind})


def with_networks(record: CaseRecord, networks: Sequence[str], needs: Sequence[Kind]) -> CaseRecord:
    """The case with other networks to segment it.

    Raises:
        Refused: It is being segmented, or is done.
    """
    if record.state not in OPEN:
        raise Refused(409, "the case has been started: cancel it, or make a new one for other networks")
    return record.model_copy(update={"networks": list(networks), "needs": list(needs)})


def file_of(record: CaseRecord, file: str) -> FileRecord:
    """One of its files.

    Raises:
        Refused: There is none of this id.
    """
    for known in record.files:
        if known.id == file:
            return known
    raise Refused(404, "there is no such file in this case")


def complete(record: CaseRecord) -> CaseRecord:
    """The case with what follows from its files: its name, and which modalities are missing."""
    kinds = {file.kind for file in record.files}
    name = "synthetic example" if record.example else common_name([file.name for file in record.files])
    missing = [kind for kind in record.needs if kind not in kinds]
    return record.model_copy(update={"name": name, "missing": missing})


def _without_kind(file: FileRecord) -> FileRecord:
    return file.model_copy(update={"kind": None})


def _changed(record: CaseRecord, files: list[FileRecord], kinds: set[Kind | None]) -> CaseRecord:
    """The case with other files, and without the results that they do not lead to."""
    if record.state == "done":
        if "seg" not in kinds:
            return record.model_copy(update={"files": files})
        results = [name for name in record.results if name not in OF_THE_REFERENCE]
        failed = {work: why for work, why in record.failed.items() if work != "compare"}
        return record.model_copy(update={"files": files, "results": results, "scores": {}, "failed": failed})
    return CaseRecord(
        id=record.id,
        name=record.name,
        created=record.created,
        expires=record.expires,
        example=record.example,
        files=files,
        networks=record.networks,
        needs=record.needs,
        notes=record.notes,
    )
