"""What the server and a worker process say to each other, as JSON.

A worker parses the files of strangers: what it says is checked, and never unpickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from brats_lightning.web.records import CaseRecord, Network, Record, Scores, Size, View, Work

Flip = Literal["x", "y", "z"]
ResultName = Annotated[str, Field(pattern=r"^[a-z]+(/[a-z0-9]+)?(\.[a-z]+){1,2}$")]
"""No other can become a path, whatever a file has made of the worker that read it."""


@dataclass(frozen=True)
class WorkOptions:
    """How `brats serve` predicts, in the words of `brats predict`.

    Args:
        flips: Axes to flip as test-time augmentation.
        precision: Of the network.
        align: `header` resamples modalities that lie on different grids by their headers.
        labels: Edition whose label values are written; None: the case's own.
        uncertainty: Also make a map of the entropy.
    """

    flips: tuple[Flip, ...] = ()
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    align: Literal["header"] | None = None
    labels: str | None = None
    uncertainty: bool = True


@dataclass(frozen=True)
class Setup:
    """What a worker process begins with.

    Args:
        checkpoints: Files or folders by the names of their networks.
        device: As PyTorch names it, or `auto`.
        trust: Packages whose networks may be imported.
        options: How to predict.
    """

    checkpoints: Mapping[str, Path]
    device: str
    trust: tuple[str, ...]
    options: WorkOptions


class Job(Record):
    """Asks for work on a case."""

    tell: Literal["job"] = "job"
    work: Work
    folder: str = Field(description="Of the case: with its files and its results, and with `work` to write in.")
    record: CaseRecord


class Stop(Record):
    """Asks for the present work to end."""

    tell: Literal["stop"] = "stop"


class Offered(Record):
    """A network that a worker has opened."""

    network: Network
    speaks: str = Field(description="Of which modalities, labels and regions: equal for members of an ensemble.")


class Ready(Record):
    """All networks are open."""

    tell: Literal["ready"] = "ready"
    networks: list[Offered]
    gpus: int = Field(description="That this machine has.")


class Unable(Record):
    """The networks cannot be opened, and why."""

    tell: Literal["unable"] = "unable"
    sentence: str


class Progress(Record):
    """How far the work has come."""

    tell: Literal["progress"] = "progress"
    stage: str
    percent: float


class Outcome(Record):
    """What the work has added to the case; the files lie in its folder of results."""

    tell: Literal["outcome"] = "outcome"
    results: list[ResultName]
    sizes: dict[str, dict[str, Size | None]] = Field(default={})
    scores: dict[str, Scores] = Field(default={})
    view: View | None = None
    notes: list[str] = Field(default=[])


class Failure(Record):
    """The work cannot be done, and why."""

    tell: Literal["failure"] = "failure"
    sentence: str


class Stopped(Record):
    """The work was ended as asked for."""

    tell: Literal["stopped"] = "stopped"


Asked = Job | Stop
Said = Ready | Unable | Progress | Outcome | Failure | Stopped
_ASKED: TypeAdapter[Asked] = TypeAdapter(Annotated[Asked, Field(discriminator="tell")])
_SAID: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="tell")])


def send(connection: Connection, message: Asked | Said) -> None:
    """Send a message.

    Raises:
        OSError: The other side is gone.
    """
    connection.send_bytes(message.model_dump_json().encode())


def asked(connection: Connection) -> Asked:
    """The next message of the server.

    Raises:
        EOFError, OSError: The other side is gone.
    """
    return _ASKED.validate_json(connection.recv_bytes())


def said(connection: Connection) -> Said:
    """The next message of a worker.

    Raises:
        EOFError, OSError: The other side is gone.
        ValueError: It is none.
    """
    return _SAID.validate_json(connection.recv_bytes())
