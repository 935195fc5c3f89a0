"""Going back to the best weights where training has made them worse: the "dwell" of published training recipes."""

import logging
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, StochasticWeightAveraging, WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from brats_lightning.errors import ConfigError
from brats_lightning.model.agreement import gathered
from brats_lightning.model.callbacks import LastCheckpoint
from brats_lightning.model.ema import ExponentialMovingAverage
from brats_lightning.model.weights import plain_order
from brats_lightning.model.whole_networks import require_whole_networks

OptimizerState = Literal["keep", "restore", "reset"]
KEY = "restore_best"
"""Of a checkpoint: the best value, and the weights that had it where they are not those of `state_dict`."""

log = logging.getLogger("brats_lightning")


class RestoreBestWeights(Checkpoint):
    """Go back to the best weights, and on with a smaller learning rate, where a validation was worse than the best.

    Weights are all that the module's `state_dict` has, statistics of batch normalisation included. They go back after
    the epoch's `best.ckpt`, which keeps what was validated whatever it monitors, and before its `last.ckpt`, which
    holds the restored weights and the smaller learning rate. A validation in mid-epoch counts as one at its end does;
    gradients that are gathered at that moment are dropped, as they are those of other weights.

    A value that equals the best is not worse, and the earlier weights stay the best. One that is not a number, or
    infinite, is worse than every number; before there is a best there is nothing to go back to.

    The best weights lie in main memory: a copy a validation takes milliseconds, and a GPU's memory is what networks of
    volumes lack. All processes do what the first one's value says.

    Lightning calls a `Checkpoint` when the epoch's values are there.

    Args:
        monitor: Name of a value that validation logs.
        mode: Whether it should fall or grow.
        factor: What learning rates are multiplied by each time.
        min_lr: Learning rates are not lowered below.
        optimizer: What becomes of its running means: `keep` them, `restore` those of the best epoch, or `reset` them.

    Raises:
        ConfigError: A setting without sense.
    """

    def __init__(
        self,
        *,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        factor: float = 0.5,
        min_lr: float = 0.0,
        optimizer: OptimizerState = "keep",
    ) -> None:
        for wrong, expected, found in (
            (not monitor.startswith("val/"), "monitor must be a value of validation, val/…", monitor),
            (mode not in {"min", "max"}, "mode must be min or max", mode),
            (not 0 < factor <= 1, "factor must be above 0 and at most 1", factor),
            (not 0 <= min_lr < math.inf, "min_lr must be a number from 0", min_lr),
            (optimizer not in get_args(OptimizerState), "optimizer must be keep, restore or reset", optimizer),
        ):
            if wrong:
                raise ConfigError(f"RestoreBestWeights: {expected}, found {found}")
        self.monitor = monitor
        self.mode = mode
        self.factor = factor
        self.min_lr = min_lr
        self.optimizer = optimizer
        self._forget()

    def _forget(self) -> None:
        self._best: float | None = None
        self._best_epoch = 0
        self._worse: float | None = None
        """The value for which weights are to go back, once that is done everywhere that comes first."""
        self._at_best = False
        """Whether module and optimiser are as they were at the best, so that checkpoints need not hold that twice."""
        self._weights: dict[str, Tensor] = {}
        self._states: list[dict[Any, Any]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Come after what stores the epoch's own weights, and before what stores where the run goes on."""
        if stage == "fit":
            self._forget()
            trainer.callbacks = sorted(  # type: ignore[attr-defined]
                trainer.callbacks,  # type: ignore[attr-defined]
                key=lambda callback: 2 * isinstance(callback, LastCheckpoint) + (callback is self),
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Look for what would undo it.

        Raises:
            ConfigError: Says what.
        """
        require_whole_networks(trainer, why="RestoreBestWeights keeps whole networks")
        if trainer.lr_scheduler_configs:
            name = type(trainer.lr_scheduler_configs[0].scheduler).__name__
            raise ConfigError(
                f"RestoreBestWeights lowers the learning rate, and model.scheduler {name} sets it, too: "
                "leave one of them out"
            )
        averages = (ExponentialMovingAverage, WeightAveraging, StochasticWeightAveraging)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, averages):
                raise ConfigError(
                    f"RestoreBestWeights puts weights back, and {type(callback).__name__} validates an average of "
                    "them: leave one of them out"
                )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep weights that are the best so far, or note that they are to go back.

        Raises:
            ConfigError: The value is not logged.
        """
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        logged = trainer.callback_metrics
        if self.monitor not in logged:
            names = ", ".join(sorted(name for name in logged if name.startswith("val/"))) or "nothing"
            raise ConfigError(f"RestoreBestWeights monitors {self.monitor}, and validation logs {names}: monitor that")
        value = gathered(float(logged[self.monitor]))[0]
        assert isinstance(value, float)  # noqa: S101 - as all of them
        if not math.isfinite(value):
            self._worse = None if self._best is None else value
        elif self._best is None or self._improves(value, self._best):
            self._worse = None
            self._best, self._best_epoch = value, trainer.current_epoch
            self._keep(trainer, pl_module)
        else:
            self._worse = None if value == self._best else value

    def _improves(self, value: float, best: float) -> bool:
        return value < best if self.mode == "min" else value > best

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Go back after a validation in mid-epoch, or in a run that goes on from an epoch's `best.ckpt`."""
        self._go_back(trainer, pl_module)
        self._at_best = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back after a validation at the epoch's end."""
        self._go_back(trainer, pl_module)

    def _keep(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._at_best = True
        self._weights = _copied(pl_module.state_dict())
        if self.optimizer == "restore":
            self._states = [_copied(optimizer.state_dict()["state"]) for optimizer in trainer.optimizers]

    @torch.no_grad()
    def _go_back(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._worse is None:
            return
        for name, value in pl_module.state_dict().items():
            if isinstance(value, Tensor):  # a module may have more of its own there
                value.copy_(self._weights[name])
        for number, optimizer in enumerate(trainer.optimizers):
            if self.optimizer != "keep":
                state = _copied(self._states[number]) if self.optimizer == "restore" else {}
                optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
            optimizer.zero_grad()
            self._lower(optimizer)
        self._at_best = True
        if trainer.is_global_zero:
            rates = ", ".join(
                f"{group['lr']:g}" for optimizer in trainer.optimizers for group in optimizer.param_groups
            )
            log.info(
                "epoch %d: %s %.6g is worse than %.6g of epoch %d, whose weights are back; learning rate %s",
                trainer.current_epoch, self.monitor, self._worse, self._best, self._best_epoch, rates,
            )  # fmt: skip
        self._worse = None

    def _lower(self, optimizer: Optimizer) -> None:
        for group in optimizer.param_groups:
            before = float(group["lr"])
            lowered = min(before, max(before * self.factor, self.min_lr))
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lowered)
            else:
                group["lr"] = lowered

    def on_save_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """The best weights beside those of now, where they are others."""
        if self._best is None:
            return
        kept: dict[str, Any] = {"best": self._best, "epoch": self._best_epoch, "worse": self._worse}
        if not self._at_best:
            kept |= {"weights": plain_order(self._weights), "optimizers": self._states}
        checkpoint[KEY] = kept

    def on_load_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Go on with them.

        Raises:
            ConfigError: The optimiser's state is wanted, and was not kept.
        """
        kept = checkpoint.get(KEY)
        if kept is None:
            return
        self._best, self._best_epoch, self._worse = kept["best"], kept["epoch"], kept["worse"]
        self._at_best = "weights" not in kept
        self._weights = _copied(kept.get("weights", checkpoint["state_dict"]))
        if self.optimizer == "restore":
            own = [state["state"] for state in checkpoint["optimizer_states"]]
            self._states = _copied(kept.get("optimizers", own))
            if not self._states:
                raise ConfigError(
                    "RestoreBestWeights: optimizer is restore, and the checkpoint's run did not keep the optimiser's "
                    "state of its best epoch: go on with keep or reset"
                )


def _copied(held: Any, memory: dict[object, Tensor] | None = None) -> Any:
    """A copy in main memory; a tensor of several names is copied once."""
    memory = {} if memory is None else memory
    if isinstance(held, Tensor):
        place = held.data_ptr(), held.dtype, held.shape, held.stride()
        if place not in memory:
            memory[place] = held.detach().to("cpu", copy=True)
        return memory[place]
    if isinstance(held, Mapping):
        return {name: _copied(value, memory) for name, value in held.items()}
    if isinstance(held, list | tuple):
        return [_copied(value, memory) for value in held]
    return held
