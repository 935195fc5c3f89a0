"""What the routes work with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from brats_lightning.web.api.events import Streams
from brats_lightning.web.api.guards import Guards
from brats_lightning.web.files.inspecting import Inspectors
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits, Refused
from brats_lightning.web.records import CaseRecord, Kind, Network, Work

DISCLAIMER = "Research software, not a medical device. Not for diagnosis or treatment."


class Jobs(Protocol):
    """A queue of work, as the routes see it. Its methods are called from any thread, and return at once."""

    @property
    def networks(self) -> list[Network]:
        """What is offered."""

    def start(self) -> None:
        """Begin, and go on with what an earlier server left."""

    async def close(self) -> None:
        """Stop all work."""

    def submit(self, case: str, work: Work, *, networks: Sequence[str] | None = None) -> None:
        """Put work into the queue."""

    def cancel(self, case: str) -> None:
        """Stop a case's work."""

    def forget(self, case: str) -> None:
        """Stop the work of a case that was erased."""


@dataclass(frozen=True)
class Services:
    """The parts of the server.

    Args:
        store: Cases.
        queue: Their work.
        inspectors: Processes that look into files.
        limits: What is taken at most.
        guards: Who may come in.
        streams: Of events.
        example: Makes the files of a synthetic case; None where none is offered.
    """

    store: CaseStore
    queue: Jobs
    inspectors: Inspectors
    limits: Limits
    guards: Guards
    streams: Streams
    example: Callable[[], Mapping[Kind, Path]] | None = None

    def chosen(self, names: Sequence[str] | None) -> tuple[list[str], list[Kind]]:
        """Networks by name, without repetition, and the modalities that they need.

        Args:
            names: As the client chose; None or none takes the first that is offered.

        Raises:
            Refused: One is not offered.
        """
        offered = {network.name: network for network in self.queue.networks}
        wanted = list(dict.fromkeys(names or list(offered)[:1]))
        unknown = [name for name in wanted if name not in offered]
        if unknown:
            raise Refused(422, f"networks: {len(unknown)} of these are not offered: choose from {', '.join(offered)}")
        kinds = dict.fromkeys(kind for name in wanted for kind in offered[name].modalities)
        return wanted, list(kinds)

    def changed_reference(self, before: CaseRecord, after: CaseRecord) -> None:
        """Have a finished case compared where it was given another reference, and its report written anew."""
        references = [[file.id for file in record.files if file.kind == "seg"] for record in (before, after)]
        if after.state != "done" or references[0] == references[1]:
            return
        self.queue.submit(after.id, "compare" if references[1] else "report")  # a comparison ends with a report

    def expire(self) -> None:
        """Erase the cases whose time is over."""
        for case in self.store.erase_expired():
            self.queue.forget(case)
