"""A process that preprocesses cases and is killed, as by a machine whose memory is full."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.homes import DiskHome
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.errors import BratsError
from brats_lightning.parallel import lost_a_worker

VICTIM = "BraTS2021_00002"


def test_it_is_told_in_a_sentence_and_what_is_finished_stays(
    write_case: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        write_case(f"BraTS2021_{number:05}", ending=".nii", seed=number, shape=(12, 12, 12))
    cases = find_cases(tmp_path / "cases").cases
    cache = CaseCache(Preprocessing(size=(8, 8, 8)), DiskHome(tmp_path / "cache"))
    build = Preprocessing.__call__

    def killed(pipeline: Preprocessing, case: Case) -> Sample:
        if case.id == VICTIM and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return build(pipeline, case)

    monkeypatch.setattr(Preprocessing, "__call__", killed)
    with pytest.raises(
        BratsError, match=r"one of 1 processes that preprocess cases was killed, .*fewer --data\.workers"
    ):
        cache.fill(cases, workers=1, show=False)
    assert [case.id for case in cache.missing(cases)] == [VICTIM, "BraTS2021_00003"]
    monkeypatch.undo()
    assert cache.fill(cases, workers=0, show=False) == []
    assert cache.missing(cases) == []


def test_a_mistake_in_a_process_is_not_taken_for_its_death() -> None:
    assert not lost_a_worker(RuntimeError("Caught ValueError in DataLoader worker process 0: it was killed"))
