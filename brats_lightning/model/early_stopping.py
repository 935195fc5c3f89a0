"""Early stopping that a continued run keeps to."""

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping


class StaysStopped(Callback):
    """Leave a run that has stopped early as it is when it is gone on with, unless it is given more patience.

    Lightning trains one more epoch before it looks, and takes the patience from the checkpoint: the configuration could
    not change it.
    """

    def __init__(self) -> None:
        self._patience: dict[int, int] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """What the configuration says, before a checkpoint is read."""
        self._patience = {id(callback): callback.patience for callback in _early_stopping(trainer)}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Callbacks have their state back by now."""
        for callback in _early_stopping(trainer):
            callback.patience = self._patience[id(callback)]
            if callback.wait_count >= callback.patience:
                trainer.should_stop = True


def _early_stopping(trainer: Trainer) -> list[EarlyStopping]:
    return [callback for callback in trainer.callbacks if isinstance(callback, EarlyStopping)]  # type: ignore[attr-defined]
