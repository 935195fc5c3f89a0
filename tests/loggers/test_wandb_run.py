import logging
import math
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.demos.boring_classes import BoringModel
from wandb.proto.wandb_internal_pb2 import Record

from brats_lightning.cluster.signals import Stopped
from brats_lightning.loggers import wandb_run, wandb_server
from brats_lightning.loggers.wandb_run import STEP, WandbRun


def finish() -> None:
    """End the run; W&B's own `finish` returns before everything of an offline run is on disk."""
    wandb.finish()
    wandb.teardown()


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
        run = WandbRun(
            save_dir=tmp_path / "runs" / "unet3d-7", group="unet3d", job_type="fold-0", tags=["fold 0"], notes="why"
        )
        run.log_hyperparams({"lr": 1e-4, "path": Path("data")})
        run.log_metrics({"val/dice_ET": 0.5, "val/hd95_mm_ET": math.nan}, step=3)
        run.log_metrics({"val/dice_ET": 0.75}, step=4)
        finish()
    assert not connections
    assert [record.getMessage() for record in caplog.records if record.name == wandb_server.__name__] == [
        "W&B: no API key: this run is logged offline"
    ]
    first, second = history(tmp_path / "runs" / "unet3d-7")
    assert (first["val/dice_ET"], first["trainer/global_step"], first["val/hd95_mm_ET"]) == ("0.5", "3", "NaN")
    assert (second["val/dice_ET"], second["trainer/global_step"]) == ("0.75", "4")
    (description,) = [record.run for record in records(tmp_path / "runs" / "unet3d-7") if record.HasField("run")]
    assert (description.display_name, description.project) == ("unet3d-7", "brats")
    assert description.job_type == "fold-0"
    assert (description.run_group, list(description.tags), description.notes) == ("unet3d", ["fold 0"], "why")


def test_only_rank_0_asks_and_logs(nobody: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nobody.setattr(rank_zero_only, "rank", 1)
    nobody.setattr(wandb_server, "reachable", lambda _url: pytest.fail("rank 1 asked"))
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


@pytest.mark.slow
def test_with_a_key_and_a_server_a_metric_arrives(server: Any, tmp_path: Path) -> None:
    run = WandbRun(save_dir=tmp_path / "runs" / "unet3d", group="unet3d")
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
@pytest.mark.parametrize("how", ["gone", "silent"])
def test_a_server_that_is_lost_holds_up_the_end_no_longer_than_told(
    nobody: pytest.MonkeyPatch, server: Any, tmp_path: Path, how: str
) -> None:
    released = threading.Event()
    nobody.setattr(wandb_run, "FINISH_SECONDS", 2)
    run = WandbRun(save_dir=tmp_path / "run")
    run.log_metrics({"a": 1.0}, step=0)
    if how == "gone":
        server.shutdown()
        server.server_close()
    else:
        nobody.setattr(server.RequestHandlerClass, "do_POST", lambda _: released.wait(60))
    run.log_metrics({"a": 2.0}, step=1)
    start = time.monotonic()
    run.finalize("success")
    finish()
    assert time.monotonic() - start < 10
    released.set()


DECIDE = """
import sys
from pathlib import Path
from brats_lightning.loggers import wandb_server
wandb_server.obstacle = lambda: print("asked") or "nobody there"
from brats_lightning.loggers.wandb_run import WandbRun
WandbRun(save_dir=Path("run"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "said"), [("0", ["asked"]), ("1", [])])
def test_of_a_slurm_step_only_rank_0_asks(nobody: pytest.MonkeyPatch, rank: str, said: list[str]) -> None:
    nobody.setenv("SLURM_PROCID", rank)
    nobody.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    answer = subprocess.run([sys.executable, "-c", DECIDE], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == said


def go_on(folder: Path, rows: list[tuple[int, dict[str, float]]]) -> str:
    """A session of a run, and the id that W&B knew it under."""
    run = WandbRun(save_dir=folder)
    for step, values in rows:
        run.log_metrics(values, step=step)
    identity = str(run.experiment.id)
    run.finalize("success")
    finish()
    return identity


@pytest.mark.slow
def test_log_calls_of_one_step_are_one_row_under_its_number(nobody: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = WandbRun(save_dir=tmp_path / "run")
    run.log_metrics({"train/loss": 1.0}, step=4)
    run.log_metrics({"lr": 2.0}, step=4)
    run.log_hyperparams({"seed": 1})
    run.log_table("cases", columns=["case"], data=[["a"]])
    run.log_metrics({"train/loss": 3.0}, step=9)
    finish()
    first, second = history(tmp_path / "run")
    assert (first["train/loss"], first["lr"], first["_step"], first[STEP]) == ("1", "2", "4", "4")
    assert any(name.startswith("cases") for name in first)
    assert (second["train/loss"], second["_step"]) == ("3", "9")


@pytest.mark.slow
@pytest.mark.parametrize("online", [False, True])
def test_steps_done_again_are_not_logged_again_but_what_was_missing_is(
    nobody: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest, online: bool
) -> None:
    server = request.getfixturevalue("server") if online else None
    first = go_on(tmp_path / "run", [(step, {"train/loss": float(step)}) for step in range(6)])
    time.sleep(1.1)  # W&B names its folders by the second
    again = [(step, {"train/loss": -1.0}) for step in range(3, 6)]
    second = go_on(tmp_path / "run", [*again, (5, {"val/dice": 0.5}), (6, {"train/loss": 6.0})])
    assert first == second
    if server is not None:
        (arrived,) = server.state.runs.values()
        assert [row["train/loss"] for row in arrived["history"]] == [0, 1, 2, 3, 4, 5, 6]
        assert [row["_step"] for row in arrived["history"]] == [0, 1, 2, 3, 4, 5, 6]
        assert arrived["history"][-1]["val/dice"] == 0.5
    else:
        newest = max((tmp_path / "run" / "wandb").glob("offline-run-*"))
        shutil.copytree(newest, tmp_path / "newest" / "wandb" / newest.name)
        (row,) = history(tmp_path / "newest")
        assert (row["train/loss"], row["val/dice"], row["_step"], row[STEP]) == ("6", "0.5", "6", "6")


@pytest.mark.slow
def test_while_parts_wait_to_be_sent_a_run_stays_offline(
    server: Any, nobody: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    nobody.setenv("WANDB_MODE", "offline")
    go_on(tmp_path / "run", [(0, {"a": 1.0})])
    nobody.delenv("WANDB_MODE")
    time.sleep(1.1)
    with caplog.at_level(logging.INFO):
        go_on(tmp_path / "run", [(1, {"a": 2.0})])
    assert "wait to be sent (brats sync): it is logged offline" in caplog.text
    assert server.state.runs == {}
    for segment in (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"):
        segment.with_suffix(".wandb.synced").touch()
    time.sleep(1.1)
    go_on(tmp_path / "run", [(2, {"a": 3.0})])
    assert len(server.state.runs) == 1


class StopAfterTheFirstBatch(Callback):
    def __init__(self, reason: BaseException) -> None:
        self.reason = reason

    def on_train_batch_end(self, *_args: object, **_kwargs: object) -> None:
        raise self.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "preempting", "exit_code"),
    [(Stopped("SIGUSR1"), True, 138), (Stopped("SIGTERM"), True, 143), (RuntimeError("broken"), False, 1)],
)
def test_a_run_that_was_asked_to_stop_counts_as_preempted_and_a_broken_one_as_failed(
    nobody: pytest.MonkeyPatch, tmp_path: Path, reason: BaseException, preempting: bool, exit_code: int
) -> None:
    trainer = Trainer(
        logger=WandbRun(save_dir=tmp_path / "run"),
        callbacks=[StopAfterTheFirstBatch(reason)],
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=3,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(type(reason)):
        trainer.fit(BoringModel())
    wandb.teardown()
    found = records(tmp_path / "run")
    assert any(record.HasField("preempting") for record in found) is preempting
    assert [record.exit.exit_code for record in found if record.HasField("exit")] == [exit_code]


KILLED = """
import logging, os, signal, subprocess, sys, time
from pathlib import Path
from brats_lightning.loggers.wandb_run import WandbRun
logging.basicConfig(format="%(message)s", stream=sys.stdout)
after = int(sys.argv[1])
run = WandbRun(save_dir=Path("run"))
run.log_metrics({"a": 0.0}, step=0)
service = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"], capture_output=True, check=True).stdout
os.kill(int(service), signal.SIGTERM)
time.sleep(0.5)
for step in range(1, 1 + after):
    run.log_metrics({"a": float(step)}, step=step)
run.finalize("success")
print("left")
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 2])
def test_that_w_and_b_is_ended_by_a_signal_to_all_ends_no_training(nobody: pytest.MonkeyPatch, after: int) -> None:
    nobody.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    killed = [sys.executable, "-c", KILLED, str(after)]
    answer = subprocess.run(killed, capture_output=True, text=True, check=True, timeout=90)
    said = [line.partition(" (")[0] for line in answer.stdout.splitlines() if "W&B:" in line or line == "left"]
    assert said == [*["W&B: its process is gone"] * (after > 0), "left"]
