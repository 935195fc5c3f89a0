import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.demos.boring_classes import BoringModel

from brats_lightning.cluster.lease import FILE, Lease
from brats_lightning.errors import BratsError
from brats_lightning.model.checkpoint_files import WholeCheckpoints

LARGE = {"weights": torch.zeros(1_000_000)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run's last checkpoint, which holds `1`."""
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"held": torch.ones(1)}, path)
    return path


def held_by(path: Path) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
    return checkpoint


def is_untouched(path: Path) -> bool:
    """The checkpoint is the one before, and nothing lies beside it."""
    return held_by(path) == {"held": torch.ones(1)} and list(path.parent.iterdir()) == [path]


def test_what_is_saved_is_read_again_and_lies_alone(path: Path) -> None:
    assert is_untouched(path)
    WholeCheckpoints().save_checkpoint({"held": torch.zeros(1)}, str(path))
    assert held_by(path) == {"held": torch.zeros(1)}
    assert list(path.parent.iterdir()) == [path]


def test_whoever_reads_the_old_one_reads_it_to_its_end(path: Path) -> None:
    with path.open("rb") as file:
        WholeCheckpoints().save_checkpoint(LARGE, path)
        assert torch.load(file, weights_only=True) == {"held": torch.ones(1)}
    assert held_by(path).keys() == LARGE.keys()


def test_the_old_one_stands_until_the_new_one_is_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that is killed at any write, or before the file is known to be on the disk, leaves the old checkpoint."""
    seen = []

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **settings: Any) -> Any:
            seen.append((call.__name__, held_by(path) == {"held": torch.ones(1)}))
            result = call(*arguments, **settings)
            seen.append((call.__name__, held_by(path) == {"held": torch.ones(1)}))
            return result

        return wrapper

    monkeypatch.setattr(torch, "save", watched(torch.save))
    monkeypatch.setattr(os, "fsync", watched(os.fsync))
    WholeCheckpoints().save_checkpoint(LARGE, path)
    before, after = ("save", True), ("fsync", True)
    assert seen == [before, before, after, after, ("fsync", False), ("fsync", False)]  # at last that of the folder


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system refuses to make files of more than 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow_leaves_the_one_before(path: Path, small_files: None) -> None:
    with pytest.raises(BratsError, match=r"last\.ckpt could not be written \(.+\); the one before it is as it was"):
        WholeCheckpoints().save_checkpoint(LARGE, path)
    assert is_untouched(path)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 470"),
        RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed"),
    ],
)
def test_a_full_disk_is_told_in_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fill(checkpoint: object, file: Any) -> None:
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(torch, "save", fill)
    with pytest.raises(BratsError, match=r"\(no space left\); .* make room, then go on with --ckpt_path auto$"):
        WholeCheckpoints().save_checkpoint(LARGE, path)
    monkeypatch.undo()
    assert is_untouched(path)


def test_other_errors_are_nobodys_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(checkpoint: object, file: object) -> None:
        raise RuntimeError("the machine is on fire")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(RuntimeError, match=r"^the machine is on fire$"):
        WholeCheckpoints().save_checkpoint(LARGE, path)
    monkeypatch.undo()
    assert is_untouched(path)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(BratsError, match=r"could not be written \(Not a directory\)"):
        WholeCheckpoints().save_checkpoint(LARGE, tmp_path / "run" / "checkpoints" / "last.ckpt")


def test_a_run_that_another_job_has_taken_over_is_not_written_to(path: Path) -> None:
    with Lease.take(path.parents[1]) as lease:
        WholeCheckpoints().save_checkpoint({"held": torch.ones(1)}, path)
        other = {**json.loads(lease.holder.json), "mark": "another"}
        (path.parents[1] / FILE).write_text(json.dumps(other))
        with pytest.raises(BratsError, match=r"another job has taken over .*run: this one writes nothing more there"):
            WholeCheckpoints().save_checkpoint(LARGE, path)
        assert is_untouched(path)
        elsewhere = path.parents[2] / "other" / "checkpoints" / "last.ckpt"
        WholeCheckpoints().save_checkpoint(LARGE, elsewhere)
        assert elsewhere.is_file()


def test_options_of_remote_files_are_refused(path: Path) -> None:
    with pytest.raises(TypeError, match="checkpoints are local files"):
        WholeCheckpoints().save_checkpoint(LARGE, path, storage_options={"token": 1})


def test_a_trainer_saves_and_loads_with_it(tmp_path: Path, trainer_of: Callable[..., Any]) -> None:
    saved = trainer_of(plugins=[WholeCheckpoints()], limit_train_batches=1, limit_val_batches=0)
    module: LightningModule = BoringModel()
    saved.fit(module)
    saved.save_checkpoint(tmp_path / "deep" / "er" / "last.ckpt")
    again = trainer_of(plugins=[WholeCheckpoints()], limit_train_batches=1, limit_val_batches=0, max_epochs=2)
    again.fit(module, ckpt_path=tmp_path / "deep" / "er" / "last.ckpt", weights_only=True)
    assert again.global_step == 2


def test_what_a_killed_process_left_is_swept(path: Path) -> None:
    left = path.with_name(f".{path.name}.elsewhere.1")
    other = path.with_name(".best.ckpt.elsewhere.1")
    left.touch()
    other.touch()
    WholeCheckpoints().save_checkpoint({"held": torch.zeros(1)}, path)
    assert sorted(path.parent.iterdir()) == sorted([path, other])
