import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from brats_lightning.errors import ConfigError
from brats_lightning.loggers import wandb_server
from brats_lightning.loggers.wandb_server import must_be_offline, reachable


@pytest.fixture
def black_hole() -> Iterator[int]:
    """Port on which a connection neither opens nor is refused: the queue of the listener is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(3):
            waiting.append(client := socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
        for client in waiting:
            client.close()


PATIENCE = 30
"""Seconds for what takes two on a machine with time, and a minute or for ever where nothing is given up."""


def seconds_to_decide(*, offline: bool) -> float:
    start = time.monotonic()
    assert must_be_offline() is offline
    return time.monotonic() - start


def test_with_a_key_but_a_closed_port_it_is_offline(
    nobody: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    with caplog.at_level(logging.INFO):
        assert seconds_to_decide(offline=True) < PATIENCE
    assert f"no route to {os.environ['WANDB_BASE_URL']}: this run is logged offline" in caplog.text


@pytest.mark.slow
def test_a_connection_that_never_opens_is_given_up(nobody: pytest.MonkeyPatch, black_hole: int) -> None:
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    nobody.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{black_hole}")
    assert 0.5 < seconds_to_decide(offline=True) < PATIENCE


@pytest.mark.slow
def test_a_name_look_up_that_hangs_is_given_up(nobody: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    nobody.setenv("WANDB_API_KEY", "k" * 40)

    def hangs(*_: object, **__: object) -> list[object]:
        released.wait(60)
        return []

    nobody.setattr(socket, "getaddrinfo", hangs)
    assert 0.5 < seconds_to_decide(offline=True) < PATIENCE
    released.set()


def test_a_server_that_can_be_reached_is_used(nobody: pytest.MonkeyPatch, deaf_server: int) -> None:
    nobody.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{deaf_server}")
    assert seconds_to_decide(offline=True) < PATIENCE  # no key
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    assert seconds_to_decide(offline=False) < PATIENCE


@pytest.mark.parametrize(
    ("server", "entry", "counts"),
    [
        ("http://127.0.0.1:{port}", "127.0.0.1:{port}", True),
        ("http://127.0.0.1:{port}", "127.0.0.1", False),
        ("http://127.0.0.1:{port}", "api.wandb.ai", False),
        (None, "api.wandb.ai", True),
        (None, "api.forge.coreweave.com", True),
        (None, "github.com", False),
    ],
)
def test_the_key_may_lie_in_netrc(
    nobody: pytest.MonkeyPatch, closed_port: int, server: str | None, entry: str, counts: bool
) -> None:
    nobody.setattr(wandb_server, "reachable", lambda _url: True)
    if server is None:
        nobody.delenv("WANDB_BASE_URL")
    else:
        nobody.setenv("WANDB_BASE_URL", server.format(port=closed_port))
    Path(os.environ["NETRC"]).write_text(f"machine {entry.format(port=closed_port)} login user password {'k' * 40}\n")
    assert must_be_offline() is not counts


def test_the_server_may_stand_in_the_settings_that_wandb_login_writes(
    nobody: pytest.MonkeyPatch, tmp_path: Path, deaf_server: int
) -> None:
    nobody.delenv("WANDB_BASE_URL")
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    file = tmp_path / "home" / ".config" / "wandb" / "settings"
    file.parent.mkdir(parents=True)
    file.write_text(f"[default]\nbase_url = http://127.0.0.1:{deaf_server}\n")
    assert not must_be_offline()


@pytest.mark.parametrize("mode", ["online", "offline", "dryrun", "disabled"])
def test_the_variable_overrules_without_a_probe(nobody: pytest.MonkeyPatch, mode: str) -> None:
    nobody.setenv("WANDB_MODE", mode)
    nobody.setattr(wandb_server, "reachable", lambda _url: pytest.fail("it asked"))
    assert must_be_offline() is (mode in {"offline", "dryrun"})


def test_the_proxy_is_asked_where_there_is_one(nobody: pytest.MonkeyPatch, deaf_server: int) -> None:
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    nobody.setenv("http_proxy", f"127.0.0.1:{deaf_server}")
    assert not must_be_offline()
    nobody.setenv("no_proxy", "127.0.0.1")
    assert must_be_offline()


def test_a_server_that_is_no_address_is_told(nobody: pytest.MonkeyPatch) -> None:
    nobody.setenv("WANDB_BASE_URL", "localhost:8080")
    with pytest.raises(ConfigError, match=r"WANDB_BASE_URL: expected https://HOST, found 'localhost:8080'"):
        must_be_offline()


@pytest.mark.parametrize("url", ["http://a..b", "http://" + "x" * 70, "http://"])
def test_a_name_that_cannot_be_one_is_not_reachable(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, *_args: object, **_kwargs: object) -> None:
        host.encode("idna")
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert not reachable(url)
