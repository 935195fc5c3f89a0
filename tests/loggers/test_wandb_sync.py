import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import wandb

from brats_lightning.cluster.lease import FILE as LEASE
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.loggers import wandb_sending, wandb_sync
from brats_lightning.loggers.wandb_segments import is_unsent
from brats_lightning.loggers.wandb_sending import QUIET_SECONDS, Outcome, send
from brats_lightning.loggers.wandb_sync import sync, unsent

REPOSITORY = Path(__file__).parents[2]
SESSION = """
import os, sys, wandb
from pathlib import Path
from brats_lightning.loggers.wandb_run import WandbRun
first, last, value, end = sys.argv[1:]
run = WandbRun(save_dir=Path("runs/unet3d"), job_type="fit", offline=True)
run.log_hyperparams({"lr": 0.1, "ckpt_path": first})
for step in range(int(first), int(last)):
    run.log_metrics({"train/loss": float(value)}, step=step)
    run.log_metrics({"lr": 0.1}, step=step)
    if step % 100 == 99:
        run.log_metrics({"val/dice": step / 100}, step=step)
if end == "killed":
    run.experiment.step  # an answer: what was logged has arrived
    os.kill(os.getpid(), 9)
run.finalize("success")
wandb.teardown()
"""


def session(first: int, last: int, *, value: int, end: str = "success", restarts: int = 0) -> None:
    """A process that trains from one step up to another, offline, and ends well or is killed."""
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_RESTART_COUNT": str(restarts)}
    code = subprocess.run(
        [sys.executable, "-c", SESSION, str(first), str(last), str(value), end],
        env=os.environ | job | {"PYTHONPATH": str(REPOSITORY)},
        check=False,
    ).returncode
    assert code == (-signal.SIGKILL if end == "killed" else 0)


def long_ago(folder: Path) -> None:
    for file in folder.rglob("*.wandb"):
        os.utime(file, (time.time() - 2 * QUIET_SECONDS,) * 2)


def header_only(folder: Path, *, name: str) -> Path:
    """A file with nothing but its header beside the others of a run."""
    other = next(folder.glob("offline-run-*/run-*.wandb"))
    file = folder / f"{name}{other.stem.removeprefix('run-')}" / other.name
    file.parent.mkdir()
    file.write_bytes(other.read_bytes()[:7])
    return file


@pytest.fixture
def offline(tmp_path: Path) -> Path:
    """Folder of runs with one file that waits to be sent."""
    segment = tmp_path / "runs" / "a" / "wandb" / "offline-run-20261120_131109-x" / "run-x.wandb"
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b":W&B\xe1\xbe\x00" + bytes(7))
    return tmp_path / "runs"


def more_runs(folder: Path, count: int) -> None:
    """Files of further runs that wait to be sent, r0 first."""
    for number in range(count):
        name = f"r{number}"
        segment = folder / name / "wandb" / f"offline-run-20261120_13111{number}-{name}" / f"run-{name}.wandb"
        segment.parent.mkdir(parents=True)
        segment.touch()


@pytest.mark.slow
def test_a_run_that_was_killed_and_restarted_offline_arrives_as_one_history(
    server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session(0, 500, value=1, end="killed")
    session(350, 700, value=2, restarts=1)  # from a checkpoint before the end of what is on disk
    empty = header_only(
        Path("runs/unet3d/wandb"), name="offline-run-20000101_000000-"
    )  # died before W&B wrote anything out
    session(700, 800, value=4, restarts=3)
    long_ago(tmp_path)
    sync()
    (arrived,) = server.state.runs.values()
    history = arrived["history"]
    steps = [row["_step"] for row in history]
    assert steps == [row["trainer/global_step"] for row in history] == list(range(800))
    values = [row["train/loss"] for row in history]
    first_time = values.index(2.0)
    assert 350 < first_time <= 500  # rows that the killed process left are kept, and not doubled
    assert values == [1.0] * first_time + [2.0] * (700 - first_time) + [4.0] * 100
    assert {row["_step"]: row["val/dice"] for row in history if "val/dice" in row} == {
        step: step / 100 for step in range(99, 800, 100)
    }
    assert all("lr" in row for row in history)
    assert arrived["exitcode"] == 0
    assert arrived["config"]["slurm"]["value"] == {"job": "7", "nodes": "n[1-2]", "restarts": 3}
    assert arrived["config"]["ckpt_path"]["value"] == "700"
    assert not is_unsent(empty)
    assert (arrived["displayName"], arrived["jobType"]) == ("unet3d", "fit")
    assert arrived["name"] == Path("runs/unet3d/wandb_id").read_text().splitlines()[0]
    assert "3 parts sent" in capsys.readouterr().out
    sync()
    assert "nothing below runs waits to be sent" in capsys.readouterr().out
    assert len(arrived["history"]) == 800


@pytest.mark.slow
def test_the_script_sends_from_a_login_node(server: Any, nobody: pytest.MonkeyPatch, tmp_path: Path) -> None:
    session(0, 5, value=1)
    Path("site.env").write_text(
        f"BRATS={Path(sys.executable).parent / 'brats'}\nBRATS_SETUP='cd runs'\nWANDB_MODE=offline\n"
    )
    nobody.setenv("BRATS_SITE", "site.env")
    script = ["bash", str(REPOSITORY / "slurm" / "sync.sbatch")]
    said = subprocess.run([*script, "unet3d", "--minutes", "1"], capture_output=True, text=True, check=True)
    assert "1 part sent" in said.stdout + said.stderr
    (arrived,) = server.state.runs.values()
    assert [row["_step"] for row in arrived["history"]] == [0, 1, 2, 3, 4]
    refused = subprocess.run([*script, "nowhere"], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "no folder nowhere" in refused.stderr


@pytest.mark.slow
def test_a_server_that_goes_silent_is_given_up_in_time_and_nothing_is_lost_or_doubled(
    server: Any, nobody: pytest.MonkeyPatch, deaf_server: int, capsys: pytest.CaptureFixture[str]
) -> None:
    session(0, 5, value=1)
    runs, stands_in, handler = Path("runs"), os.environ["WANDB_BASE_URL"], server.RequestHandlerClass
    before, released = set(Path().iterdir()), threading.Event()
    for address in (f"http://127.0.0.1:{deaf_server}", stands_in):  # from the beginning, and in the midst of a run
        with nobody.context() as patch:
            patch.setattr(handler, "file_stream", lambda *_: released.wait(60))
            patch.setenv("WANDB_BASE_URL", address)
            wandb.teardown()  # which remembers the address
            start = time.monotonic()
            with pytest.raises(BratsError, match="1 of 1 runs could not be sent: give the same command again"):
                sync(runs, minutes=0.05)
            assert time.monotonic() - start < 12
        assert "0 parts sent; failed: not done within 0.05 minutes" in capsys.readouterr().out
        assert unsent(runs)
    with nobody.context() as patch:
        patch.setattr(handler, "do_PUT", refuse)
        with pytest.raises(BratsError, match="1 of 1 runs arrived without some of their files"):
            sync(runs)
    assert re.search(
        r"1 part sent, without \d+ files that the server refused \(403 Forbidden\)", capsys.readouterr().out
    )
    (arrived,) = server.state.runs.values()
    assert [row["_step"] for row in arrived["history"]] == [0, 1, 2, 3, 4]
    sync(runs)
    assert "nothing below runs waits to be sent" in capsys.readouterr().out
    assert set(Path().iterdir()) == before  # no log where the command was given
    released.set()


def refuse(handler: Any) -> None:
    """As a store of files that is kept from this machine."""
    handler.body()
    handler.out({}, 403)


def test_after_a_server_was_silent_other_runs_do_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        segment = (
            offline / f"r{number}" / "wandb" / f"offline-run-20261120_13111{number}-r{number}" / f"run-r{number}.wandb"
        )
        segment.parent.mkdir(parents=True)
        segment.touch()
    tried: list[str] = []
    answers = {"r1": True}

    def send(segments: list[Path], *, minutes: float) -> Outcome:
        run = segments[0].stem.removeprefix("run-")
        tried.append(run)
        return Outcome(run, 1, 0) if answers.get(run) else Outcome(run, 0, 0, "not done in time", late=True)

    monkeypatch.setattr(wandb_sync, "obstacle", str)
    monkeypatch.setattr(wandb_sync, "send", send)
    with pytest.raises(BratsError, match="5 of 5 runs could not be sent"):
        sync(offline, workers=1)
    assert tried == ["x"]
    assert capsys.readouterr().out.count("not tried, as the server had not answered for others") == 4
    tried.clear()
    answers["x"] = True  # a long run may be late, while others arrive
    with pytest.raises(BratsError, match="3 of 5 runs could not be sent"):
        sync(offline, workers=1)
    assert tried == ["x", "r0", "r1", "r2", "r3"]
    lost = iter(["", "", "no route"])
    monkeypatch.setattr(wandb_sync, "obstacle", lambda: next(lost, "no route"))
    with pytest.raises(BratsError, match="4 of 5 runs could not be sent"):
        sync(offline, workers=1)
    assert tried[5:] == ["x"]


def test_without_key_or_route_nothing_is_tried(nobody: pytest.MonkeyPatch, offline: Path) -> None:
    nobody.setattr(wandb_sync, "send", lambda *_args, **_kwargs: pytest.fail("it tried"))
    with pytest.raises(BratsError, match=f"no API key: 1 runs below {offline} are not sent"):
        sync(offline)
    nobody.setenv("WANDB_API_KEY", "k" * 40)
    nobody.setenv("WANDB_MODE", "offline")  # of the training runs
    with pytest.raises(BratsError, match="no route"):
        sync(offline)


@pytest.mark.parametrize(("options", "told"), [({"workers": 0}, "found 10 and 0"), ({"minutes": 0.0}, "found 0 and 4")])
def test_options_that_make_no_sense_are_refused(offline: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        sync(offline, **options)


def test_as_many_runs_as_asked_for_are_sent_at_once(
    monkeypatch: pytest.MonkeyPatch, offline: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more_runs(offline, 5)
    at_once, most = [0], [0]

    def send(segments: list[Path], *, minutes: float) -> Outcome:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        time.sleep(0.1)
        at_once[0] -= 1
        run = segments[0].stem
        return Outcome(run, 1, 0, "refused" if run == "run-r3" else "")

    monkeypatch.setattr(wandb_sync, "obstacle", str)
    monkeypatch.setattr(wandb_sync, "send", send)
    with pytest.raises(BratsError, match="1 of 6 runs could not be sent"):
        sync(offline, workers=3)
    assert most == [3]
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 6
    assert "run-r3: 1 part sent; failed: refused" in said


def test_what_another_call_is_sending_is_left_to_it(monkeypatch: pytest.MonkeyPatch, offline: Path) -> None:
    monkeypatch.setattr(wandb_sending, "wandb_sync", lambda *_args, **_kwargs: pytest.fail("it sent"))
    (segments,) = unsent(offline).values()
    long_ago(offline)
    with segments[0].open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        outcome = send(segments, minutes=1)
    assert (outcome.sent, outcome.busy, outcome.failure) == (0, 1, "")
    assert "another call is sending the rest" in str(outcome)
    segments[0].with_suffix(".wandb.synced").touch()  # as that one has done meanwhile
    assert send(segments, minutes=1) == Outcome("x", 0, 0)


@pytest.mark.parametrize(("silent", "lease", "left"), [(0, None, 1), (600, None, 0), (600, 0, 1), (600, 600, 0)])
def test_what_a_live_process_writes_is_left_for_the_next_time(
    monkeypatch: pytest.MonkeyPatch, offline: Path, silent: int, lease: int | None, left: int
) -> None:
    monkeypatch.setattr(wandb_sending, "wandb_sync", lambda *_args, **_kwargs: pytest.fail("it has no record"))
    (segments,) = unsent(offline).values()
    os.utime(segments[0], (time.time() - silent,) * 2)
    if lease is not None:
        file = offline / "a" / LEASE
        file.touch()
        os.utime(file, (time.time() - lease,) * 2)
    outcome = send(segments, minutes=1)
    assert (outcome.sent, outcome.left, outcome.failure) == (0, left, "")
    assert segments[0].stat().st_size == 14
    assert bool(unsent(offline)) is bool(left)


def test_of_a_copied_run_folder_each_part_is_sent_once(offline: Path) -> None:
    shutil.copytree(offline / "a", offline / "b")
    assert {run: len(segments) for run, segments in unsent(offline).items()} == {"x": 1}
    (segment,) = unsent(offline)["x"]
    segment.with_suffix(".wandb.synced").touch()
    assert unsent(offline) == {}


def test_a_run_spread_over_folders_is_sent_in_the_order_of_time(offline: Path) -> None:
    for folder, name in (("c", "offline-run-20261120_131108-x"), ("b", "offline-run-20261121_000000-x")):
        segment = offline / folder / "wandb" / name / "run-x.wandb"
        segment.parent.mkdir(parents=True)
        segment.touch()
    online = offline / "a" / "wandb" / "run-20261120_000000-x" / "run-x.wandb"
    online.parent.mkdir()
    online.touch()
    assert [segment.parents[2].name for segment in unsent(offline)["x"]] == ["c", "a", "b"]


def test_files_of_somebody_else_are_named_and_stop_no_other(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(segment: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(segment))

    long_ago(offline)
    monkeypatch.setattr(wandb_sending, "mend", refuse)
    ((_, segments),) = unsent(offline).items()
    assert send(segments, minutes=1).failure == f"{segments[0]}: Permission denied"
