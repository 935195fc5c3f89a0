"""The server's hold on a worker: here a process without networks that does what the case's name says."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.web.records import CaseRecord
from brats_lightning.web.work import worker_process
from brats_lightning.web.work.messages import (
    Failure,
    Job,
    Outcome,
    Progress,
    Ready,
    Setup,
    Stop,
    Stopped,
    Unable,
    WorkOptions,
    asked,
    send,
)
from brats_lightning.web.work.worker_process import JobStoppedError, WorkerProcess


def obey(connection: Connection, setup: Setup) -> None:
    """The target of the process."""
    if setup.device == "none":
        send(connection, Unable(sentence="there is no such device"))
        return
    if setup.device == "gone":
        return
    send(connection, Ready(networks=[], gpus=os.getpid()))
    while isinstance(job := asked(connection), Job):
        send(connection, Progress(stage=job.record.name, percent=50))
        match job.record.name:
            case "good":
                send(connection, Outcome(results=["mask.nii.gz"]))
            case "bad":
                send(connection, Failure(sentence="an empty image"))
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raves":
                connection.send_bytes(b"nonsense")
            case "obeys":
                assert isinstance(asked(connection), Stop)
                send(connection, Stopped())
            case "hangs":
                time.sleep(60)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    monkeypatch.setattr(worker_process, "work", obey)
    made = WorkerProcess(setup("cpu"))
    yield made
    made.kill()


def setup(device: str) -> Setup:
    return Setup({}, device, (), WorkOptions())


def job(name: str) -> Job:
    return Job(work="segment", folder="", record=CaseRecord(id="x", name=name, created=0, expires=1))


def do(worker: WorkerProcess, name: str, *, stop: threading.Event | None = None, seconds: float = 30) -> Outcome:
    told: list[tuple[str, float]] = []
    try:
        return worker.do(
            job(name), tell=lambda *said: told.append(said), stop=stop or threading.Event(), seconds=seconds
        )
    finally:
        assert told in ([(name, 50)], [])


def test_work_is_handed_on_and_answered_by_one_process(worker: WorkerProcess) -> None:
    worker.start()
    first = worker.ready().gpus
    assert do(worker, "good").results == ["mask.nii.gz"]
    with pytest.raises(BratsError, match="an empty image"):
        do(worker, "bad")
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(JobStoppedError):
        do(worker, "obeys", stop=stop)
    assert worker.process_id == first


def test_a_killed_process_fails_its_work_alone(worker: WorkerProcess) -> None:
    with pytest.raises(BratsError, match="was killed, often for want of memory"):
        do(worker, "dies")
    assert do(worker, "good").results == ["mask.nii.gz"]
    with pytest.raises(BratsError, match="was killed"):
        do(worker, "raves")


def test_a_process_that_does_not_listen_is_killed_within_two_seconds(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert worker_process.GRACE_SECONDS <= 1
    monkeypatch.setattr(worker_process, "GRACE_SECONDS", 0.1)
    worker.start()
    worker.ready()
    stop = threading.Event()
    stop.set()
    started = time.monotonic()
    with pytest.raises(JobStoppedError):
        do(worker, "hangs", stop=stop)
    assert time.monotonic() - started < 1
    with pytest.raises(BratsError, match=r"longer than 0\.001 minutes"):
        do(worker, "hangs", seconds=0.06)


@pytest.mark.parametrize(("device", "what"), [("none", "^there is no such device$"), ("gone", "ended while it opened")])
def test_a_process_that_cannot_open_its_networks_says_so(
    monkeypatch: pytest.MonkeyPatch, device: str, what: str
) -> None:
    monkeypatch.setattr(worker_process, "work", obey)
    worker = WorkerProcess(setup(device))
    worker.start()
    with pytest.raises(BratsError, match=what):
        worker.ready()
