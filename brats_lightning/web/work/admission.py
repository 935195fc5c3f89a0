"""What must be right of a case before it may wait for its segmentation."""

from collections.abc import Mapping, Sequence

from brats_lightning.labels import MODALITIES, Modality
from brats_lightning.web.limits import Refused
from brats_lightning.web.records import CaseRecord, State
from brats_lightning.web.work.messages import Offered

OPEN: tuple[State, ...] = ("collecting", "failed", "cancelled")
"""States from which a case can be started."""
_PICTURES = (".png", ".jpg", ".jpeg", ".mat")
_SAID: Mapping[State, str] = {
    "queued": "it waits for its segmentation already",
    "running": "it is being segmented",
    "done": "it is segmented already: open a new case for another segmentation",
}


def require_networks(wanted: Sequence[str], offered: Mapping[str, Offered]) -> list[str]:
    """The networks that somebody wants, or the first that is offered; in the order of the offer.

    Raises:
        Refused: One is unknown, or they cannot decide together.
    """
    if unknown := [name for name in wanted if name not in offered]:
        raise Refused(422, f"the server offers no network {', '.join(unknown)}: choose among {', '.join(offered)}")
    chosen = [name for name in offered if name in wanted] or list(offered)[:1]
    if len({offered[name].speaks for name in chosen}) > 1:
        raise Refused(
            422,
            f"{', '.join(chosen[:-1])} and {chosen[-1]} differ in their modalities, labels or regions, so that they "
            "cannot decide together: choose one of them",
        )
    return chosen


def needs_of(chosen: Sequence[str], offered: Mapping[str, Offered]) -> list[Modality]:
    """Modalities that the networks need."""
    needed = {name for network in chosen for name in offered[network].network.modalities}
    return [name for name in MODALITIES if name in needed]


def require_startable(record: CaseRecord, chosen: Sequence[str], offered: Mapping[str, Offered]) -> None:
    """A case must be open, and have what its networks need.

    Raises:
        Refused: It is not, or has not.
    """
    if record.state not in OPEN:
        raise Refused(409, f"the case cannot be started: {_SAID[record.state]}")
    needed = needs_of(chosen, offered)
    put = {file.kind for file in record.files}
    if missing := [name for name in needed if name not in put]:
        raise Refused(422, f"no {', '.join(missing)} among the files of the case: add it, or say which file it is")
    pictures = [file.name for file in record.files if file.kind in needed and file.name.lower().endswith(_PICTURES)]
    if pictures and not all(offered[name].network.slices for name in chosen):
        raise Refused(
            422, f"{pictures[0]} is a picture of one slice, and {', '.join(chosen)} takes volumes: give NIfTI files"
        )
