from brats_lightning.web.records import CaseRecord, FileRecord
from brats_lightning.web.work.messages import Outcome
from brats_lightning.web.work.outcomes import ended, went_wrong

OLD, NEW = "the reference is read as a mask of the whole tumour", "the reference is read with other labels"
ODD = "no pixel size in the file, 1 mm taken"


def case(*, reference: bool) -> CaseRecord:
    files = [FileRecord(id="a", name="seg.nii", kind="seg", bytes=1, shape=(), spacing_mm=())] * reference
    return CaseRecord(id="x" * 22, name="p", created=0, expires=1, state="done", files=files, notes=[ODD, OLD])


def test_what_was_said_of_a_reference_goes_with_it() -> None:
    compared = Outcome(results=[], notes=[NEW])
    nothing = Outcome(results=[])
    assert ended(case(reference=True), "compare", compared)["notes"] == [ODD, NEW]
    assert ended(case(reference=True), "report", nothing)["notes"] == [ODD, OLD]
    assert ended(case(reference=False), "report", nothing)["notes"] == [ODD]
    assert went_wrong(case(reference=True), "compare", "another grid")["notes"] == [ODD]
