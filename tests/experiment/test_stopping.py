import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from brats_lightning import cli
from brats_lightning.cluster import signals
from brats_lightning.cluster.allocation import Job, Task
from brats_lightning.cluster.signals import Stopped
from brats_lightning.experiment import stopping
from brats_lightning.experiment.stopping import going_on, leave

JOB = Job("17", "n1", 0)
RUN = Path("runs/unet3d")


class Queue:
    """A batch system that takes jobs back, or does not; what was done is in `order`."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes = takes
        self.order: list[str] = []

    def requeue(self, job: Job, *, run: Path | None = None) -> bool:
        self.order.append(f"{job.id}: {run}")
        return self.takes


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = (signal.SIGUSR1, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    signals.forget()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process alone, outside of a job."""
    monkeypatch.setattr(stopping, "own_job", lambda: None)
    monkeypatch.setattr(stopping, "own_task", Task)
    return monkeypatch


def left(stopped: Stopped, run: Path | None = RUN) -> int | str | None:
    """The exit code."""
    with pytest.raises(SystemExit) as left:
        leave(stopped, run=run)
    return left.value.code


def test_a_stopped_run_says_how_to_go_on_and_is_not_done(
    place: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brats_lightning")
    assert left(Stopped("SIGUSR1", saved="last.ckpt")) == 75
    assert caplog.messages == [
        "stopped by SIGUSR1; saved in last.ckpt",
        "go on with: brats fit --run runs/unet3d --ckpt_path auto",
    ]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN  # that a re-queued job is sent, too


def test_only_the_signal_before_the_end_of_a_job_puts_it_back(
    place: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brats_lightning")
    queue = Queue()
    place.setattr(stopping, "own_job", lambda: JOB)
    place.setattr(stopping, "requeue", queue.requeue)
    assert left(Stopped("SIGTERM", saved="last.ckpt")) == 128 + signal.SIGTERM
    assert queue.order == []
    assert caplog.messages[-1].startswith("go on with: ")
    caplog.clear()
    assert left(Stopped("SIGUSR1", saved="last.ckpt")) == 75
    assert queue.order == ["17: runs/unet3d"]
    assert not any("go on with" in message for message in caplog.messages)


def test_a_site_that_takes_no_job_back_leaves_it_to_the_user(
    place: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brats_lightning")
    queue = Queue(takes=False)
    place.setattr(stopping, "own_job", lambda: JOB)
    place.setattr(stopping, "requeue", queue.requeue)
    assert left(Stopped("SIGUSR1", saved="last.ckpt")) == 75
    # What to type has been said by who asked SLURM, and is said once.
    assert caplog.messages == ["stopped by SIGUSR1; saved in last.ckpt"]


def test_after_a_job_one_goes_on_by_a_job(place: pytest.MonkeyPatch) -> None:
    place.setenv("PATH", "")
    place.setattr(stopping, "own_job", lambda: JOB)
    assert going_on(RUN) == f"RUN={RUN.resolve()} sbatch JOB.sbatch"
    place.setattr(stopping, "own_job", lambda: None)
    assert going_on(RUN) == f"brats fit --run {RUN} --ckpt_path auto"


def test_of_several_processes_the_first_one_puts_the_job_back_before_any_leaves(place: pytest.MonkeyPatch) -> None:
    for rank, expected in ((0, ["17: runs/unet3d", "meet", "leave"]), (1, ["meet", "leave"])):
        queue, task = Queue(), Task(rank, 2, rank, 2, 1, "srun")
        place.setattr(stopping, "own_job", lambda: JOB)
        place.setattr(stopping, "own_task", partial(replace, task))
        place.setattr(stopping, "requeue", queue.requeue)
        place.setattr(stopping, "meet", partial(queue.order.append, "meet"))
        place.setattr(stopping, "leave_together", partial(queue.order.append, "leave"))
        assert left(Stopped("SIGUSR1", saved="last.ckpt")) == 75
        assert queue.order == expected


def test_work_whose_parts_are_kept_waits_for_nobody(
    place: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tasks that share cases have not all come here: some may have ended."""
    caplog.set_level(logging.INFO, "brats_lightning")
    place.setattr(stopping, "meet", lambda: pytest.fail("waited for others"))
    assert left(Stopped("SIGUSR1"), run=None) == 75
    assert caplog.messages == ["stopped by SIGUSR1; what is finished is kept"]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_commands_that_can_stop_listen_before_they_import_anything_that_takes_long(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM may send the signal while PyTorch is imported, and what has not asked for it dies of it."""
    heard: list[str | None] = []

    class Imported(Exception):  # noqa: N818
        pass

    def imported(module: str) -> None:
        handler = signal.getsignal(signal.SIGUSR1)
        if handler is signal.SIG_DFL:
            heard.append(None)
        else:
            os.kill(os.getpid(), signal.SIGUSR1)
            heard.append(signals.asked())
        raise Imported

    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    monkeypatch.setattr(cli, "import_module", imported)
    with pytest.raises(Imported):
        cli.main([name])
    assert heard == ["SIGUSR1" if cli.COMMANDS[name].stops else None]
    assert heard[0] or name not in {"fit", "cache", "predict"}


def test_listening_itself_imports_nothing_that_takes_long() -> None:
    code = "import brats_lightning.cli, sys; print({'torch', 'numpy', 'monai'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.strip() == "set()"
