"""What a run keeps, its best and its last checkpoint, and what it shows."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar

from brats_lightning.cluster import signals
from brats_lightning.cluster.lease import is_lost
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.model.agreement import Agreement
from brats_lightning.runs import CHECKPOINTS, LAST

log = logging.getLogger("brats_lightning")


@runtime_checkable
class RowsBySteps(Protocol):
    """A logger that a run goes on with from a step: to log a value twice changes nothing."""

    def go_on_from(self, step: int) -> None:
        """Drop what was logged from this step on."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add values to the row of a step."""

    def flush(self) -> None:
        """Have what was logged on the disk."""


class _RunCheckpoint(ModelCheckpoint):
    """A checkpoint of one name in the run's folder, wherever that folder is moved to."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Settle the folder before Lightning looks for one of its own."""
        self.dirpath = str(Path(trainer.default_root_dir) / CHECKPOINTS)
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the best score so far: Lightning forgets it when the folder has another path than before."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "") / Path(path).name) if path else path

        moved = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best_k_models = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": best_k_models, "dirpath": self.dirpath})


class BestCheckpoint(_RunCheckpoint):
    """`checkpoints/best.ckpt`: the epoch with the best validation score so far.

    Args:
        monitor: Name of a logged value.
        mode: Whether it should grow or fall.
    """

    def __init__(self, *, monitor: str = "val/dice_mean_ET_ED_NCR", mode: Literal["max", "min"] = "max") -> None:
        super().__init__(filename="best", monitor=monitor, mode=mode, enable_version_counter=False)


class LastCheckpoint(_RunCheckpoint):
    """`checkpoints/last.ckpt`: what a stopped run goes on from, as if it had not been stopped.

    It is written at the end of every epoch, every few minutes, and when a signal asks the run to stop: SIGUSR1, which
    SLURM sends before a job's time is up, or SIGTERM. No process saves inside a signal's handler, where another might
    wait for it elsewhere: all agree after a step, and save after the next one. Where a checkpoint would not give back
    the same run they take the next step at which it does: not before the gradients of several batches are used, not
    before a validation that is due, not after the last batch of an epoch, whose end saves anyway.

    Args:
        minutes: Longest work that a killed run loses, validation aside; null saves at the ends of epochs alone.
    """

    def __init__(self, *, minutes: float | None = 15) -> None:
        if minutes is not None and minutes <= 0:
            raise ConfigError(f"LastCheckpoint: minutes must be positive or null, found {minutes}")
        super().__init__(filename=Path(LAST).stem, save_on_train_epoch_end=True, enable_version_counter=False)
        self.minutes = minutes
        self._agreement = Agreement(3)
        self._stops = self._due = self._leaves = False
        self._saved_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on SIGTERM is a request, too."""
        super().on_train_start(trainer, pl_module)
        _begin_next_epoch(trainer)
        signals.listen(also_terminate=True)
        # Lightning asks all processes for the same at every step, and has the host wait for the GPU to hear it.
        trainer.fit_loop.epoch_loop._broadcast_sigterm_tensor = _nothing  # type: ignore[method-assign]
        self._agreement = Agreement(3)
        self._stops = self._due = self._leaves = False
        self._saved_at = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Leave where an epoch has ended: its validation is done, its last values are logged."""
        self._leave()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Leave in mid-epoch, after the values of the step that was saved are logged."""
        self._leave()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any) -> None:
        """Save where that is wanted and gives the same run back."""
        super().on_train_batch_end(trainer, pl_module, *args, **kwargs)
        self._hear(self._agreement.vote(self._wishes(trainer)))
        ends = trainer.global_step == trainer.max_steps  # in mid-epoch, which then counts as over
        if (self._stops or self._due or ends) and _can_go_on_from_here(trainer):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, and hear the wishes since the last step."""
        self._hear(self._agreement.settle(self._wishes(trainer)))
        self._due = False
        self._saved_at = time.monotonic()
        _log_before_saving(trainer)
        super().on_train_epoch_end(trainer, pl_module)
        self._leaves = self._stops

    def _wishes(self, trainer: Trainer) -> list[bool]:
        overdue = self.minutes is not None and time.monotonic() - self._saved_at > 60 * self.minutes
        return [signals.asked() is not None, overdue, is_lost(Path(trainer.default_root_dir))]

    def _hear(self, answers: list[bool]) -> None:
        stop, due, taken = answers
        if taken:
            raise BratsError(
                "another job has taken over the run's folder: this one stops, and writes nothing more there"
            )
        self._stops, self._due = self._stops or stop, self._due or due

    def _save(self, trainer: Trainer) -> None:
        self._due = False
        self._saved_at = time.monotonic()
        path = str(Path(self.dirpath or "") / LAST)
        if self._last_global_step_saved != trainer.global_step:
            self._save_checkpoint(trainer, path)
        self._leaves = self._stops
        if trainer.is_global_zero:
            log.info("saved after step %d: %s", trainer.global_step, path)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """What was logged must be on the disk first: the steps of a checkpoint are not done again."""
        for logger in trainer.loggers:
            if isinstance(logger, RowsBySteps):
                logger.flush()
        super()._save_checkpoint(trainer, filepath)

    def _leave(self) -> None:
        if self._leaves:
            raise signals.Stopped(signals.asked() or "SIGUSR1", saved=str(Path(self.dirpath or "") / LAST))


def _log_before_saving(trainer: Trainer) -> None:
    """Have the values of an epoch in the files that a run goes on with.

    Lightning logs them after the checkpoint of the epoch's end: a kill in between would lose them for good. It does so
    once more; in a file of a row a step that changes nothing.
    """
    connector, step = trainer._logger_connector, trainer.fit_loop.epoch_loop._batches_that_stepped - 1
    values = {name: float(value) for name, value in connector.metrics["log"].items()}
    for logger in trainer.loggers:
        if values and isinstance(logger, RowsBySteps):
            logger.log_metrics({**values, "epoch": trainer.current_epoch}, step=step)


def _can_go_on_from_here(trainer: Trainer) -> bool:
    """Whether a run that is restored from a checkpoint of this step is the same run."""
    epoch = trainer.fit_loop.epoch_loop
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None  # noqa: S101 - a batch has come from it
    return not (epoch.batch_progress.is_last_batch or epoch._should_accumulate() or epoch._should_check_val_fx(fetcher))


def _begin_next_epoch(trainer: Trainer) -> None:
    """Do not end an epoch twice.

    Where `max_steps` is set, Lightning 2.6 takes a checkpoint of an epoch's end for one of its midst: it calls the
    hooks of the end again, without the scores of its validation, and from then on is an epoch ahead in the order of
    samples.
    """
    loop = trainer.fit_loop
    if loop._iteration_based_training() and loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
        loop._restarting = loop.epoch_loop.restarting = False
        loop.reset_restart_stage()
        loop.epoch_loop.reset_restart_stage()


def _nothing() -> None:
    pass


class ProgressBar(RichProgressBar):
    """Lightning's bar with the last training loss that was looked at: to read it anew would hold up every step."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What the bar shows."""
        shown: dict[str, Any] = super().get_metrics(trainer, pl_module)
        loss = getattr(pl_module, "last_loss", None)
        if loss is not None and trainer.training and not any(name.startswith("train/loss") for name in shown):
            shown["train/loss"] = round(loss, 4)
        return shown
