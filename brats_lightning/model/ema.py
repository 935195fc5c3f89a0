"""Exponential moving average of the weights: what is validated, kept as best and predicted with."""

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from brats_lightning.errors import ConfigError
from brats_lightning.model.whole_networks import require_whole_networks

TRAINED = "trained_weights"
"""Key of a checkpoint: weights as the optimiser left them; `state_dict` holds their average."""


class ExponentialMovingAverage(Callback):
    """Average the network's weights over the steps of training (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992).

    Validation, checkpoints and everything after training use the average; training goes on from the weights
    themselves, which checkpoints hold too. Lightning's `EMAWeightAveraging` keeps a second module with all its state,
    waits for the GPU at every step, and begins with the full decay.

    Args:
        decay: Weight of the average so far at each step.
        warmup: Begin with less, (1 + n) / (10 + n) after n steps, so that the first weights are soon forgotten.
    """

    def __init__(self, decay: float = 0.999, *, warmup: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"ExponentialMovingAverage: decay must be 0 or more and below 1, found {decay}")
        self.decay = decay
        self.warmup = warmup
        self._steps = 0
        self._values: dict[str, Tensor] = {}
        self._distinct: dict[str, Tensor] = {}
        self._average: dict[str, Tensor] = {}
        self._swapped = False
        self._stored: tuple[Mapping[str, Tensor], Mapping[str, Tensor]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """How many steps the average is of."""
        return {"steps": self._steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._steps = int(state_dict["steps"])

    def on_load_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Keep a run's weights until the module is on its device."""
        if TRAINED in checkpoint:
            self._stored = checkpoint["state_dict"], checkpoint[TRAINED]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the weights at hand, or go on from a checkpoint's two sets.

        Raises:
            ConfigError: No process has all of the weights.
        """
        require_whole_networks(trainer, why="ExponentialMovingAverage averages whole networks")
        stored = pl_module.state_dict(keep_vars=True)
        self._values = {name: value for name, value in stored.items() if name.startswith("network.")}
        # A network may hold a weight under several names (MONAI's DynUNet does): it has one average.
        means = {id(value): value.detach().clone() for value in self._values.values()}
        self._average = {name: means[id(value)] for name, value in self._values.items()}
        names = {id(value): name for name, value in reversed(self._values.items())}
        self._distinct = {name: self._values[name] for name in reversed(names.values())}
        self._swapped = False
        if self._stored is not None:
            averaged, trained = self._stored
            for name, value in self._values.items():
                self._average[name].copy_(averaged[name])
                value.data.copy_(trained[name])
        self._stored = None

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Move the average a little where the optimiser has made a step."""
        if trainer.global_step <= self._steps:
            return  # gradients are still accumulated
        self._steps = trainer.global_step
        decay = min(self.decay, (1 + self._steps) / (10 + self._steps)) if self.warmup else self.decay
        values = self._distinct
        moving = [name for name, value in values.items() if value.is_floating_point()]
        torch._foreach_lerp_(  # one kernel for all weights
            [self._average[name] for name in moving], [values[name].detach() for name in moving], 1 - decay
        )
        for name in values.keys() - set(moving):
            self._average[name].copy_(values[name])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Validate the average."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._swap(average_inside=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Train on with the weights themselves."""
        if trainer.state.fn == TrainerFn.FITTING:
            self._swap(average_inside=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Leave the average in the module."""
        self._swap(average_inside=True)

    def on_save_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """The average where weights are looked for, the weights themselves beside it."""
        if not self._average:
            return
        inside = {name: checkpoint["state_dict"][name] for name in self._average}
        averaged, trained = (inside, self._average) if self._swapped else (self._average, inside)
        checkpoint["state_dict"] = {**checkpoint["state_dict"], **averaged}
        checkpoint[TRAINED] = dict(trained)

    @torch.no_grad()
    def _swap(self, *, average_inside: bool) -> None:
        if self._swapped is average_inside:
            return
        for name, value in self._distinct.items():
            kept = value.detach().clone()
            value.copy_(self._average[name])
            self._average[name].copy_(kept)
        self._swapped = average_inside
