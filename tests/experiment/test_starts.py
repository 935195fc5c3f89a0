import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from brats_lightning.experiment.starts import NotesStarts
from brats_lightning.reports.run.facts import FACTS, read_starts
from brats_lightning.reports.run.record import versions_here

BATCHES: Any = torch.utils.data.DataLoader(torch.ones(2, 1))  # type: ignore[arg-type]


class Line(LightningModule):
    """The smallest thing that trains."""

    def __init__(self, *, breaks_at: int = -1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.breaks_at = breaks_at

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        if self.global_step == self.breaks_at:
            raise RuntimeError("no power")
        time.sleep(0.01)
        return (self.weight * batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


def train(trainer_of: Callable[..., Trainer], module: Line, *callbacks: Callback, **settings: Any) -> Trainer:
    trainer = trainer_of(callbacks=[NotesStarts(), *callbacks], **settings)
    trainer.fit(module, BATCHES)
    return trainer


def test_each_start_is_added_to_those_before(tmp_path: Path, trainer_of: Callable[..., Trainer]) -> None:
    first = train(trainer_of, Line(), max_epochs=2)
    first.save_checkpoint(tmp_path / "last.ckpt")
    (start,) = read_starts(tmp_path)
    assert (start.from_step, start.steps) == (0, 4)
    assert 0.04 <= start.seconds < 60
    assert start.versions["torch"] == torch.__version__
    assert versions_here().items() <= start.versions.items()
    assert "processor" in start.machine
    assert "GPU" not in start.machine
    again = trainer_of(callbacks=[NotesStarts()], max_epochs=3)
    again.fit(Line(), BATCHES, ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    before, after = read_starts(tmp_path)
    assert before == start
    assert (after.from_step, after.steps) == (4, 6)


def test_a_run_that_broke_off_says_how_far_it_came(tmp_path: Path, trainer_of: Callable[..., Trainer]) -> None:
    with pytest.raises(RuntimeError, match="no power"):
        train(trainer_of, Line(breaks_at=3), max_epochs=2)
    (start,) = read_starts(tmp_path)
    assert start.steps == 3


def test_it_is_noted_after_each_epoch(tmp_path: Path, trainer_of: Callable[..., Trainer]) -> None:
    seen: list[int] = []

    class Looks(Callback):
        """As whoever comes after a process was killed."""

        def on_train_epoch_start(self, *_: Any) -> None:
            seen.append(read_starts(tmp_path)[-1].steps)

    train(trainer_of, Line(), Looks(), max_epochs=3)
    assert seen == [0, 2, 4]


def test_a_damaged_list_is_put_aside(
    tmp_path: Path, trainer_of: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FACTS).write_text("[{")
    with caplog.at_level(logging.WARNING, "brats_lightning"):
        train(trainer_of, Line())
    assert len(read_starts(tmp_path)) == 1
    assert (tmp_path / f"{FACTS}.damaged").read_text() == "[{"
    assert f"it is kept as {FACTS}.damaged" in caplog.text


def test_what_cannot_be_noted_stops_no_training(
    tmp_path: Path, trainer_of: Callable[..., Trainer], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FACTS).mkdir()
    (tmp_path / FACTS / "full").touch()
    (tmp_path / f"{FACTS}.damaged").mkdir()
    (tmp_path / f"{FACTS}.damaged" / "full").touch()
    with caplog.at_level(logging.WARNING, "brats_lightning"):
        trainer = train(trainer_of, Line(), max_epochs=2)
    assert trainer.global_step == 4
    assert caplog.text.count("cannot be written") == 1


def test_nothing_of_people_and_places_is_noted(tmp_path: Path, trainer_of: Callable[..., Trainer]) -> None:
    train(trainer_of, Line())
    (record,) = json.loads((tmp_path / FACTS).read_text())
    told = {"started", "from_step", "steps", "seconds", "commit", "data_sha256", "split_sha256", "versions", "machine"}
    assert set(record) == told
    assert set(record["machine"]) <= {"GPU", "processor", "system"}
