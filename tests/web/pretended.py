"""A server whose networks are pretended: for tests of what stands around them."""

import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import nibabel
import numpy as np

from brats_lightning.web.api.application import application
from brats_lightning.web.api.guards import Guards
from brats_lightning.web.api.server import Server
from brats_lightning.web.files.inspecting import Inspectors
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits, Refused
from brats_lightning.web.records import Kind, Network, Work

NETWORKS = [
    Network(name="four", modalities=["t1n", "t1c", "t2w", "t2f"], regions=["ET", "TC", "WT"], slices=False),
    Network(name="one", modalities=["t2f"], regions=["WT"], slices=True),
]
RESULTS = {
    "mask.nii.gz": gzip.compress(b"mask"),
    "pictures/planes.png": b"\x89PNG",
    "report.html": b"<!DOCTYPE html>",
    "scores.csv": b"case,region\n",
}

NO_HTTPS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the certificates of the world takes longer than a test."""


class PretendedQueue:
    """Does what it is asked for by writing results down, after so many seconds.

    Args:
        store: Cases.
        seconds: That segmenting takes; until it is cancelled or the server ends.
    """

    def __init__(self, store: CaseStore, *, seconds: float = 0.05) -> None:
        self.store = store
        self.seconds = seconds
        self.asked: list[tuple[str, Work]] = []
        self.closed = False
        self._stops: dict[str, threading.Event] = {}

    @property
    def networks(self) -> list[Network]:
        return NETWORKS

    def start(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True
        for stop in self._stops.values():
            stop.set()

    def submit(self, case: str, work: Work, *, networks: Sequence[str] | None = None) -> None:  # noqa: ARG002
        record = self.store.get(case)
        if record.missing:
            raise Refused(422, f"put {', '.join(record.missing)} first")
        if record.state in ("queued", "running"):
            raise Refused(409, "the case is being worked on")
        self.asked.append((case, work))
        if work == "segment":
            self.store.update(case, state="queued")
            self._stops[case] = threading.Event()
            threading.Thread(target=self._segment, args=(case, self._stops[case])).start()

    def cancel(self, case: str) -> None:
        if self.store.get(case).state not in ("queued", "running"):
            raise Refused(409, "the case is not being worked on")
        self._stops.pop(case).set()
        self.store.update(case, state="cancelled")

    def forget(self, case: str) -> None:
        if case in self._stops:
            self._stops.pop(case).set()

    def _segment(self, case: str, stop: threading.Event) -> None:
        with suppress(Refused):  # it was erased
            self.store.update(case, state="running", stage="Network")
            for percent in range(0, 100, 20):
                self.store.update(case, percent=percent)
                if stop.wait(self.seconds / 5):
                    return
            for name, content in RESULTS.items():
                path = self.store.results(case) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            self.store.update(case, state="done", results=list(RESULTS))


@dataclass(frozen=True)
class Served:
    """A server that runs in a thread."""

    url: str
    store: CaseStore
    queue: PretendedQueue
    server: Server

    def client(self) -> httpx.Client:
        """Of this server, with the cookies of one browser."""
        return httpx.Client(base_url=self.url, timeout=20, verify=NO_HTTPS)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def serving(
    folder: Path,
    *,
    limits: Limits | None = None,
    guards: Guards | None = None,
    seconds: float = 0.05,
    example: Mapping[Kind, Path] | None = None,
) -> Iterator[Served]:
    """A server of this folder, until the end of the block."""
    limits = limits or Limits()
    store = CaseStore(folder, limits)
    queue = PretendedQueue(store, seconds=seconds)
    inspectors = Inspectors(limits)
    app = application(
        store=store, queue=queue, inspectors=inspectors, limits=limits, guards=guards,
        example=None if example is None else lambda: example,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(app)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
        thread.start()
        try:
            yield Served(url, store, queue, server)
        finally:
            server.should_exit = True
            thread.join(10)
            store.close()
    assert not thread.is_alive(), "the server did not end"
    assert queue.closed


def nifti(shape: tuple[int, ...] = (6, 5, 4), *, value: int = 100) -> bytes:
    """A small image, as the bytes of a .nii.gz file."""
    image = nibabel.Nifti1Image(np.full(shape, value, np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]))
    return gzip.compress(image.to_bytes(), compresslevel=1)


def filled_case(client: httpx.Client) -> str:
    """A case with all four modalities: its id."""
    case: str = client.post("/api/cases").raise_for_status().json()["id"]
    for kind in NETWORKS[0].modalities:
        client.put(
            f"/api/cases/{case}/images/{kind}", params={"name": f"{kind}.nii.gz"}, content=nifti()
        ).raise_for_status()
    return case
