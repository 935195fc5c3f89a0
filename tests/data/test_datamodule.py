import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from monai.transforms import RandGaussianNoised

from brats_lightning.data import datamodule
from brats_lightning.data.case import Case
from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.data.splits import HoldOut, KFold, Listed, Parts
from brats_lightning.errors import ConfigError, DatasetError
from brats_lightning.labels import CASE, IMAGE, LABEL, SPACING

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


def ids(loader: torch.utils.data.DataLoader[dict[str, Any]]) -> list[str]:
    return [case for batch in loader for case in batch[CASE]]


def break_case(root: Path, number: int) -> None:
    (root / f"BraTS2021_{number:05}" / f"BraTS2021_{number:05}_t1.nii").write_bytes(b"")


def test_batches_hold_what_the_docstring_says(root: Path) -> None:
    data = prepared(root)
    batch = next(iter(data.train_dataloader()))
    assert set(batch) == {IMAGE, LABEL, SPACING, CASE}
    assert batch[IMAGE].shape == (2, 4, 8, 9, 10)
    assert batch[IMAGE].dtype == torch.float32
    assert batch[LABEL].shape == (2, 1, 8, 9, 10)
    assert batch[LABEL].dtype == torch.uint8
    assert batch[SPACING].shape == (2, 3)
    assert len(batch[CASE]) == 2
    assert next(iter(data.val_dataloader()))[IMAGE].shape[0] == 1


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
            loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
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


def test_ranks_share_the_cases(root: Path) -> None:
    trained, validated = [], []
    for rank in range(2):
        data = prepared(root)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        trained.append(ids(data.train_dataloader()))
        validated += ids(data.val_dataloader())
    assert data.parts is not None
    assert [len(share) for share in trained] == [3, 3]
    assert sorted({*trained[0], *trained[1]}) == list(data.parts.train)
    assert sorted(validated) == list(data.parts.validation)


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
    data.trainer = SimpleNamespace(global_rank=1, world_size=2)  # type: ignore[assignment]
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
