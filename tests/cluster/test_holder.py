import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from brats_lightning.cluster import holder as module
from brats_lightning.cluster.allocation import Job
from brats_lightning.cluster.holder import Holder, from_json, lives, this_process

CLUSTER = {"SLURM_CLUSTER_NAME": "main"}
ASKER = this_process(Job("12", "n1", 0), CLUSTER)
OTHER = replace(ASKER, mark="other", job="34", machine="n9", kernel="another")
RECENT, LONG = 5.0, 1000.0


class Squeue:
    """A stand-in for the site's, at the head of the path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def does(self, script: str) -> None:
        program = self._folder / "squeue"
        program.write_text(f'#!/bin/sh\necho "$@" >> {self._folder}/calls\n{script}\n')
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        log = self._folder / "calls"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Squeue:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Squeue(tmp_path)


def test_a_file_tells_what_was_written() -> None:
    assert from_json(OTHER.json) == OTHER
    assert this_process(None).mark != this_process(None).mark
    assert not from_json("").mark


@pytest.mark.parametrize(
    ("answer", "silent_seconds", "expected"),
    [
        ("echo RUNNING", RECENT, True),
        ("echo RUNNING", LONG, False),  # the job goes on, with something else
        ("echo COMPLETING", RECENT, True),
        ("echo SUSPENDED", LONG, True),  # it cannot be heard of
        ("echo PENDING", RECENT, False),  # put back; its processes are gone, or lost
        (":", RECENT, False),  # ended a while ago
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", RECENT, False),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", RECENT, True),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", LONG, False),
        ("exec sleep 20", RECENT, True),
        ("exec sleep 20", LONG, False),
    ],
)
def test_a_job_elsewhere_lives_as_slurm_says(
    squeue: Squeue, monkeypatch: pytest.MonkeyPatch, answer: str, silent_seconds: float, expected: bool
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2 if "sleep" in answer else 20.0)
    squeue.does(answer)
    assert lives(OTHER, ASKER, silent_seconds=silent_seconds) is expected
    assert squeue.calls == ["--noheader --jobs 34 --format %T"]


def test_without_squeue_it_lives_as_long_as_it_is_heard_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lives(OTHER, ASKER, silent_seconds=RECENT)
    assert not lives(OTHER, ASKER, silent_seconds=LONG)


@pytest.mark.parametrize("asker", [replace(ASKER, cluster="second"), this_process(None, CLUSTER)])
def test_another_cluster_is_not_asked(squeue: Squeue, asker: Holder) -> None:
    squeue.does(":")
    assert lives(OTHER, asker, silent_seconds=RECENT)
    assert not squeue.calls


@pytest.mark.parametrize("place", [{}, {"machine": "n9", "kernel": "another"}], ids=["here", "elsewhere"])
def test_of_one_job_the_last_start_counts(squeue: Squeue, place: dict[str, str]) -> None:
    squeue.does("echo RUNNING")
    old, new = (replace(ASKER, mark=str(restarts), restarts=restarts) for restarts in (1, 2))
    assert not lives(replace(old, **place), new, silent_seconds=RECENT)  # type: ignore[arg-type]
    assert lives(replace(new, **place), old, silent_seconds=LONG)  # type: ignore[arg-type]
    assert not squeue.calls


def test_a_number_of_another_cluster_is_another_job() -> None:
    old = replace(ASKER, cluster="second")
    assert lives(old, replace(ASKER, restarts=1), silent_seconds=LONG)  # its process runs here: it is this one


def test_a_process_of_this_machine_lives_while_it_runs() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        asker = this_process(None)
        running = replace(asker, process=process.pid, born=module._born(process.pid))  # type: ignore[arg-type]
        assert lives(running, asker, silent_seconds=LONG)
        assert not lives(replace(running, born="1"), asker, silent_seconds=RECENT)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not lives(running, asker, silent_seconds=RECENT)  # a zombie
    assert not lives(running, asker, silent_seconds=RECENT)


def test_where_the_kernel_tells_nothing_the_number_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_born", lambda _process: None)
    monkeypatch.setattr(module, "_kernel", lambda: "")
    asker = this_process(None)
    assert asker.is_here
    assert lives(asker, replace(asker, mark="other"), silent_seconds=LONG)
    assert not lives(replace(asker, process=2**31), asker, silent_seconds=RECENT)


def test_a_process_says_what_ends_it() -> None:
    assert str(OTHER) == f"job 34 (process {os.getpid()} on n9)"
    assert OTHER.cure.startswith("wait for it, or end it with `scancel 34` (if it was killed, ")
    here = this_process(None)
    assert here.cure == f"wait for it, or end it with `kill {os.getpid()} on {here.machine}`"


def test_asking_has_an_end(squeue: Squeue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.2)
    squeue.does("exec sleep 20")
    began = time.monotonic()
    lives(OTHER, ASKER, silent_seconds=RECENT)
    assert time.monotonic() - began < 5
