import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from monai.transforms import RandGaussianNoised
from pytorch_lightning import Callback, LightningModule, Trainer

from brats_lightning.data import datamodule
from brats_lightning.data.batches import Batch
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.data.feeding.feed import Feed
from brats_lightning.data.feeding.loader import ResidentLoader
from brats_lightning.data.feeding.patches import Patches
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.data.slices import Slices
from brats_lightning.data.splits import HoldOut, KFold, Listed, Parts
from brats_lightning.errors import ConfigError, DatasetError, Problem
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED, SPACING, TISSUES

Write = Callable[..., Path]
SMALL = Preprocessing(size=(8, 9, 10))


@pytest.fixture
def root(write_case: Write, tmp_path: Path) -> Path:
    """Eight labelled cases and one without segmentation."""
    for number in range(9):
        write_case(f"BraTS2021_{number:05}", ending=".nii", seed=number, label="_seg" if number < 8 else None)
    return tmp_path / "cases"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each case was preprocessed."""
    counts: Counter[str] = Counter()
    build = Preprocessing.__call__

    def counted(pipeline: Preprocessing, case: Case) -> Sample:
        counts[case.id] += 1
        return build(pipeline, case)

    monkeypatch.setattr(Preprocessing, "__call__", counted)
    return counts


def module(root: Path, **options: Any) -> BratsDataModule:
    defaults: dict[str, Any] = {
        "preprocessing": SMALL,
        "split": HoldOut(validation=2, test=1),
        "cache": "memory",
        "workers": 0,
    }
    return BratsDataModule(root, **(defaults | options))


def prepared(root: Path, **options: Any) -> BratsDataModule:
    data = module(root, **options)
    data.prepare_data()
    data.setup("fit")
    return data


def ids(loader: Iterable[Batch]) -> list[str]:
    return [case for batch in loader for case in batch[CASE]]


def break_case(root: Path, number: int) -> None:
    (root / f"BraTS2021_{number:05}" / f"BraTS2021_{number:05}_t1.nii").write_bytes(b"")


def test_batches_hold_what_the_docstring_says(root: Path) -> None:
    data = prepared(root)
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == {IMAGE, LABEL, SPACING, CASE, SEED}
    assert batch[IMAGE].shape == (2, 4, 8, 9, 10)
    assert batch[IMAGE].dtype == torch.float32
    assert batch[LABEL].shape == (2, 1, 8, 9, 10)
    assert batch[LABEL].dtype == torch.uint8
    assert batch[SPACING].shape == (2, 3)
    assert len(batch[CASE]) == len(batch[SEED]) == 2
    scored = next(iter(data.val_dataloader()))
    assert scored[IMAGE].shape[0] == 1
    assert set(scored) == {IMAGE, LABEL, SPACING, CASE}


def test_loaders_follow_the_split(root: Path) -> None:
    data = prepared(root)
    assert data.parts is not None
    assert sorted(ids(data.train_dataloader())) == list(data.parts.train)
    assert ids(data.val_dataloader()) == list(data.parts.validation)
    assert ids(data.test_dataloader()) == list(data.parts.test)
    assert [len(part) for part in (data.parts.train, data.parts.validation, data.parts.test)] == [5, 2, 1]
    assert "BraTS2021_00008" not in {*data.parts.train, *data.parts.validation, *data.parts.test}
    assert [case.id for case in data.cases_of("validation")] == list(data.parts.validation)


def test_no_work_is_repeated_between_epochs(root: Path, built: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    data = prepared(root)
    assert len(built) == 8
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read again"))
    monkeypatch.setattr(datamodule, "find_cases", lambda *_, **__: pytest.fail("the folder is searched again"))
    data.setup("test")
    for _ in range(3):
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
            assert ids(loader)
    assert set(built.values()) == {1}


def test_a_second_run_finds_the_cache_of_the_first(root: Path, tmp_path: Path, built: Counter[str]) -> None:
    for _ in range(2):
        prepared(root, cache="disk", cache_dir=tmp_path / "cache")
    assert set(built.values()) == {1}


def test_worker_processes_change_no_batch(root: Path) -> None:
    noise = [RandGaussianNoised(IMAGE, prob=1.0)]
    loaders = [prepared(root, workers=workers, augmentation=noise).train_dataloader() for workers in (0, 2)]
    for epoch in range(2):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for one, other in zip(*loaders, strict=True):
            assert one[CASE] == other[CASE]
            assert torch.equal(one[IMAGE], other[IMAGE])


def test_validation_is_not_augmented(root: Path) -> None:
    plain, noisy = (
        prepared(root, augmentation=augmentation) for augmentation in ((), [RandGaussianNoised(IMAGE, prob=1)])
    )
    for one, other in zip(plain.val_dataloader(), noisy.val_dataloader(), strict=True):
        assert torch.equal(one[IMAGE], other[IMAGE])
    assert not torch.equal(next(iter(plain.train_dataloader()))[IMAGE], next(iter(noisy.train_dataloader()))[IMAGE])


def test_starting_an_epoch_leaves_the_random_state_of_the_network(root: Path) -> None:
    data = prepared(root, augmentation=[RandGaussianNoised(IMAGE, prob=1.0)])
    before = torch.get_rng_state()
    ids(data.train_dataloader())
    ids(data.val_dataloader())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("feed", ["host", "workers"])
def test_slices_none_of_which_shows_tumour_are_refused(root: Path, feed: Feed) -> None:
    data = prepared(root, slices=Slices(indices=(0,), tumour=True), feed=feed)
    with pytest.raises(ConfigError, match=r"data\.slices: no training slice shows tumour: widen"):
        data.train_dataloader()


def test_ranks_share_the_cases(root: Path) -> None:
    trained, validated = [], []
    for rank in range(2):
        data = prepared(root)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        trained.append(ids(data.train_dataloader()))
        validated += ids(data.val_dataloader())
    assert data.parts is not None
    assert [len(share) for share in trained] == [2, 2]  # of five cases the last of the epoch's order is left out
    assert len({*trained[0], *trained[1]}) == 4
    assert {*trained[0], *trained[1]} < set(data.parts.train)
    assert sorted(validated) == list(data.parts.validation)


@pytest.mark.parametrize(
    ("loader", "ranks", "options", "words"),
    [
        ("train_dataloader", 6, {}, "6 processes share 5 training cases"),
        ("train_dataloader", 4, {"samples_per_epoch": 3}, r"4 processes share 3 data\.samples_per_epoch"),
        ("val_dataloader", 3, {}, "3 processes share 2 validation cases, and each needs one"),
        ("test_dataloader", 2, {}, "2 processes share 1 test cases"),
    ],
)
def test_more_processes_than_cases_are_refused_on_each_of_them(
    root: Path, loader: str, ranks: int, options: dict[str, Any], words: str
) -> None:
    data = prepared(root, **options)
    for rank in range(ranks):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=ranks)  # type: ignore[assignment]
        with pytest.raises(ConfigError, match=words):
            getattr(data, loader)()
        data.trainer = SimpleNamespace(global_rank=0, world_size=1)  # type: ignore[assignment]
        assert ids(getattr(data, loader)())


def test_more_processes_than_cases_are_refused_before_anything_is_built(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CaseCache, "fill", lambda *_, **__: pytest.fail("preprocessed cases"))
    data = module(root)
    data.trainer = SimpleNamespace(global_rank=0, world_size=3)  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="3 processes share 2 validation cases"):
        data.prepare_data()


@pytest.mark.parametrize(("wanted", "preparing", "loading"), [(None, 8, 4), (3, 3, 3)])
def test_while_others_wait_one_process_uses_the_cores_of_all(
    root: Path, monkeypatch: pytest.MonkeyPatch, wanted: int | None, preparing: int, loading: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(datamodule, "lent_cores", lambda: 8)
    monkeypatch.setattr(datamodule, "usable_cores", lambda: 4)

    def fill(*_arguments: object, workers: int, **_options: object) -> list[Problem]:
        asked.append(workers)
        return []

    monkeypatch.setattr(CaseCache, "fill", fill)
    data = module(root, workers=wanted)
    data.prepare_data()  # `brats cache`: no process waits for this one
    data.trainer = SimpleNamespace(global_rank=0, world_size=2)  # type: ignore[assignment]
    data.prepare_data()
    assert asked == [loading, preparing]
    assert data.workers == loading


def test_the_split_is_stored_and_followed(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "run" / "split.json"
    first = prepared(root, split_file=file)
    assert Parts.read(file) == first.parts
    assert prepared(root, split_file=file, split=KFold(folds=4, seed=7)).parts == first.parts
    chosen = Parts(("BraTS2021_00001", "BraTS2021_00002"), ("BraTS2021_00003",))
    chosen.write(file)
    assert prepared(root, split_file=file).parts == chosen


def test_only_the_first_rank_stores_the_split(root: Path, tmp_path: Path) -> None:
    data = module(root, split_file=tmp_path / "split.json")
    data.trainer = SimpleNamespace(global_rank=1, world_size=2, num_nodes=1)  # type: ignore[assignment]
    data.setup("fit")
    assert not (tmp_path / "split.json").exists()


def test_a_stored_split_that_no_longer_fits_is_refused(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    Parts(("BraTS2021_00001", "BraTS2021_00099"), ("BraTS2021_00008",)).write(file)
    with pytest.raises(ConfigError, match="lists 1 cases that are not in the data: BraTS2021_00099"):
        prepared(root, split_file=file)


def test_only_the_listed_cases_are_built(root: Path, tmp_path: Path, built: Counter[str]) -> None:
    break_case(root, 5)
    (tmp_path / "mine.json").write_text(json.dumps({"train": ["BraTS2021_00001"], "validation": ["BraTS2021_00002"]}))
    prepared(root, split=Listed(tmp_path / "mine.json"))
    assert sorted(built) == ["BraTS2021_00001", "BraTS2021_00002"]


def test_refusing_names_the_first_ten_and_the_count(write_case: Write, tmp_path: Path) -> None:
    for number in range(13):
        write_case(f"BraTS2021_{number:05}", ending=".nii")
        if number:
            break_case(tmp_path / "cases", number)
    with pytest.raises(DatasetError) as caught:
        prepared(tmp_path / "cases")
    lines = str(caught.value).splitlines()
    assert lines[0] == "12 problems in 12 cases:"
    assert sum("shorter than a NIfTI header" in line for line in lines) == 10
    assert lines[-1].strip() == "… and 2 more"


@pytest.mark.parametrize(("cache", "workers"), [("disk", 2), ("memory", 0), ("none", 2)])
def test_unusable_cases_are_left_out_where_that_is_wished(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, cache: str, workers: int
) -> None:
    split = Listed(tmp_path / "mine.json")
    Parts(("BraTS2021_00000", "BraTS2021_00001"), ("BraTS2021_00002", "BraTS2021_00003"), ("BraTS2021_00004",)).write(
        tmp_path / "mine.json"
    )
    for number in (1, 3):
        break_case(root, number)
    (root / "BraTS2021_00003" / "BraTS2021_00003_seg.nii").write_bytes(b"")
    (root / "BraTS2021_00077").mkdir()
    file = tmp_path / "split.json"
    options: dict[str, Any] = {"cache": cache, "cache_dir": tmp_path / "cache", "workers": workers, "split": split}
    with pytest.raises(DatasetError):
        prepared(root, split_file=file, **options)
    assert not file.exists()
    with caplog.at_level(logging.WARNING):
        data = prepared(root, split_file=file, skip_invalid=True, **options)
    parts = data.parts
    assert parts is not None
    assert (parts.train, parts.validation, parts.test) == (
        ("BraTS2021_00000",), ("BraTS2021_00002",), ("BraTS2021_00004",),
    )  # fmt: skip
    assert list(parts.left_out) == ["BraTS2021_00077", "BraTS2021_00001", "BraTS2021_00003"]
    assert "empty folder" in parts.left_out["BraTS2021_00077"]
    assert "_t1.nii" in parts.left_out["BraTS2021_00003"]
    assert "_seg.nii" in parts.left_out["BraTS2021_00003"]
    assert "3 unusable cases left out: BraTS2021_00001, BraTS2021_00003, BraTS2021_00077" in caplog.text
    assert Parts.read(file) == parts
    assert ids(data.train_dataloader()) == ["BraTS2021_00000"]
    again = prepared(root, split_file=file, skip_invalid=True, **options)
    assert again.parts == parts


@pytest.mark.parametrize(("number", "part"), [(1, "train"), (2, "validation")])
def test_leaving_cases_out_empties_no_part(root: Path, tmp_path: Path, number: int, part: str) -> None:
    file = tmp_path / "split.json"
    Parts(("BraTS2021_00001",), ("BraTS2021_00002",)).write(file)
    break_case(root, number)
    with pytest.raises(ConfigError, match=f"no usable case is left for {part}"):
        prepared(root, split_file=file, skip_invalid=True)


def test_scoring_needs_no_training_cases(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "split.json"
    Parts((), (), ("BraTS2021_00002",)).write(file)
    data = prepared(root, split_file=file)
    assert ids(data.test_dataloader()) == ["BraTS2021_00002"]
    with pytest.raises(ConfigError, match="no case to train on"):
        data.train_dataloader()


def test_testing_needs_test_cases(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"the split has no test cases: `brats validate` scores"):
        prepared(root, split=HoldOut(test=0)).test_dataloader()


def test_a_folder_without_segmentations_is_refused(write_case: Write, tmp_path: Path) -> None:
    write_case("BraTS2021_00001", label=None)
    with pytest.raises(
        DatasetError, match="no usable case has a segmentation; training and scoring need labelled cases"
    ):
        prepared(tmp_path / "cases")


def test_prediction_takes_the_unlabelled_cases(root: Path, write_case: Write) -> None:
    write_case("BraTS2021_00010", label=None)
    loader = module(root).predict_dataloader()
    assert ids(loader) == ["BraTS2021_00008", "BraTS2021_00010"]
    assert set(next(iter(loader))) == {IMAGE, SPACING, CASE}


def test_prediction_refuses_or_leaves_out_unusable_cases(root: Path, write_case: Write) -> None:
    write_case("BraTS2021_00010", label=None)
    break_case(root, 8)
    with pytest.raises(DatasetError, match=r"BraTS2021_00008_t1\.nii: not a readable"):
        module(root).predict_dataloader()
    assert ids(module(root, skip_invalid=True).predict_dataloader()) == ["BraTS2021_00010"]


def test_the_edition_can_be_told(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"label 4 found, BraTS 2023 has 0 1 2 3"):
        prepared(root, edition="2023")


def test_wrong_settings_are_refused(root: Path, tmp_path: Path) -> None:
    for wrong in ({"batch_size": 0}, {"validation_batch_size": 0}):
        with pytest.raises(ConfigError, match="batch sizes must be at least 1"):
            module(root, **wrong)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written"):
        module(root, cache="disk", cache_dir=tmp_path / "file")
    with pytest.raises(ConfigError, match="no folder"):
        prepared(tmp_path / "absent")


def test_cases_are_known_after_setup(root: Path) -> None:
    with pytest.raises(RuntimeError, match="setup has not run"):
        module(root).cases_of("train")


class Brighten:
    """A batch augmentation that leaves traces."""

    def __init__(self, *, by: float = 1.0, size: tuple[int, int, int] | None = None) -> None:
        self.by = by
        self.size = size
        self.seen: list[tuple[list[str], list[int]]] = []

    def __call__(self, batch: Batch) -> Batch:
        self.seen.append((batch[CASE], batch[SEED]))
        return batch | {IMAGE: batch[IMAGE] + self.by}


PATCHES = Patches((6, 6, 12), foreground=0.5)
WIDE = Patches((6, 6, 12), margin=0.5)


def test_a_margin_is_cut_off_by_the_augmentation(root: Path) -> None:
    data = prepared(root, patches=WIDE, augmentation=Brighten(size=(6, 6, 12)))
    assert next(iter(data.train_dataloader()))[IMAGE].shape == (2, 4, 10, 10, 18)


@pytest.mark.parametrize("patches", [None, PATCHES])
def test_the_feed_changes_no_batch(root: Path, tmp_path: Path, patches: Patches | None) -> None:
    options = {"patches": patches, "samples_per_epoch": 7, "cache": "disk", "cache_dir": tmp_path / "cache"}
    feeds: list[dict[str, Any]] = [
        {"feed": "host"},
        {"feed": "workers", "workers": 0},
        {"feed": "workers", "workers": 1},
        {"feed": "workers", "workers": 2},
    ]
    loaders = [prepared(root, **options, **feed).train_dataloader() for feed in feeds]
    assert [isinstance(loader, ResidentLoader) for loader in loaders] == [True, False, False, False]
    for epoch in range(2):
        for loader in loaders:
            loader.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        for first, *others in zip(*loaders, strict=True):
            for other in others:
                assert first.keys() == other.keys()
                assert (first[CASE], first[SEED]) == (other[CASE], other[SEED])
                assert all(torch.equal(first[key], other[key]) for key in (IMAGE, LABEL, SPACING))


@pytest.mark.parametrize(
    ("options", "feed"),
    [
        ({}, "host"),
        ({"augmentation": Brighten()}, "host"),
        ({"augmentation": [RandGaussianNoised(IMAGE)]}, "workers"),
        ({"cache": "none"}, "workers"),
        ({"feed": "workers"}, "workers"),
    ],
)
def test_the_feed_follows_from_what_is_asked_for(root: Path, options: dict[str, Any], feed: str) -> None:
    loader = prepared(root, **options).train_dataloader()
    assert isinstance(loader, ResidentLoader) == (feed == "host")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"feed": "device"}, "device needs training on an NVIDIA GPU, and this run uses none"),
        ({"feed": "host", "augmentation": [RandGaussianNoised(IMAGE)]}, "MONAI transforms in data.augmentation work"),
        ({"feed": "host", "cache": "none"}, "data.cache: none keeps no case; set data.feed to workers"),
        ({"samples_per_epoch": 0}, "samples_per_epoch must be at least 1, found 0"),
        ({"patches": WIDE}, r"margin needs an augmentation of whole batches with size \[6, 6, 12\], .* found none"),
        ({"patches": WIDE, "augmentation": Brighten(size=(6, 6, 6))}, r"size \[6, 6, 12\].*, found size \[6, 6, 6\]"),
    ],
)
def test_a_feed_that_cannot_be_is_refused(root: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        prepared(root, **options)


def test_checkpoints_keep_plain_settings(root: Path) -> None:
    data = module(root, patches=PATCHES, feed="host", samples_per_epoch=3, augmentation=Brighten())
    assert data.hparams["patches"] == {"size": (6, 6, 12), "foreground": 0.5, "regions": TISSUES, "margin": 0.0}
    assert (data.hparams["feed"], data.hparams["samples_per_epoch"]) == ("host", 3)
    assert "augmentation" not in data.hparams


class Counting(LightningModule):
    """Notes what it is given, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches: list[tuple[str, list[str], list[int] | None, float]] = []

    def _note(self, stage: str, batch: Batch) -> torch.Tensor:
        self.batches.append((stage, batch[CASE], batch.get(SEED), batch[IMAGE].amin().item()))
        return self.weight.sum()

    def training_step(self, batch: Batch) -> torch.Tensor:
        return self._note("train", batch)

    def validation_step(self, batch: Batch) -> None:
        self._note("val", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class SaveEpochs(Callback):
    """Checkpoints `0.ckpt`, `1.ckpt` … of a folder.

    Args:
        folder: Where to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt")


def fitted(data: BratsDataModule, folder: Path, *, goes_on: Path | None = None) -> Counting:
    network = Counting()
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=[SaveEpochs(folder)],
        use_distributed_sampler=False,
    )
    trainer.fit(network, datamodule=data, ckpt_path=goes_on, weights_only=True)
    return network


@pytest.mark.parametrize("feed", ["host", "workers"])
def test_whole_batches_are_augmented_in_training_alone(root: Path, tmp_path: Path, feed: str) -> None:
    augmentation = Brighten(by=100.0)
    data = module(root, augmentation=augmentation, feed=feed, samples_per_epoch=4)
    network = fitted(data, tmp_path)
    trained = [(cases, seeds) for stage, cases, seeds, _ in network.batches if stage == "train"]
    assert augmentation.seen == trained
    assert len(trained) == 3 * 2
    assert trained[:2] != trained[2:4]
    assert all((least > 50) == (stage == "train") for stage, _, _, least in network.batches)
    assert all((seeds is None) == (stage == "val") for stage, _, seeds, _ in network.batches)


@pytest.mark.parametrize(("feed", "workers"), [("host", 0), ("workers", 0), ("workers", 2)])
@pytest.mark.slow
def test_a_run_that_goes_on_sees_what_it_would_have_seen(root: Path, tmp_path: Path, feed: str, workers: int) -> None:
    def data() -> BratsDataModule:
        return module(root, feed=feed, workers=workers, cache="disk", cache_dir=tmp_path / "cache")

    def drawn(network: Counting) -> list[Any]:
        return [batch for batch in network.batches if batch[0] == "train"]

    whole = drawn(fitted(data(), tmp_path))
    assert len(whole) == 3 * 3
    for epochs in (1, 2):
        rest = fitted(data(), tmp_path, goes_on=tmp_path / f"{epochs - 1}.ckpt")
        assert drawn(rest) == whole[3 * epochs :]


BRIGHTEN = {"class_path": f"{__name__}.Brighten", "init_args": {"by": 3.0}}
FLIP = {"class_path": "monai.transforms.RandFlipd", "init_args": {"keys": ["image"]}}


def test_a_configuration_names_an_augmentation_of_whole_batches_or_a_list(root: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(BratsDataModule, "data")

    def read(augmentation: object) -> tuple[BratsDataModule, str]:
        about = {"root": str(root), "cache": "memory", "patches": {"size": [6, 6, 12], "foreground": 0.25}}
        config = parser.parse_object({"data": about | {"augmentation": augmentation}})
        return parser.instantiate(config).data, parser.dump(config) if augmentation is BRIGHTEN else ""

    data, written = read(BRIGHTEN)
    assert data.patches == Patches((6, 6, 12), foreground=0.25)
    assert isinstance(data.batch_augmentation, Brighten)
    assert (data.batch_augmentation.by, list(data.transforms)) == (3.0, [])
    assert yaml.safe_load(written)["data"]["augmentation"]["init_args"]["by"] == 3.0
    data, _ = read([FLIP])
    assert data.batch_augmentation is None
    assert [type(step).__name__ for step in data.transforms] == ["RandFlipd"]
