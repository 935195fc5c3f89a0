"""A user whom W&B knows nothing of, and servers on this machine."""

import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb


@pytest.fixture
def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> Iterator[pytest.MonkeyPatch]:
    """A user without key, settings or variables, on a machine whose W&B server is a closed port."""
    wandb.teardown()
    proxies = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]
    given_to_us = [name for name in os.environ if name.startswith(("WANDB_", "SLURM_")) or name.lower() in proxies]
    for name in [*given_to_us, "WANDB_ERROR_REPORTING", "WANDB_SERVICE"]:
        monkeypatch.setenv(name, "")  # recorded, so that what the program sets is undone
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{closed_port}")
    monkeypatch.chdir(tmp_path)
    yield monkeypatch
    wandb.finish()
    wandb.teardown()


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A server that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener


@pytest.fixture
def deaf_server(deaf: socket.socket) -> int:
    """Its port."""
    port: int = deaf.getsockname()[1]
    return port


@pytest.fixture
def server(shared: Path, nobody: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stand-in for the W&B server on this machine."""
    description = importlib.util.spec_from_file_location("wandb_loopback", shared / "tools" / "wandb_loopback.py")
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    server = module.start()
    nobody.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    yield server
    server.shutdown()
    server.server_close()
