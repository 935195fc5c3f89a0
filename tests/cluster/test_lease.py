import contextlib
import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from brats_lightning.cluster import lease as module
from brats_lightning.cluster.allocation import Job
from brats_lightning.cluster.holder import Holder, from_json, this_process
from brats_lightning.cluster.lease import FILE, Lease, may_write
from brats_lightning.errors import ConfigError

JOB = Job("12", "n1", 0)
ELSEWHERE = {"machine": "n9", "kernel": "another"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a run, of a person outside of any job."""
    monkeypatch.delenv("SLURM_CLUSTER_NAME", raising=False)
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.01)
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def leave_behind(run: Path, *, silent_seconds: float = 0, **changed: str | int) -> Holder:
    """The file of a process that is not this one."""
    holder = replace(this_process(None), **changed)  # type: ignore[arg-type]
    (run / FILE).write_text(holder.json)
    heard = time.time() - silent_seconds
    os.utime(run / FILE, (heard, heard))
    return holder


def said_by(code: str, run: Path) -> str:
    """What a process of its own prints."""
    lines = ["import os, resource, time", "from pathlib import Path", "from brats_lightning.cluster.lease import *"]
    program = "\n".join([*lines, f"run = Path({str(run)!r})", code])
    return subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True).stdout


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_folder_has_one_user_until_it_is_released(run: Path) -> None:
    with Lease.take(run) as lease:
        told = json.loads((run / FILE).read_text())
        assert (told["process"], told["mark"]) == (os.getpid(), lease.holder.mark)
        with pytest.raises(
            ConfigError,
            match=rf"run is in use by process {os.getpid()} on \S+, heard of 0 s ago: wait for it, or end it with "
            rf"`kill {os.getpid()} on \S+`, or give another --run",
        ):
            Lease.take(run)
        assert may_write(run)
        assert lease.held()
    assert not list(run.iterdir())
    Lease.take(run).release()


def test_an_error_releases_it(run: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), Lease.take(run):
        1 / 0  # noqa: B018
    assert not list(run.iterdir())


def test_two_runs_of_one_process_have_a_folder_each(run: Path, tmp_path: Path) -> None:
    with Lease.take(run), Lease.take(tmp_path):
        assert (run / FILE).exists()
        assert (tmp_path / FILE).exists()
    assert not (tmp_path / FILE).exists()


def test_a_process_that_lives_is_respected_and_one_that_was_killed_is_not(run: Path) -> None:
    code = f"from pathlib import Path; from {module.__name__} import *; Lease.take(Path({str(run)!r})); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        wait_until(lambda: (run / FILE).exists() and (run / FILE).stat().st_size > 0)
        with pytest.raises(ConfigError, match=f"in use by process {process.pid} on "):
            Lease.take(run)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and nobody has buried it
        assert (run / FILE).exists()
        with Lease.take(run) as lease:
            assert json.loads((run / FILE).read_text())["mark"] == lease.holder.mark


def test_a_number_that_was_given_to_another_process_is_no_sign_of_life(run: Path) -> None:
    leave_behind(run, born="1")
    Lease.take(run).release()


def test_a_forked_worker_neither_holds_nor_releases(run: Path) -> None:
    code = """
lease = Lease.take(run, renewed_seconds=0.05)
child = os.fork()
if child == 0:
    lease.release()
    os._exit(0)
os.waitpid(child, 0)
print("ready", (run / FILE).exists(), flush=True)
lease.release()
print((run / FILE).exists(), flush=True)
"""
    assert said_by(code, run) == "ready True\nFalse\n"


@pytest.mark.parametrize(("silent_seconds", "lives"), [(5, True), (100, True), (140, False)])
def test_a_process_elsewhere_lives_as_long_as_it_is_heard_of(run: Path, silent_seconds: float, lives: bool) -> None:
    leave_behind(run, silent_seconds=silent_seconds, **ELSEWHERE)
    if lives:
        told = rf"on n9, heard of {silent_seconds:.0f} s ago: .*counts as gone after 120 s\), or give another --run"
        with pytest.raises(ConfigError, match=told):
            Lease.take(run)
        assert [path.name for path in run.iterdir()] == [FILE]
    else:
        Lease.take(run).release()


def test_two_containers_of_one_name_are_two_machines(run: Path) -> None:
    leave_behind(run, kernel="its own", process=2**22 + 1)  # a number that no process of this machine has
    with pytest.raises(ConfigError, match="in use by"):
        Lease.take(run)


def test_age_is_told_by_the_clock_of_the_disk(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_behind(run, silent_seconds=3600, **ELSEWHERE)
    monkeypatch.setattr(module, "_touched", lambda path: path.stat().st_mtime - 3600 + 7)
    with pytest.raises(ConfigError, match="heard of 7 s ago"):
        Lease.take(run)


@pytest.mark.parametrize("text", ["", '{"mark": "ab', "[]", '{"mark": "ab", "of": "a later version"}'])
def test_a_file_that_tells_nothing_is_waited_for(run: Path, text: str) -> None:
    (run / FILE).write_text(text)
    with pytest.raises(ConfigError, match=r"in use by a process that has only begun to say who it is, .* try again"):
        Lease.take(run)
    os.utime(run / FILE, (0, 0))
    Lease.take(run).release()


def test_a_job_that_was_put_back_takes_over_and_the_old_copy_notices(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = Lease.take(run, job=JOB, renewed_seconds=0.02)
    new = Lease.take(run, job=replace(JOB, restarts=1))
    wait_until(lambda: old.lost)
    assert not old.held()
    assert "was taken over by job 12 (process" in caplog.text
    mark = new.holder.mark
    old.release()
    assert from_json((run / FILE).read_text()).mark == mark
    with pytest.raises(ConfigError, match="in use by job 12"):
        Lease.take(run, job=JOB)  # a copy that comes late
    new.release()
    assert not list(run.iterdir())


def test_what_lost_a_folder_may_not_write_even_after_releasing_it(run: Path) -> None:
    old = Lease.take(run)
    assert may_write(run)
    leave_behind(run)
    assert not may_write(run)
    old.release()
    assert not may_write(run)
    (run / FILE).unlink()
    with Lease.take(run):
        assert may_write(run)


def test_a_process_without_a_lease_may_write(run: Path) -> None:
    leave_behind(run)
    assert may_write(run)


def test_it_is_renewed(run: Path) -> None:
    with Lease.take(run, renewed_seconds=0.02):
        os.utime(run / FILE, (0, 0))
        wait_until(lambda: (run / FILE).stat().st_mtime > 0)
        (run / FILE).unlink()
        wait_until((run / FILE).exists)


def test_a_disk_that_does_not_answer_is_no_loss(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lease.take(run, renewed_seconds=0.01) as lease:
        with monkeypatch.context() as patch:
            failed = threading.Event()

            def read(path: Path) -> Holder:
                failed.set()
                raise OSError(errno.EIO, "Input/output error")

            patch.setattr(module, "_read", read)
            assert failed.wait(10)
            assert lease.held()
        os.utime(run / FILE, (0, 0))
        wait_until(lambda: (run / FILE).stat().st_mtime > 0)


@pytest.mark.parametrize("dead", [False, True], ids=["new", "left behind"])
def test_of_many_at_once_one_has_it(run: Path, dead: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_SECONDS", 0.5)
    if dead:
        leave_behind(run, born="1")
    together = threading.Barrier(12)

    def rush() -> Lease | None:
        together.wait()
        with contextlib.suppress(ConfigError):
            return Lease.take(run)
        return None

    with ThreadPoolExecutor(12) as pool:
        taken = [lease for lease in [task.result() for task in [pool.submit(rush) for _ in range(12)]] if lease]
    assert len(taken) == 1
    assert [path.name for path in run.iterdir()] == [FILE]
    assert taken[0].held()
    taken[0].release()


def test_a_folder_that_cannot_be_written_to_is_told(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere cannot be written to \(No such file.*\): give another --run"):
        Lease.take(run / "nowhere")
    code = """
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    Lease.take(run)
except ConfigError as error:
    print(error)
"""
    for left in (0, 1):  # on a folder that is free, and on one that was left behind
        if left:
            leave_behind(run, born="1")
        assert said_by(code, run).endswith("cannot be written to (File too large): give another --run\n")
        assert len(list(run.iterdir())) == left
