import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from brats_lightning.cluster import signals
from brats_lightning.cluster.lease import FILE, Lease
from brats_lightning.cluster.signals import Stopped
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.model.callbacks import LastCheckpoint, ProgressBar
from brats_lightning.model.checkpoint_files import WholeCheckpoints

NEVER = 10**6
Saved = tuple[int, int, bool]
"""Of a checkpoint: epoch, batches of it that were done, and whether the epoch was over."""

pytestmark = pytest.mark.filterwarnings(
    "ignore:You defined a `validation_step`", "ignore:.*is not empty", "ignore:Trying to infer the `batch_size`"
)


class Line(LightningModule):
    """Two weights, and a validation."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch: list[Tensor], batch_index: int) -> Tensor:  # noqa: ARG002
        loss: Tensor = self.layer(batch[0]).square().mean()
        return loss

    def validation_step(self, batch: list[Tensor], batch_index: int) -> None:  # noqa: ARG002
        self.log("val/loss", self.layer(batch[0]).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Asked(Callback):
    """A signal at one moment of a run; `validation` counts validations, `batch` those of the whole run."""

    def __init__(self, number: int = signal.SIGUSR1, *, batch: int = NEVER, validation: int = NEVER) -> None:
        self.number = number
        self.batch, self.validation = batch, validation
        self.batches: list[tuple[int, int]] = []
        self.validations = 0

    def on_train_batch_end(self, trainer: Trainer, *arguments: Any) -> None:
        self.batches.append((trainer.current_epoch, int(arguments[-1])))
        if len(self.batches) == self.batch:
            os.kill(os.getpid(), self.number)

    def on_validation_start(self, *_: Any) -> None:
        self.validations += 1
        if self.validations == self.validation:
            os.kill(os.getpid(), self.number)


class Noted(WholeCheckpoints):
    """Says what it has saved."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: list[Saved] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        super().save_checkpoint(checkpoint, path, storage_options)
        loop = checkpoint["loops"]["fit_loop"]
        batches = loop["epoch_loop.batch_progress"]["current"]["ready"]
        over = loop["epoch_progress"]["current"]["processed"] > checkpoint["epoch"]
        self.saved.append((checkpoint["epoch"], batches, over))


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Signals mean what they meant before, and none is remembered."""
    numbers = (signal.SIGUSR1, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    signals.forget()
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    signals.forget()


@pytest.fixture
def train(trainer_of: Callable[..., Any]) -> Callable[..., tuple[Stopped | None, list[Saved], Asked]]:
    """Train on five batches an epoch, for two epochs: why it stopped, what was saved, what was done."""

    def run(
        asked: Asked | None = None,
        *,
        last: LastCheckpoint | None = None,
        callbacks: tuple[Callback, ...] = (),
        **settings: Any,
    ) -> tuple[Stopped | None, list[Saved], Asked]:
        asked, noted = asked or Asked(), Noted()
        last = last or LastCheckpoint(minutes=None)
        trainer = trainer_of(
            **{"max_epochs": 2, "enable_checkpointing": True, "plugins": [noted]} | settings,
            callbacks=[asked, *callbacks, last],
        )
        batches = DataLoader(TensorDataset(torch.ones(5, 1)))
        try:
            trainer.fit(Line(), batches, DataLoader(TensorDataset(torch.ones(1, 1))))
        except Stopped as stopped:
            return stopped, noted.saved, asked
        return None, noted.saved, asked

    return run


EPOCHS_END = [(0, 5, True), (1, 5, True)]
HALF = {"val_check_interval": 2}
PAIRS = {"accumulate_grad_batches": 2}


@pytest.mark.parametrize(
    ("at", "settings", "saved"),
    [
        (1, {}, (0, 1, False)),  # a process alone saves at once
        (4, {}, (0, 4, False)),
        (5, {}, (0, 5, True)),  # the last batch: the epoch's end saves
        (6, {}, (1, 1, False)),
        (1, HALF, (0, 1, False)),
        (2, HALF, (0, 3, False)),  # validation was due
        (4, HALF, (0, 5, True)),  # and then the epoch is over
        (1, PAIRS, (0, 2, False)),  # the gradients of a first batch are in no checkpoint
        (2, PAIRS, (0, 2, False)),
        (4, PAIRS, (0, 4, False)),
        (5, PAIRS, (0, 5, True)),
        (1, HALF | PAIRS, (0, 5, True)),  # whenever gradients are used, validation is due
        (3, {"check_val_every_n_epoch": None, "val_check_interval": 7}, (0, 3, False)),
        (7, {"check_val_every_n_epoch": None, "val_check_interval": 7}, (1, 3, False)),
        (5, {"limit_val_batches": 0}, (0, 5, True)),
        (3, {"limit_train_batches": 3}, (0, 3, True)),
        (2, {"limit_train_batches": 3}, (0, 2, False)),
    ],
)
def test_a_run_that_is_asked_to_stop_saves_where_it_can_go_on_and_then_leaves(
    train: Callable[..., Any], at: int, settings: dict[str, Any], saved: Saved
) -> None:
    stopped, found, asked = train(Asked(batch=at), **settings)
    assert (stopped.signal_name, stopped.requeues) == ("SIGUSR1", True)
    assert found == [*(EPOCHS_END[:1] if saved[0] else []), saved]
    epoch, batches, _ = saved
    assert asked.batches[-1] == (epoch, batches - 1)  # nothing is begun after it
    assert Path(stopped.saved).name == "last.ckpt"
    assert torch.load(stopped.saved, weights_only=True)["epoch"] == epoch


@pytest.mark.parametrize(("settings", "saved"), [({}, (0, 5, True)), (HALF, (0, 3, False))])
def test_a_signal_during_validation_waits_for_its_end(
    train: Callable[..., Any], settings: dict[str, Any], saved: Saved
) -> None:
    stopped, found, asked = train(Asked(validation=1), **settings)
    assert stopped is not None
    assert found == [saved]
    assert asked.validations == 1


def test_a_run_that_is_over_is_not_stopped(train: Callable[..., Any]) -> None:
    """In its last batch, in its last validation, and where it ends early."""
    for asked in (Asked(batch=10), Asked(validation=2)):
        assert train(asked)[:2] == (None, EPOCHS_END)
        signals.forget()
    early = EarlyStopping("val/loss", patience=1, min_delta=1e6)
    assert train(Asked(batch=10), callbacks=(early,), max_epochs=9)[:2] == (None, EPOCHS_END)


def test_a_signal_before_the_first_step_stops_after_it(train: Callable[..., Any]) -> None:
    signals.listen()
    os.kill(os.getpid(), signal.SIGUSR1)
    stopped, saved, _ = train()
    assert stopped is not None
    assert saved == [(0, 1, False)]


def test_termination_stops_a_run_that_trains_without_putting_it_back(train: Callable[..., Any]) -> None:
    stopped, saved, _ = train(Asked(signal.SIGTERM, batch=3))
    assert (stopped.signal_name, stopped.requeues) == ("SIGTERM", False)
    assert saved == [(0, 3, False)]


@pytest.mark.parametrize(
    ("settings", "saved"),
    [
        ({}, [(0, 1, False), (0, 2, False), (0, 3, False), (0, 4, False), (0, 5, True)]),
        (HALF, [(0, 1, False), (0, 3, False), (0, 5, True)]),
        (PAIRS, [(0, 2, False), (0, 4, False), (0, 5, True)]),
    ],
)
def test_a_checkpoint_that_is_due_after_every_step_is_taken_where_a_run_can_go_on(
    train: Callable[..., Any], settings: dict[str, Any], saved: list[Saved]
) -> None:
    last = LastCheckpoint(minutes=1e-12)
    assert train(last=last, max_epochs=1, **settings)[:2] == (None, saved)


def test_a_checkpoint_is_due_when_the_last_one_is_too_old(
    train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch takes two minutes; the end of an epoch saves, too."""
    clock = Asked()
    now = SimpleNamespace(monotonic=lambda: 120.0 * len(clock.batches))
    monkeypatch.setattr("brats_lightning.model.callbacks.time", now)
    _, saved, _ = train(clock, last=LastCheckpoint(minutes=5))
    assert saved == [(0, 3, False), (0, 5, True), (1, 3, False), (1, 5, True)]
    clock.batches.clear()
    assert train(clock, last=LastCheckpoint(minutes=None))[1] == EPOCHS_END


@pytest.mark.parametrize("minutes", [0, -1.5])
def test_minutes_are_positive(minutes: float) -> None:
    with pytest.raises(ConfigError, match=rf"LastCheckpoint: minutes must be positive or null, found {minutes}"):
        LastCheckpoint(minutes=minutes)


class TakenOver(Callback):
    """Another job comes after a number of batches, and this one's lease finds out."""

    def __init__(self, lease: Lease, *, batch: int) -> None:
        self.lease = lease
        self.batch = batch

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ARG002
        if trainer.global_step == self.batch:
            other = {**json.loads(self.lease.holder.json), "mark": "another"}
            (self.lease.run / FILE).write_text(json.dumps(other))
            assert not self.lease.held()


@pytest.mark.parametrize("batch", [2, 5, 7])
def test_a_run_that_another_job_has_taken_over_stops_and_writes_nothing(
    train: Callable[..., Any], tmp_path: Path, batch: int
) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    with Lease.take(tmp_path) as lease, pytest.raises(BratsError, match="another job has taken over the run's folder"):
        train(Asked(batch=batch), callbacks=(TakenOver(lease, batch=batch),))
    if batch < 6:
        assert not last.exists()
    else:
        assert torch.load(last, weights_only=True)["global_step"] == 5


@pytest.mark.parametrize(("logged", "shown"), [({}, 0.1235), ({"train/loss_step": 0.5}, None)])
def test_the_bar_shows_the_last_loss_that_was_looked_at(logged: dict[str, float], shown: float | None) -> None:
    trainer: Any = SimpleNamespace(training=True, loggers=[], progress_bar_metrics=logged)
    module: Any = SimpleNamespace(last_loss=0.12345)
    assert ProgressBar().get_metrics(trainer, module) == logged | ({} if shown is None else {"train/loss": shown})
    trainer.training = False
    assert "train/loss" not in ProgressBar().get_metrics(trainer, module)
