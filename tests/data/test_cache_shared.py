"""One folder of entries, filled by several processes at once."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from brats_lightning.cluster import signals
from brats_lightning.cluster.signals import Stopped
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.homes import DiskHome
from brats_lightning.data.preprocessing import Preprocessing, Sample

SMALL = Preprocessing(size=(8, 9, 10))
CASES = 24
FORK = multiprocessing.get_context("fork")
GOLDEN = 0.618


@pytest.fixture
def cases(write_case: Callable[..., Path], tmp_path: Path) -> tuple[Case, ...]:
    for number in range(CASES):
        write_case(f"BraTS2021_{number:05}", ending=".nii", seed=number, shape=(12, 12, 12))
    return find_cases(tmp_path / "cases").cases


@pytest.fixture
def fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., CaseCache]:
    """Fills `tmp_path / "cache"`, a case in some seconds, and notes each case that is begun in `tmp_path / "built"`."""
    build, pause = Preprocessing.__call__, [0.0]

    def slowly(pipeline: Preprocessing, case: Case) -> Sample:
        with (tmp_path / "built").open("a") as file:
            file.write(f"{os.getpid()} {case.id}\n")
        time.sleep(pause[0])
        return build(pipeline, case)

    monkeypatch.setattr(Preprocessing, "__call__", slowly)

    def fill(cases: tuple[Case, ...], *, number: int = 0, seconds: float = 0.0, workers: int = 0) -> CaseCache:
        pause[0] = seconds
        cache = CaseCache(SMALL, DiskHome(tmp_path / "cache"), file_key="stat")
        assert cache.fill(cases, workers=workers, start=number * GOLDEN % 1, show=False) == []
        assert cache.missing(cases) == []  # whoever has built them
        return cache

    return fill


def built(tmp_path: Path) -> list[tuple[int, str]]:
    """Process and case of each build that was begun."""
    lines = (tmp_path / "built").read_text().splitlines()
    return [(int(process), case) for process, case in map(str.split, lines)]


def start(fill: Callable[..., CaseCache], cases: tuple[Case, ...], **options: object) -> BaseProcess:
    process = FORK.Process(target=fill, args=(cases,), kwargs=options)
    process.start()
    return process


def entries(tmp_path: Path) -> int:
    return len(list((tmp_path / "cache").glob("[!.]*")))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("pauses", [(0.05, 0.05, 0.05), (0.02, 0.05, 0.15)])
def test_they_share_the_work_however_fast_each_is(
    cases: tuple[Case, ...], fill: Callable[..., CaseCache], tmp_path: Path, pauses: tuple[float, ...], workers: int
) -> None:
    processes = [
        start(fill, cases, number=number, seconds=seconds, workers=workers) for number, seconds in enumerate(pauses)
    ]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    counts = Counter(case for _, case in built(tmp_path))
    assert len(counts) == entries(tmp_path) == CASES
    assert counts.total() <= CASES + 4  # of the last few, where waiting for another's has not helped
    assert len({process for process, _ in built(tmp_path)}) == len(pauses) * max(workers, 1)
    assert not list((tmp_path / "cache").glob(".*"))


def test_killing_one_loses_nothing(cases: tuple[Case, ...], fill: Callable[..., CaseCache], tmp_path: Path) -> None:
    victim, other = (start(fill, cases, number=number, seconds=0.05) for number in range(2))
    while entries(tmp_path) < 6:
        time.sleep(0.01)
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(60)
    other.join(60)
    assert (victim.exitcode, other.exitcode) == (-signal.SIGKILL, 0)
    counts = Counter(case for _, case in built(tmp_path))
    assert len(counts) == entries(tmp_path) == CASES
    assert counts.total() <= CASES + 1  # what it was at
    (tmp_path / "built").unlink()
    fill(cases)
    assert not (tmp_path / "built").exists()


def test_what_a_killed_process_was_at_is_built_by_the_next(
    cases: tuple[Case, ...], fill: Callable[..., CaseCache], tmp_path: Path
) -> None:
    victim = start(fill, cases, seconds=0.2)
    while not list((tmp_path / "cache").glob(".*.claim")):
        time.sleep(0.01)
    victim.kill()
    victim.join(60)
    assert entries(tmp_path) < CASES
    fill(cases, workers=2)
    assert entries(tmp_path) == CASES
    assert not list((tmp_path / "cache").glob(".*.claim"))


@pytest.mark.parametrize("workers", [0, 2])
def test_sigusr1_stops_it_between_cases_and_it_goes_on(
    cases: tuple[Case, ...], fill: Callable[..., CaseCache], tmp_path: Path, workers: int
) -> None:
    def until_asked() -> None:
        os.setpgrp()
        signals.listen()
        with contextlib.suppress(Stopped):
            fill(cases, seconds=0.1, workers=workers)
            os._exit(1)

    process = FORK.Process(target=until_asked)
    process.start()
    while entries(tmp_path) < 3:
        time.sleep(0.01)
    assert process.pid is not None
    os.killpg(process.pid, signal.SIGUSR1)  # as SLURM does, to its workers too
    process.join(60)
    assert process.exitcode == 0
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").glob("[!.]*")}
    assert 3 <= len(finished) < CASES
    fill(cases)
    assert entries(tmp_path) == CASES
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_who_is_asked_to_stop_with_nothing_left_to_do_is_done(
    cases: tuple[Case, ...], fill: Callable[..., CaseCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(cases)
    monkeypatch.setattr(signals, "_asked", "SIGUSR1")
    fill(cases)
