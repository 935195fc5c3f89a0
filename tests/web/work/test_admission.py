import pytest

from brats_lightning.web.limits import Refused
from brats_lightning.web.records import CaseRecord, FileRecord, Kind, Network, State
from brats_lightning.web.work.admission import needs_of, require_networks, require_startable
from brats_lightning.web.work.messages import Offered


def network(name: str, *modalities: Kind, slices: bool = False) -> Offered:
    known = Network(name=name, modalities=list(modalities), regions=["WT"], slices=slices)
    return Offered(network=known, speaks=" ".join(modalities))


OFFERED = {
    each.network.name: each
    for each in (
        network("four", "t1n", "t1c", "t2w", "t2f"),
        network("again", "t1n", "t1c", "t2w", "t2f"),
        network("two", "t2f", "t1c"),
        network("slice", "t1c", slices=True),
    )
}


def case(*kinds: Kind | None, ending: str = ".nii.gz", state: State = "collecting") -> CaseRecord:
    files = [
        FileRecord(id=str(number), name=f"scan_{kind}{ending}", kind=kind, bytes=1, shape=(), spacing_mm=())
        for number, kind in enumerate(kinds)
    ]
    return CaseRecord(id="x" * 22, name="p", created=0, expires=1, files=files, state=state)


def test_networks_come_in_the_order_of_the_offer_and_the_first_unless_one_is_wanted() -> None:
    assert require_networks(["again", "four", "again"], OFFERED) == ["four", "again"]
    assert require_networks([], OFFERED) == ["four"]
    assert needs_of(["two", "slice"], OFFERED) == ["t1c", "t2f"]


@pytest.mark.parametrize(
    ("wanted", "what"),
    [(["four", "five"], "no network five: choose among four, again"), (["four", "two"], "four and two differ")],
)
def test_networks_that_are_unknown_or_disagree_are_refused(wanted: list[str], what: str) -> None:
    with pytest.raises(Refused, match=what) as refused:
        require_networks(wanted, OFFERED)
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("given", "chosen", "status", "what"),
    [
        (case("t1c", "t2w", None), "four", 422, "no t1n, t2f among the files"),
        (
            case("t1c", "t2f", ending=".PNG"),
            "two",
            422,
            "scan_t1c.PNG is a picture of one slice, and two takes volumes",
        ),
        (case("t1c", state="queued"), "slice", 409, "it waits"),
        (case("t1c", state="running"), "slice", 409, "it is being segmented"),
        (case("t1c", state="done"), "slice", 409, "open a new case"),
    ],
)
def test_a_case_that_cannot_be_segmented_is_refused(given: CaseRecord, chosen: str, status: int, what: str) -> None:
    with pytest.raises(Refused, match=what) as refused:
        require_startable(given, [chosen], OFFERED)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (case("t1c", "t2f", "seg", None), "two"),
        (case("t1c", ending=".png"), "slice"),
        (case("t1c", state="failed"), "slice"),
        (case("t1c", "t2f", state="cancelled"), "two"),
    ],
)
def test_a_case_that_has_what_is_needed_may_wait(given: CaseRecord, chosen: str) -> None:
    require_startable(given, [chosen], OFFERED)
