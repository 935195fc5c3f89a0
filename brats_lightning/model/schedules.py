"""Optimiser and learning-rate schedule of a module, as configured."""

from typing import Any, Literal

from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LRSchedulerCallable, OptimizerCallable, ReduceLROnPlateau
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRScheduler

Interval = Literal["epoch", "step"]


class ScheduledModule(LightningModule):
    """A module whose optimiser and schedule are given to it.

    Args:
        optimizer: Makes an optimiser from the parameters.
        scheduler: Makes a learning-rate schedule from the optimiser.
        scheduler_interval: When the schedule moves on.
    """

    def __init__(
        self, optimizer: OptimizerCallable, scheduler: LRSchedulerCallable | None, *, scheduler_interval: Interval
    ) -> None:
        super().__init__()
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.scheduler_interval = scheduler_interval

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and its schedule, as configured."""
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        schedule: LRSchedulerConfigType = {"scheduler": scheduler, "interval": self.scheduler_interval}
        if isinstance(scheduler, ReduceLROnPlateau):
            schedule["monitor"] = scheduler.monitor
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_epoch_end(self) -> None:
        """Move plateau schedules on before the epoch's checkpoint is written.

        Lightning would do it afterwards, and never for a run that goes on from that checkpoint.
        """
        scheduler = self.lr_schedulers()
        if isinstance(scheduler, ReduceLROnPlateau) and self.scheduler_interval == "epoch":
            value = self.trainer.callback_metrics.get(scheduler.monitor)
            if value is not None:  # Lightning raises where it is missing
                scheduler.step(value)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Leave out what `on_train_epoch_end` has done."""
        if not (isinstance(scheduler, ReduceLROnPlateau) and self.scheduler_interval == "epoch"):
            super().lr_scheduler_step(scheduler, metric)
