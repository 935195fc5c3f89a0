"""Connections that are held without a word, answers that nobody takes, complaints that must not fill the log."""

import asyncio
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeAlias

import pytest

from brats_lightning.web.api import server
from brats_lightning.web.api.events import Streams
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits, Refused
from tests.web.pretended import Served, filled_case, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "folder") as running:
        yield running


Connect: TypeAlias = Callable[..., socket.socket]


@pytest.fixture
def connected(served: Served) -> Iterator[Connect]:
    """Opens a connection over which this was sent, that takes so many bytes at a time."""
    with ExitStack() as stack:

        def connect(content: bytes, *, takes: int | None = None) -> socket.socket:
            made = stack.enter_context(socket.socket())
            made.settimeout(10)
            if takes:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
            made.connect(("127.0.0.1", served.port))
            made.sendall(content)
            return made

        yield connect


def test_who_holds_many_connections_keeps_nobody_out(
    served: Served, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 5)
    with served.client() as client:
        case = client.post("/api/cases").json()["id"]
        listening = connected(f"GET /api/cases/{case}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert b" 200 " in listening.recv(100)
        for _ in range(20):
            connected(b"GET / HTTP/1.1\r\nHost: loc")
        for _ in range(3):
            with served.client() as other:
                assert other.get("/api/health").status_code == 200
    deadline = time.monotonic() + 5
    while len(served.server.server_state.connections) > 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(served.server.server_state.connections) <= 5
    served.store.update(case, stage="told")  # what is at work goes on
    heard = b""
    while b"told" not in heard:
        heard += listening.recv(65536)


def test_there_is_room_for_the_files_that_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for allowed, most in ((1024, 462), (1 << 20, 500), (resource.RLIM_INFINITY, 500), (64, 1)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        assert server.most_connections() == most


def test_who_takes_nothing_of_an_answer_is_cut_and_who_is_slow_is_not(
    served: Served, connected: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SILENCE_SECONDS", 0.4)
    with served.client() as client:
        case = filled_case(client)
        client.post(f"/api/cases/{case}/start").raise_for_status()
        while client.get(f"/api/cases/{case}").json()["state"] != "done":
            time.sleep(0.02)
    size = 12_000_000  # more than the system takes for the client
    (served.store.results(case) / "mask.nii.gz").write_bytes(bytes(size))
    asked = f"GET /api/cases/{case}/results/mask.nii.gz HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    deaf = connected(asked, takes=4096)
    slow = connected(asked)
    got = 0
    with suppress(ConnectionResetError):
        while part := slow.recv(1_000_000):
            got += len(part)
            if got >= size:
                break
            time.sleep(0.06)
    assert got >= size
    got = 0
    with suppress(ConnectionResetError):
        while part := deaf.recv(1 << 20):
            got += len(part)
    assert got < size


def test_so_many_streams_may_be_open_and_not_one_more_at_once(tmp_path: Path) -> None:
    store = CaseStore(tmp_path, Limits())
    case = store.create(networks=[], needs=[]).id

    async def ask() -> list[object]:
        streams = Streams(store, most=2)
        return list(await asyncio.gather(*(streams.of(case) for _ in range(5)), return_exceptions=True))

    refused = [each for each in asyncio.run(ask()) if isinstance(each, Refused)]
    assert [each.status for each in refused] == [429] * 3
    store.close()


def test_what_goes_wrong_a_thousand_times_is_told_once_and_without_its_words(
    served: Served, connected: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    assert connected(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n").recv(100)
    (connection,) = served.server.server_state.connections
    assert isinstance(connection, server.Connection)
    loop = connection.loop

    def complain() -> None:
        for _ in range(1000):
            loop.call_exception_handler({"message": "Doe^Jane", "exception": OSError(24, "Doe^Jane")})

    with caplog.at_level("WARNING"):
        loop.call_soon_threadsafe(complain)
        with served.client() as client:
            client.get("/api/health")
    assert [record.getMessage().partition(" ")[0] for record in caplog.records] == ["OSError"]
    assert "Doe" not in caplog.text
