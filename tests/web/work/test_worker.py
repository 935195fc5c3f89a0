"""The worker: what it tells, when it stops, that it dies with the server; and the real one behind a real queue."""

import asyncio
import errno
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import NoReturn

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.inference.predict import predict
from brats_lightning.machine import is_running
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits
from brats_lightning.web.records import CaseRecord
from brats_lightning.web.work import worker
from brats_lightning.web.work.messages import Failure, Job, Progress, Stop, Stopped, said, send
from brats_lightning.web.work.queue import JobQueue
from brats_lightning.web.work.worker_process import KILLED
from tests.conftest import WriteCase
from tests.web.put_cases import put_folder, write_network

JOB = Job(work="segment", folder="", record=CaseRecord(id="x", name="", created=0, expires=1))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_nobody_is_told_where_cases_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    folder = tmp_path / "cases" / "secret"

    def fail(*_: object) -> NoReturn:
        path = folder / "work" / "mask.nii.gz"
        raise BratsError(f"{path} could not be written") from OSError(number, os.strerror(number))

    monkeypatch.setattr(worker, "_task", fail)
    said = worker.answer(JOB.model_copy(update={"folder": str(folder)}), None, None)  # type: ignore[arg-type]
    assert isinstance(said, Failure)
    assert str(tmp_path) not in said.sentence
    assert "secret" not in said.sentence
    assert ("disk is full: erase cases" in said.sentence) == (number == errno.ENOSPC)


def test_where_memory_runs_out_the_worker_goes_before_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = tmp_path / "oom_score_adj"
    monkeypatch.setattr(worker, "OUT_OF_MEMORY", score)
    worker._be_given_up_first()
    assert 0 < int(score.read_text()) <= 1000
    monkeypatch.setattr(worker, "OUT_OF_MEMORY", tmp_path / "no such folder" / "x")
    worker._be_given_up_first()  # another system: nothing happens


def test_progress_is_told_at_each_stage_and_a_few_times_a_second() -> None:
    ours, theirs = Pipe()
    tell = worker.Teller(theirs)
    tell("Reading", 0)
    for share in range(1000):
        tell("Network", share / 10)
    told = []
    while ours.poll():
        told.append(said(ours))
    assert told[:2] == [Progress(stage="Reading", percent=0), Progress(stage="Network", percent=0)]
    assert len(told) < 20


def test_work_stops_where_it_next_tells_of_itself() -> None:
    ours, theirs = Pipe()
    send(ours, Stop())
    with pytest.raises(worker.StopAskedError):
        worker.Teller(theirs)("Network", 1)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BratsError("t1.nii.gz: an empty image"), "t1.nii.gz: an empty image"),
        (ValueError("Jane Doe"), "something went wrong that nobody has foreseen (ValueError): ask who runs the server"),
        (OSError(28, "No space left on device", "/jane"), "the server could not read or write a file (No space left"),
        (MemoryError(), "the machine has too little memory for this case"),
    ],
)
def test_errors_are_told_without_what_they_may_hold_of_a_patient(
    error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(worker, "_task", fail)
    with caplog.at_level(logging.DEBUG):
        answer = worker.answer(JOB, None, worker.Teller(Pipe()[0]))  # type: ignore[arg-type]
    assert isinstance(answer, Failure)
    assert answer.sentence.startswith(expected)
    assert "ane" not in answer.sentence + caplog.text
    assert bool(caplog.records) == (not isinstance(error, BratsError))


def test_a_stop_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> NoReturn:
        raise worker.StopAskedError

    monkeypatch.setattr(worker, "_task", stop)
    assert worker.answer(JOB, None, worker.Teller(Pipe()[0])) == Stopped()  # type: ignore[arg-type]


SERVER = """
import time
from multiprocessing import get_context
from brats_lightning.web.work.worker import end_with_the_server
if __name__ == "__main__":
    process = get_context("spawn").Process(target=end_with_the_server)
    process.start()
    print(process.pid, flush=True)
    time.sleep(60)
"""


def test_a_worker_does_not_outlive_a_server_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        process = int(server.stdout.readline())
        assert is_running(process)
        server.kill()
    deadline = time.monotonic() + 5
    while _lives(process):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _lives(process: int) -> bool:
    """Whether it runs; in a container nobody may collect what has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    made = CaseStore(tmp_path / "served", Limits())
    yield made
    made.close()


def wait_for(store: CaseStore, case: str, *states: str, stage: str = "") -> CaseRecord:
    deadline = time.monotonic() + 60
    while (record := store.get(case)).state not in states or stage not in record.stage:
        assert time.monotonic() < deadline, record
        time.sleep(0.01)
    return record


@pytest.mark.slow
def test_a_real_worker_segments_stops_when_told_and_is_started_anew_when_it_was_killed(
    store: CaseStore, write_case: WriteCase, tmp_path: Path
) -> None:
    small, large = write_case(), write_case("BraTS2021_00002", shape=(80, 80, 80))
    trained_on = {"smallest": [16, 16, 16], "largest": [16, 16, 16]}  # so that it goes through many windows
    network = write_network(tmp_path / "model.ckpt", trained_on=trained_on)
    predict(small, checkpoint=(network,), output=tmp_path / "predicted")
    queue = JobQueue(store, Limits(), checkpoints={"tiny": network}, devices=("cpu",))
    queue.start()
    process = queue.processes[0]

    stopped, killed, good = (put_folder(store, folder, but=("seg",)).id for folder in (large, large, small))
    for case in (stopped, killed, good):
        queue.submit(case, "segment")
    wait_for(store, stopped, "running", stage="Network")
    asked = time.monotonic()
    queue.cancel(stopped)
    wait_for(store, killed, "running", stage="Network")
    assert time.monotonic() - asked < 2
    assert queue.processes[0] == process
    os.kill(process, signal.SIGKILL)
    assert wait_for(store, killed, "failed").error == KILLED
    record = wait_for(store, good, "done", "failed")

    assert queue.processes[0] != process
    assert record.error is None
    predicted = (tmp_path / "predicted" / "BraTS2021_00001.nii.gz").read_bytes()
    assert (store.results(good) / "mask.nii.gz").read_bytes() == predicted
    assert not list(store.results(stopped).iterdir())
    asyncio.run(queue.close())
    assert not any(_lives(each) for each in queue.processes)
