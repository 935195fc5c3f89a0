from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from brats_lightning.data.batches import Batch, UnequalShapesError, collate
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.dataset import CaseDataset
from brats_lightning.data.feeding.loader import EpochPosition, ResidentLoader, WorkerLoader
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.feeding.resident import load_cases, stack
from brats_lightning.data.homes import DiskHome, Home, MemoryHome
from brats_lightning.data.order import Draw, ShuffledDraws
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import CheckpointError
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED

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


Loader = ResidentLoader | WorkerLoader


def loader_of(
    kind: str, cache: CaseCache, cases: list[Case], *, batch_size: int = 2, rank: int = 0, ranks: int = 1
) -> Loader:
    """Eleven samples an epoch over all ranks."""
    order = ShuffledDraws(5, samples=11, seed=4, rank=rank, ranks=ranks)
    if kind == "resident":
        held = load_cases(cache, cases, device=CPU, show=False)
        return ResidentLoader(held, sampler=order, batch_size=batch_size, device=CPU)
    workers = 2 if kind == "two workers" else 0
    return WorkerLoader(CaseDataset(cache, cases), order=order, batch_size=batch_size, workers=workers)


def seen(loader: Loader, epoch: int, *, batches: int | None = None) -> list[tuple[list[str], list[int]]]:
    """Cases and seeds of an epoch's batches, as Lightning takes them: it asks for an iterator that it does not use."""
    iter(loader)
    loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
    drawn = []
    for batch in loader:
        drawn.append((batch[CASE], [int(seed) for seed in batch[SEED]]))
        if len(drawn) == batches:
            break
    return drawn


@pytest.mark.parametrize("kind", ["resident", "no worker", pytest.param("two workers", marks=pytest.mark.slow)])
@pytest.mark.parametrize("ranks", [1, 2])
def test_an_epoch_that_was_stopped_goes_on_with_the_batch_that_was_next(
    write_case: Write, tmp_path: Path, kind: str, ranks: int
) -> None:
    """On every rank and after every batch, twice in one epoch; the epochs after it are whole."""
    cache, cases = filled(write_case, tmp_path, WHOLE, MemoryHome())
    rank = ranks - 1
    whole = loader_of(kind, cache, cases, rank=rank, ranks=ranks)
    epochs = [seen(whole, epoch) for epoch in range(3)]
    assert epochs[1] not in (epochs[0], epochs[2])
    for stop in range(1, len(epochs[1])):
        state: dict[str, int] = {}
        drawn = []
        for first, last in ((0, stop), (stop, stop + 1)):
            loader = loader_of(kind, cache, cases, rank=rank, ranks=ranks)
            if first:
                loader.load_state_dict(state)
            drawn += seen(loader, 1, batches=last - first)
            state = loader.state_dict()
            assert (state["epoch"], state["batches"], state["of"]) == (1, last, len(whole))
        loader = loader_of(kind, cache, cases, rank=rank, ranks=ranks)
        loader.load_state_dict(state)
        drawn += seen(loader, 1)
        assert drawn == epochs[1]
        assert seen(loader, 2) == epochs[2]
        assert loader.state_dict()["batches"] == len(whole)


@pytest.mark.parametrize("kind", ["resident", "no worker"])
def test_an_epoch_that_was_over_is_not_gone_on_with(write_case: Write, tmp_path: Path, kind: str) -> None:
    cache, cases = filled(write_case, tmp_path, WHOLE, MemoryHome())
    loader = loader_of(kind, cache, cases)
    epochs = [seen(loader, epoch) for epoch in range(2)]
    seen(loader, 0)
    later = loader_of(kind, cache, cases)
    later.load_state_dict(loader.state_dict())
    assert seen(later, 1) == epochs[1]


def position(batch_size: int = 2, ranks: int = 1, *, samples: int = 11) -> EpochPosition:
    return EpochPosition(ShuffledDraws(5, samples=samples, seed=4, ranks=ranks), batch_size)


@pytest.mark.parametrize(
    ("batch_size", "ranks", "samples", "found"),
    [
        (3, 1, 11, "4 batches of 3 on 1 processes"),
        (2, 2, 11, "3 batches of 2 on 2 processes"),
        (1, 2, 11, "5 batches of 1 on 2 processes"),  # as many samples a step, but each rank would draw others
        (2, 1, 4, "2 batches of 2 on 1 processes"),
    ],
)
def test_other_batches_in_the_midst_of_an_epoch_are_refused(
    batch_size: int, ranks: int, samples: int, found: str
) -> None:
    state = position().state_dict() | {"batches": 3}
    words = f"an epoch of 6 batches of 2 on 1 processes, and this run has {found}: expected the same until the epoch"
    with pytest.raises(CheckpointError, match=words):
        position(batch_size, ranks, samples=samples).load_state_dict(state)
    for whole in (0, 6):
        position(batch_size, ranks, samples=samples).load_state_dict(state | {"batches": whole})
    position().load_state_dict(state)


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
