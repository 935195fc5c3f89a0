import importlib.util
import logging
import math
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning_utilities.core.rank_zero import rank_zero_only
from wandb.proto.wandb_internal_pb2 import Record

from brats_lightning.errors import ConfigError
from brats_lightning.loggers import wandb_run
from brats_lightning.loggers.wandb_run import WandbRun, must_be_offline, reachable


@pytest.fixture
def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def finish() -> None:
    """End the run; W&B's own `finish` returns before everything of an offline run is on disk."""
    wandb.finish()
    wandb.teardown()


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int) -> Iterator[pytest.MonkeyPatch]:
    """A user without key, settings or variables, on a machine whose W&B server is a closed port."""
    wandb.teardown()
    proxies = [f"{scheme}_proxy" for scheme in ("http", "https", "all", "no")]
    given_to_us = [name for name in os.environ if name.startswith("WANDB_") or name.lower() in proxies]
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
    finish()


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


def records(run: Path) -> list[Any]:
    """What an offline run holds: a LevelDB log of protobuf records, in frames of 32 KiB."""
    (file,) = run.glob("wandb/offline-run-*/run-*.wandb")
    content, position, found, begun = file.read_bytes(), 7, [], b""
    while position + 7 <= len(content):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        begun += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in {1, 4}:  # whole, or the last part
            found.append(Record.FromString(begun))
            begun = b""
    return found


def history(run: Path) -> list[dict[str, str]]:
    return [
        {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
        for record in records(run)
        if record.HasField("history")
    ]


@pytest.mark.slow
def test_without_a_key_a_run_is_offline_and_holds_what_was_logged(
    nobody: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connections: list[object] = []
    nobody.setattr(socket, "create_connection", lambda *args, **_: connections.append(args))
    with caplog.at_level(logging.INFO):
        run = WandbRun(save_dir=tmp_path / "runs" / "unet3d-7", group="unet3d", tags=["fold 0"], notes="why")
        run.log_hyperparams({"lr": 1e-4, "path": Path("data")})
        run.log_metrics({"val/dice_ET": 0.5, "val/hd95_mm_ET": math.nan}, step=3)
        run.log_metrics({"val/dice_ET": 0.75}, step=4)
        finish()
    assert not connections
    assert [record.getMessage() for record in caplog.records if record.name == wandb_run.__name__] == [
        "W&B: no API key: this run is logged offline"
    ]
    first, second = history(tmp_path / "runs" / "unet3d-7")
    assert (first["val/dice_ET"], first["trainer/global_step"], first["val/hd95_mm_ET"]) == ("0.5", "3", "NaN")
    assert (second["val/dice_ET"], second["trainer/global_step"]) == ("0.75", "4")
    (description,) = [record.run for record in records(tmp_path / "runs" / "unet3d-7") if record.HasField("run")]
    assert (description.display_name, description.project) == ("unet3d-7", "brats")
    assert (description.run_group, list(description.tags), description.notes) == ("unet3d", ["fold 0"], "why")


def seconds_to_decide(*, offline: bool) -> float:
    start = time.monotonic()
    assert must_be_offline() is offline
    return time.monotonic() - start


def test_with_a_key_but_a_closed_port_it_is_offline(
    nobody: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    with caplog.at_level(logging.INFO):
        assert seconds_to_decide(offline=True) < 3
    assert f"no route to {os.environ['WANDB_BASE_URL']}: this run is logged offline" in caplog.text


@pytest.mark.slow
def test_a_connection_that_never_opens_is_given_up_within_three_seconds(
    nobody: pytest.MonkeyPatch, black_hole: int
) -> None:
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    nobody.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{black_hole}")
    assert 0.5 < seconds_to_decide(offline=True) < 3


@pytest.mark.slow
def test_a_name_look_up_that_hangs_is_given_up_within_three_seconds(nobody: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    nobody.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: released.wait(60) and [])
    assert 0.5 < seconds_to_decide(offline=True) < 3
    released.set()


def test_a_server_that_can_be_reached_is_used(nobody: pytest.MonkeyPatch, deaf_server: int) -> None:
    nobody.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{deaf_server}")
    assert seconds_to_decide(offline=True) < 3  # no key
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    assert seconds_to_decide(offline=False) < 3


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
    nobody.setattr(wandb_run, "reachable", lambda _url: True)
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
    nobody.setattr(wandb_run, "reachable", lambda _url: pytest.fail("it asked"))
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


def test_only_rank_0_asks_and_logs(nobody: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nobody.setattr(rank_zero_only, "rank", 1)
    nobody.setattr(wandb_run, "reachable", lambda _url: pytest.fail("rank 1 asked"))
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    run = WandbRun(save_dir=tmp_path / "run")
    run.log_metrics({"a": 1.0}, step=0)
    run.log_hyperparams({"lr": 1.0})
    run.experiment.log({"a": 1.0})
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("key", ["k" * 40, "short"])
def test_a_server_that_never_answers_and_a_broken_key_end_offline(
    nobody: pytest.MonkeyPatch,
    tmp_path: Path,
    deaf_server: int,
    key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nobody.setattr(wandb_run, "INIT_SECONDS", 2)
    nobody.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{deaf_server}")
    nobody.setenv("WANDB_API_KEY", key)
    run = WandbRun(save_dir=tmp_path / "run")
    start = time.monotonic()
    run.log_metrics({"a": 1.5}, step=3)
    assert time.monotonic() - start < 8
    finish()
    assert [row["a"] for row in history(tmp_path / "run")] == ["1.5"]
    assert re.search("W&B: .*: this run is logged offline", caplog.text)


SESSION = """
import sys
from pathlib import Path
from brats_lightning.loggers.wandb_run import WandbRun
run = WandbRun(save_dir=Path(sys.argv[1]))
run.log_metrics({"a": 1.5}, step=3)
print("leaving", flush=True)
"""


@pytest.mark.slow
def test_an_offline_run_asks_nobody_and_leaves_at_once(
    nobody: pytest.MonkeyPatch, tmp_path: Path, deaf: socket.socket, deaf_server: int
) -> None:
    nobody.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{deaf_server}")
    nobody.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with subprocess.Popen([sys.executable, "-c", SESSION, tmp_path / "run"], stdout=subprocess.PIPE) as session:
        assert session.stdout is not None
        assert session.stdout.readline()
        start = time.monotonic()
        assert session.wait(60) == 0
        assert time.monotonic() - start < 6  # W&B's telemetry would wait for ten
    assert [row["a"] for row in history(tmp_path / "run")] == ["1.5"]
    deaf.setblocking(False)
    with pytest.raises(BlockingIOError):  # nobody stands in the queue
        deaf.accept()


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


@pytest.mark.slow
def test_with_a_key_and_a_server_a_metric_arrives(server: Any, tmp_path: Path) -> None:
    run = WandbRun(save_dir=tmp_path / "unet3d", group="unet3d")
    run.log_hyperparams({"lr": 1e-4})
    run.log_metrics({"val/dice_ET": 0.5}, step=3)
    finish()
    (arrived,) = server.state.runs.values()
    assert arrived["complete"]
    assert (arrived["displayName"], arrived["group"], arrived["project"]) == ("unet3d", "unet3d", "brats")
    assert arrived["config"]["lr"]["value"] == pytest.approx(1e-4)
    assert [(row["val/dice_ET"], row["trainer/global_step"]) for row in arrived["history"]] == [(0.5, 3)]
    assert not [operation for operation in server.state.log if "otel" in operation]


@pytest.mark.slow
def test_a_server_that_is_lost_holds_up_the_end_no_longer_than_told(
    nobody: pytest.MonkeyPatch, server: Any, tmp_path: Path
) -> None:
    nobody.setattr(wandb_run, "FINISH_SECONDS", 2)
    run = WandbRun(save_dir=tmp_path / "run")
    run.log_metrics({"a": 1.0}, step=0)
    server.shutdown()
    server.server_close()
    run.log_metrics({"a": 2.0}, step=1)
    start = time.monotonic()
    finish()
    assert time.monotonic() - start < 10
