from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.meta_tensor import MetaTensor
from monai.transforms import Compose, MapTransform, RandCropByPosNegLabeld, RandFlipd, RandGaussianNoised, Transform
from torch.utils.data import DataLoader

from brats_lightning.data.batches import Batch, collate
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.cases import find_cases
from brats_lightning.data.dataset import CaseDataset
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.homes import MemoryHome
from brats_lightning.data.order import Draw, EveryNth, ShuffledDraws, require_shares
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import ConfigError
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED, SPACING

Write = Callable[..., Path]
SIZES, RANKS = st.integers(1, 40), st.integers(1, 8)


def random_augmentation() -> list[Transform]:
    return [
        RandFlipd([IMAGE, LABEL], prob=0.5, spatial_axis=0),
        Compose([RandGaussianNoised(IMAGE, prob=0.9, std=0.5)]),
    ]


@pytest.fixture
def cache(write_case: Write, tmp_path: Path) -> CaseCache:
    for number in range(5):
        write_case(f"BraTS2021_{number:05}", ending=".nii", seed=number)
    cache = CaseCache(Preprocessing(size=(8, 9, 10)), MemoryHome())
    cache.fill(find_cases(tmp_path / "cases").cases, workers=0)
    return cache


def dataset_of(cache: CaseCache, tmp_path: Path, augmentation: list[Transform] | None = None) -> CaseDataset:
    return CaseDataset(cache, find_cases(tmp_path / "cases").cases, augmentation=augmentation or ())


def epochs(
    dataset: CaseDataset, *, workers: int = 0, count: int = 2, first: int = 0, seed: int = 0
) -> list[list[Batch]]:
    order = ShuffledDraws(len(dataset), seed=seed)
    loader = DataLoader(dataset, batch_size=2, sampler=order, num_workers=workers, collate_fn=collate)
    result = []
    for epoch in range(first, first + count):
        order.set_epoch(epoch)
        result.append(list(loader))
    return result


def images(epoch: list[Batch]) -> torch.Tensor:
    return torch.cat([batch[IMAGE] for batch in epoch])


def ids(epoch: list[Batch]) -> list[str]:
    return [case for batch in epoch for case in batch[CASE]]


def draws_of(size: int, *, seed: int = 3, epoch: int = 0, **options: Any) -> list[Draw]:
    order = ShuffledDraws(size, seed=seed, **options)
    order.set_epoch(epoch)
    drawn = list(order)
    assert len(drawn) == len(order)
    return drawn


@given(SIZES, RANKS, st.integers(1, 4), st.integers(0, 5), st.integers(0, 5))
def test_a_step_of_all_ranks_has_the_cases_of_a_step_of_one_process(
    size: int, ranks: int, batch: int, seed: int, epoch: int
) -> None:
    shares = [draws_of(size, seed=seed, epoch=epoch, rank=rank, ranks=ranks) for rank in range(ranks)]
    alone = draws_of(size, seed=seed, epoch=epoch)
    assert {len(share) for share in shares} == {size // ranks}
    for step in range(size // ranks // batch):
        together = {draw for share in shares for draw in share[step * batch : (step + 1) * batch]}
        assert together == set(alone[step * ranks * batch : (step + 1) * ranks * batch])
    drawn = [draw for share in shares for draw in share]
    assert sorted(drawn, key=alone.index) == alone[: size // ranks * ranks]
    assert len({draw.index for draw in drawn}) == len(drawn)  # no case twice


def test_each_epoch_leaves_out_others() -> None:
    """Of 10 cases on 4 ranks two: soon every case has had its turn in both."""
    left_out, drawn = Counter[int](), Counter[int]()
    for epoch in range(40):
        indices = [draw.index for rank in range(4) for draw in draws_of(10, epoch=epoch, rank=rank, ranks=4)]
        drawn.update(indices)
        left_out.update(set(range(10)) - set(indices))
    assert left_out.total() == 40 * 2
    assert len(left_out) == len(drawn) == 10
    assert max(left_out.values()) < 20


@pytest.mark.parametrize(("count", "ranks"), [(0, 1), (1, 2), (7, 8)])
def test_a_process_without_work_is_refused(count: int, ranks: int) -> None:
    require_shares(ranks, ranks=ranks, what="training cases")
    words = f"{ranks} processes share {count} training cases, and each needs one: ask for more, or for at most {count}"
    with pytest.raises(ConfigError, match=words):
        require_shares(count, ranks=ranks, what="training cases")


@given(SIZES, RANKS)
def test_in_scoring_no_case_comes_twice(size: int, ranks: int) -> None:
    shares = [EveryNth(size, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert sorted(index for share in shares for index in share) == list(range(size))
    assert [len(share) for share in shares] == [len(list(share)) for share in shares]


def test_order_and_augmentation_depend_on_seed_and_epoch() -> None:
    def draws(seed: int, epoch: int) -> list[Draw]:
        order = ShuffledDraws(30, seed=seed)
        order.set_epoch(epoch)
        assert list(order) == list(order)
        return list(order)

    first = draws(0, 0)
    assert draws(0, 0) == first
    for other in (draws(0, 1), draws(1, 0)):
        assert [draw.index for draw in other] != [draw.index for draw in first]
        assert {draw.seed for draw in other}.isdisjoint({draw.seed for draw in first})
    assert len({draw.seed for draw in first}) == 30


@given(SIZES, st.integers(1, 100), RANKS)
def test_an_epoch_may_have_any_number_of_samples(size: int, samples: int, ranks: int) -> None:
    alone = list(ShuffledDraws(size, samples=samples, seed=3))
    assert len(alone) == len(ShuffledDraws(size, samples=samples, seed=3)) == samples
    counts = [[draw.index for draw in alone].count(index) for index in range(size)]
    assert max(counts) - min(counts) <= 1  # none a third time before all have come twice
    assert len(set(alone)) == samples  # a case that comes again has another seed
    assert alone[:size] == list(ShuffledDraws(size, seed=3))[:samples]
    shares = [list(ShuffledDraws(size, samples=samples, seed=3, rank=rank, ranks=ranks)) for rank in range(ranks)]
    assert [draw for place in zip(*shares, strict=True) for draw in place] == alone[: samples // ranks * ranks]


def test_patches_are_cut_where_they_are_drawn(cache: CaseCache, tmp_path: Path) -> None:
    patches = Patches((4, 12, 5), foreground=0.5)
    dataset = CaseDataset(cache, find_cases(tmp_path / "cases").cases, patches=patches)
    whole = dataset[2]
    assert whole[IMAGE].shape == (4, 8, 9, 10)
    for seed in range(5):
        item = dataset[Draw(2, seed)]
        x, y, z = patches.corner((8, 9, 10), patches.foreground_of(whole[LABEL], whole[CASE]), seed)
        assert y == -1  # 12 voxels of 9: one before, two behind
        for key in (IMAGE, LABEL):
            assert torch.equal(item[key][:, :, 1:10], whole[key][:, x : x + 4, :, z : z + 5])
            assert not item[key][:, :, [0, 10, 11]].any()


def test_worker_processes_change_no_sample(cache: CaseCache, tmp_path: Path) -> None:
    dataset = dataset_of(cache, tmp_path, random_augmentation())
    alone = epochs(dataset)
    torch.manual_seed(99)  # nor does the state of the global generator
    shared = epochs(dataset_of(cache, tmp_path, random_augmentation()), workers=2)
    for one, other in zip(alone, shared, strict=True):
        assert ids(one) == ids(other)
        assert torch.equal(images(one), images(other))
        assert all(torch.equal(a[LABEL], b[LABEL]) for a, b in zip(one, other, strict=True))


def test_epochs_differ_and_can_be_gone_on_with(cache: CaseCache, tmp_path: Path) -> None:
    """A run that stops and goes on sees the samples that it would have seen."""
    whole = epochs(dataset_of(cache, tmp_path, random_augmentation()), count=3)
    resumed = epochs(dataset_of(cache, tmp_path, random_augmentation()), first=2, count=1)
    assert torch.equal(images(whole[2]), images(resumed[0]))
    assert not torch.equal(images(whole[0]), images(whole[1]))
    other_seed = epochs(dataset_of(cache, tmp_path, random_augmentation()), seed=1, count=1)
    assert not torch.equal(images(whole[0]), images(other_seed[0]))


def test_image_and_label_are_augmented_alike(cache: CaseCache, tmp_path: Path) -> None:
    plain = dataset_of(cache, tmp_path)
    flipped = dataset_of(cache, tmp_path, [RandFlipd([IMAGE, LABEL], prob=1, spatial_axis=1)])
    assert torch.equal(flipped[Draw(2, 0)][IMAGE], plain[2][IMAGE].flip(2))
    assert torch.equal(flipped[Draw(2, 0)][LABEL], plain[2][LABEL].flip(2))


def test_only_draws_are_augmented(cache: CaseCache, tmp_path: Path) -> None:
    augmented = dataset_of(cache, tmp_path, random_augmentation())
    assert torch.equal(augmented[1][IMAGE], dataset_of(cache, tmp_path)[1][IMAGE])


class ZeroInPlaced(MapTransform):
    """Bad manners of the sort that an own transform may have."""

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        for key in self.keys:
            data[key].zero_()
        return data


def test_augmentation_in_place_does_not_reach_the_cache(cache: CaseCache, tmp_path: Path) -> None:
    dataset = dataset_of(cache, tmp_path, [ZeroInPlaced([IMAGE, LABEL])])
    assert not dataset[Draw(0, 0)][LABEL].any()
    assert dataset[0][LABEL].any()
    assert dataset[0][IMAGE].any()


def test_a_batch_is_plain_tensors_of_the_right_types(cache: CaseCache, tmp_path: Path) -> None:
    for augmentation in ([], random_augmentation()):
        ((batch, *_),) = epochs(dataset_of(cache, tmp_path, augmentation), count=1)
        assert set(batch) == {IMAGE, LABEL, CASE, SPACING, SEED}
        for key, shape, kind in (
            (IMAGE, (2, 4, 8, 9, 10), torch.float32),
            (LABEL, (2, 1, 8, 9, 10), torch.uint8),
            (SPACING, (2, 3), torch.float32),
        ):
            assert type(batch[key]) is torch.Tensor
            assert batch[key].shape == shape
            assert batch[key].dtype == kind
    dataset = dataset_of(cache, tmp_path)
    assert set(collate([dataset[0]])) == {IMAGE, LABEL, CASE, SPACING}
    assert torch.equal(dataset[0][SPACING], torch.tensor(cache.get(dataset.cases[0]).grid.spacing_mm))


@pytest.mark.parametrize("patches", [1, 3])
def test_every_patch_of_a_sample_counts(cache: CaseCache, tmp_path: Path, patches: int) -> None:
    crop = RandCropByPosNegLabeld((IMAGE, LABEL), LABEL, spatial_size=(8, 8, 8), num_samples=patches)
    dataset = dataset_of(cache, tmp_path, [crop])
    batch = collate([dataset[Draw(0, 1)], dataset[Draw(1, 2)]])
    assert batch[IMAGE].shape == (2 * patches, 4, 8, 8, 8)
    assert batch[LABEL].shape == (2 * patches, 1, 8, 8, 8)
    assert batch[SPACING].shape == (2 * patches, 3)
    assert batch[CASE] == [dataset.cases[0].id] * patches + [dataset.cases[1].id] * patches
    assert batch[SEED] == [1] * patches + [2] * patches


def test_unlabelled_cases_are_stacked_without_label() -> None:
    item = {IMAGE: MetaTensor(torch.zeros(4, 2, 2, 2)), SPACING: torch.ones(3), CASE: "a"}
    batch = collate([item, {**item, CASE: "b"}])
    assert set(batch) == {IMAGE, CASE, SPACING}
    assert batch[CASE] == ["a", "b"]


@pytest.mark.parametrize("workers", [0, 1])
def test_cases_of_other_shapes_make_no_batch(write_case: Write, tmp_path: Path, workers: int) -> None:
    """The sentence arrives as it is, from a worker process too."""
    write_case("BraTS2021_00001", ending=".nii")
    write_case("BraTS2021_00002", ending=".nii", shape=(16, 22, 18))
    cases = find_cases(tmp_path / "cases").cases
    cache = CaseCache(Preprocessing(size=None, crop=False), MemoryHome())
    cache.fill(cases, workers=0)
    loader = DataLoader(CaseDataset(cache, cases), batch_size=2, num_workers=workers, collate_fn=collate)
    with pytest.raises(ConfigError) as caught:
        list(loader)
    assert str(caught.value) == (
        "cases of one batch differ in their voxels: BraTS2021_00001 has 20×22×18, BraTS2021_00002 has 16×22×18; "
        "set data.preprocessing.size, cut patches with data.patches, or set batch sizes to 1"
    )
