from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.dataset import (
    Batch,
    CaseDataset,
    Draw,
    ShuffledDraws,
    UnequalShapesError,
    collate,
)
from brats_lightning.data.feeding.loader import ResidentLoader
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.feeding.resident import load_cases, stack
from brats_lightning.data.homes import DiskHome, Home, MemoryHome
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.labels import IMAGE, LABEL, SEED

Write = Callable[..., Path]
CPU = torch.device("cpu")
WHOLE, LARGER = Preprocessing(size=(8, 9, 10)), Preprocessing(size=None)
PATCHES = Patches((6, 12, 7), foreground=0.5, margin=0.3)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def filled(write_case: Write, tmp_path: Path, preprocessing: Preprocessing, home: Home) -> tuple[CaseCache, list[Case]]:
    for number in range(5):
        write_case(f"BraTS2021_{number:05}", ending=".nii", seed=number, shape=(18 + number, 22, 18))
    cases = list(find_cases(tmp_path / "cases").cases)
    cache = CaseCache(preprocessing, home)
    cache.fill(cases, workers=0)
    return cache, cases


def draws(epoch: int = 0) -> ShuffledDraws:
    order = ShuffledDraws(5, samples=11, seed=4)
    order.set_epoch(epoch)
    return order


def resident(
    cache: CaseCache,
    cases: list[Case],
    patches: Patches | None,
    *,
    where: torch.device = CPU,
    trained: torch.device = CPU,
) -> ResidentLoader:
    held = load_cases(cache, cases, device=where, patches=patches, show=False)
    return ResidentLoader(held, sampler=draws(), batch_size=2, device=trained, patches=patches)


def assert_same(one: list[Batch], other: list[Batch]) -> None:
    assert len(one) == len(other)
    for first, second in zip(one, other, strict=True):
        assert first.keys() == second.keys()
        for key, value in first.items():
            if isinstance(value, torch.Tensor):
                assert value.dtype == second[key].dtype
                assert torch.equal(value.cpu(), second[key].cpu())
            else:
                assert value == second[key]


@pytest.mark.parametrize(("preprocessing", "patches"), [(WHOLE, None), (WHOLE, PATCHES), (LARGER, PATCHES)])
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_worker_processes(
    write_case: Write, tmp_path: Path, preprocessing: Preprocessing, patches: Patches | None, workers: int
) -> None:
    """Bit for bit, from either home, in every epoch."""
    cache, cases = filled(write_case, tmp_path, preprocessing, DiskHome(tmp_path / "cache"))
    loader = resident(cache, cases, patches)
    dataset = CaseDataset(cache, cases, patches=patches)
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        order = draws(epoch)
        reference = DataLoader(dataset, batch_size=2, sampler=order, num_workers=workers, collate_fn=collate)
        assert len(loader) == len(reference) == 6
        assert_same(list(loader), list(reference))


def test_nothing_is_drawn_before_the_first_batch(write_case: Write, tmp_path: Path) -> None:
    """Lightning makes iterators before it tells the epoch."""
    loader = resident(*filled(write_case, tmp_path, WHOLE, MemoryHome()), None)
    early = iter(loader)
    loader.sampler.set_epoch(3)
    assert_same(list(early), list(loader))
    third = list(loader)
    loader.sampler.set_epoch(0)
    assert [batch[SEED] for batch in loader] != [batch[SEED] for batch in third]


def test_a_batch_can_be_changed_in_place(write_case: Write, tmp_path: Path) -> None:
    cache, cases = filled(write_case, tmp_path, WHOLE, MemoryHome())
    loader = resident(cache, cases, None)
    first = [batch[IMAGE].clone() for batch in loader]
    for batch in loader:
        batch[IMAGE].zero_()
        batch[LABEL].zero_()
    assert all(torch.equal(one, batch[IMAGE]) for one, batch in zip(first, loader, strict=True))


def test_cases_of_the_memory_home_are_not_copied(write_case: Write, tmp_path: Path) -> None:
    cache, cases = filled(write_case, tmp_path, WHOLE, MemoryHome())
    held = load_cases(cache, cases, device=CPU, show=False)
    assert [case.case for case in held] == [case.id for case in cases]
    assert all(one.image.data_ptr() == cache.get(case).image.data_ptr() for one, case in zip(held, cases, strict=True))


def test_whole_cases_of_other_shapes_make_no_batch(write_case: Write, tmp_path: Path) -> None:
    cache, cases = filled(write_case, tmp_path, LARGER, MemoryHome())
    held = load_cases(cache, cases, device=CPU, show=False)
    with pytest.raises(UnequalShapesError, match=r"cut patches with data\.patches"):
        stack(held, [Draw(0, 0), Draw(1, 0)])
    assert stack(held, [Draw(0, 0)])[IMAGE].shape[1] == 4


def test_an_error_while_loading_ends_it(write_case: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, cases = filled(write_case, tmp_path, WHOLE, MemoryHome())
    monkeypatch.setattr(cache, "get", lambda case: 1 / len(case.id[:0]))
    with pytest.raises(ZeroDivisionError):
        load_cases(cache, cases, device=CPU, show=False)


@needs_gpu
@pytest.mark.parametrize("patches", [None, PATCHES])
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_the_gpu_gets_the_same_batches(write_case: Write, tmp_path: Path, patches: Patches | None, where: str) -> None:
    cache, cases = filled(write_case, tmp_path, WHOLE, MemoryHome())
    gpu = torch.device("cuda", 0)
    loader = resident(cache, cases, patches, where=gpu if where == "cuda" else CPU, trained=gpu)
    batches = list(loader)
    assert {value.device for batch in batches for value in batch.values() if isinstance(value, torch.Tensor)} == {gpu}
    assert_same(batches, list(resident(cache, cases, patches)))


@needs_gpu
def test_cutting_on_the_gpu_waits_for_nothing(write_case: Write, tmp_path: Path) -> None:
    cache, cases = filled(write_case, tmp_path, WHOLE, MemoryHome())
    gpu = torch.device("cuda", 0)
    loader = resident(cache, cases, PATCHES, where=gpu, trained=gpu)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(loader)) == len(loader)
    finally:
        torch.cuda.set_sync_debug_mode("default")
