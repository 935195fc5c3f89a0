import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.feeding import placing
from brats_lightning.data.feeding.placing import place_cases
from brats_lightning.data.feeding.resident import load_cases
from brats_lightning.data.homes import DiskHome, MemoryHome, NoHome
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import ConfigError

CPU, META = torch.device("cpu"), torch.device("meta")  # the second stands in for a GPU


@pytest.fixture
def cases(write_case: Callable[..., Path], tmp_path: Path) -> list[Case]:
    for number in range(5):
        write_case(f"BraTS2021_{number:05}", ending=".nii", seed=number)
    return list(find_cases(tmp_path / "cases").cases)


@pytest.fixture
def cache(cases: list[Case]) -> CaseCache:
    """Five cases of 6,480 bytes."""
    cache = CaseCache(Preprocessing(size=(8, 9, 10)), MemoryHome())
    cache.fill(cases, workers=0)
    return cache


def test_the_log_says_where_the_cases_are(
    cache: CaseCache, cases: list[Case], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        placed = place_cases(cache, cases, feed="auto", device=CPU)
        place_cases(cache, cases, feed="auto", device=CPU, processes=3)
    assert placed is not None
    assert [case.case for case in placed] == [case.id for case in cases]
    assert "cases: 0 MB in main memory (" in caplog.text
    assert "cases: 0 MB in main memory, a copy for each of 3 processes (" in caplog.text


def test_other_processes_say_nothing(cache: CaseCache, cases: list[Case], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert place_cases(cache, cases, feed="auto", device=CPU, show=False)
    assert not caplog.text


def test_a_gpu_with_room_gets_them(cache: CaseCache, cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "free_device_bytes", lambda _: 65_000)
    placed = place_cases(cache, cases, feed="auto", device=META)
    assert placed is not None
    assert {tensor.device for case in placed for tensor in (case.image, case.label, case.spacing_mm)} == {META}


def test_cases_larger_than_the_gpu_stay_in_main_memory(
    cache: CaseCache, cases: list[Case], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "free_device_bytes", lambda _: 30_000)
    placed = place_cases(cache, cases, feed="device", device=META)
    assert "too much for the GPU (0 MB free, 10% kept for the network)" in caplog.text
    assert placed is not None
    assert {case.image.device for case in placed} == {CPU}


def test_cases_larger_than_all_memory_are_left_to_workers(
    cache: CaseCache, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "free_host_bytes", lambda: 30_000)
    on_disk = CaseCache(cache.preprocessing, DiskHome(tmp_path / "cache"))
    assert place_cases(on_disk, cases, feed="auto", device=CPU) is None
    assert place_cases(cache, cases, feed="auto", device=CPU)  # the memory cache has them there already


def test_a_wrong_prediction_ends_in_main_memory_too(
    cache: CaseCache, cases: list[Case], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[torch.device] = []

    def full(*arguments: Any, device: torch.device, **options: Any) -> Any:
        tried.append(device)
        if device == META:
            raise torch.OutOfMemoryError
        return load_cases(*arguments, device=device, **options)

    monkeypatch.setattr(placing, "load_cases", full)
    monkeypatch.setattr(placing, "free_device_bytes", lambda _: 10**9)
    assert place_cases(cache, cases, feed="auto", device=META) is not None
    assert tried == [META, CPU]
    assert "do not fit the GPU after all" in caplog.text


@pytest.mark.parametrize("feed", ["device", "host"])
def test_what_only_workers_can_do_is_refused_elsewhere(
    cache: CaseCache, cases: list[Case], feed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "free_device_bytes", lambda _: 10**9)
    assert place_cases(cache, cases, feed="auto", device=META, transforms=True) is None
    with pytest.raises(ConfigError, match=r"MONAI transforms in data\.augmentation work on one sample at a time"):
        place_cases(cache, cases, feed=feed, device=META, transforms=True)
    homeless = CaseCache(cache.preprocessing, NoHome())
    assert place_cases(homeless, cases, feed="auto", device=META) is None
    with pytest.raises(ConfigError, match=r"data\.cache: none keeps no case; set data\.feed to workers"):
        place_cases(homeless, cases, feed=feed, device=META)
