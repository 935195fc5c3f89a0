"""Optimiser and learning-rate schedule of a module, as configured."""

import math
from typing import Any, Literal

from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from brats_lightning.errors import ConfigError

Interval = Literal["epoch", "step"]
LearningRateScaling = Literal["none", "linear", "sqrt"]


class ScheduledModule(LightningModule):
    """A module whose optimiser and schedule are given to it.

    Args:
        optimizer: Makes an optimiser from the parameters.
        scheduler: Makes a learning-rate schedule from the optimiser.
        scheduler_interval: When the schedule moves on.
        learning_rate_scaling: What the learning rate is multiplied by where n processes make steps of n batches:
            `linear` n (Goyal et al., arXiv:1706.02677), `sqrt` its root, which suits Adam (Malladi et al., NeurIPS
            2022), or `none`.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        scheduler: LRSchedulerCallable | None,
        *,
        scheduler_interval: Interval,
        learning_rate_scaling: LearningRateScaling = "none",
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval
        self.learning_rate_scaling = learning_rate_scaling
        self._monitored: float | None = None

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and its schedule, as configured.

        Raises:
            ConfigError: A learning rate is to be scaled that the schedule sets by itself, or a plateau is to be noticed
                within an epoch.
        """
        optimizer = self.optimizer(self.parameters())
        scaled = _scale(optimizer, self.learning_rate_scaling, processes=self.trainer.world_size)
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        if scaled and isinstance(scheduler, OneCycleLR | CyclicLR):
            raise ConfigError(
                f"model.learning_rate_scaling: {type(scheduler).__name__} sets the learning rate by itself: expected "
                "none; scale its max_lr in the configuration"
            )
        schedule: LRSchedulerConfigType = {"scheduler": scheduler, "interval": self.scheduler_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            if self.scheduler_interval == "step":  # Lightning would move it on after the step's checkpoint
                raise ConfigError("model.scheduler_interval is step, and ReduceLROnPlateau needs epoch")
            schedule["monitor"] = scheduler.monitor
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_end(self) -> None:
        """Move plateau schedules on before the epoch's checkpoint is written.

        Lightning would do it afterwards, and never for a run that goes on from that checkpoint.
        """
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            value = self._monitored_by(scheduler)
            if value is not None:  # Lightning raises where it is missing
                scheduler.step(value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What a plateau schedule watches may have been validated before a stop in mid-epoch, and not again after."""
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau):
            checkpoint["monitored"] = self._monitored_by(scheduler)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it."""
        self._monitored = checkpoint.get("monitored")

    def _monitored_by(self, scheduler: ReduceLROnPlateau) -> float | None:
        """The last value of this run, or of the part of it before a stop."""
        value = self.trainer.callback_metrics.get(scheduler.monitor)
        return self._monitored if value is None else float(value)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Leave out what `on_train_epoch_end` has done."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)


def _scale(optimizer: Optimizer, scaling: LearningRateScaling, *, processes: int) -> bool:
    """Multiply an optimiser's learning rates; whether anything is changed."""
    factor = {"none": 1.0, "linear": float(processes), "sqrt": math.sqrt(processes)}[scaling]
    for group in optimizer.param_groups:
        group["lr"] *= factor
    return factor != 1
