"""How fast a run trains, and what it waits for."""

import logging
import time
from dataclasses import dataclass, field
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from brats_lightning.labels import IMAGE
from brats_lightning.model.estimate import memory_in_words, spent_in_words

WARM = 3
"""Steps that are not measured where more follow: the first ones compile, and reserve memory."""
TIMED = 10
"""Steps that the estimate of an epoch's time is taken from."""
log = logging.getLogger("brats_lightning")

Moment = float | torch.cuda.Event


@dataclass
class _Steps:
    """Moments of an epoch: at each step's batch asked for, batch there, step done."""

    asked: list[Moment] = field(default_factory=list)
    begun: list[Moment] = field(default_factory=list)
    done: list[Moment] = field(default_factory=list)
    samples: list[int] = field(default_factory=list)

    def seconds(self, first: int) -> tuple[float, float]:
        """Waited and in all, from a step on; the device must have come to the last moment."""
        steps = range(first, len(self.done))
        waited = sum(_between(self.asked[step], self.begun[step]) for step in steps)
        return waited, waited + sum(_between(self.begun[step], self.done[step]) for step in steps)


class Throughput(Callback):
    """Say once an epoch how fast it was, and before the first one what a run will take.

    It logs `speed/samples_per_s` (of all processes), `speed/waiting` (share of the time between steps, on a GPU by its
    own clock) and `speed/gpu_gb` (most memory that tensors had). The device is waited for at the end of an epoch only,
    and twice in the first one. The first three steps of a run are left out.

    Args:
        waiting: Share of the time above which the settings that feed the network are named.
    """

    def __init__(self, waiting: float = 0.1) -> None:
        self.waiting = waiting
        self._steps = _Steps()
        self._asked: Moment = 0.0
        self._first_epoch = True
        self._advised = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Begin anew."""
        self._first_epoch, self._advised = True, False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """The first batch of an epoch is asked for now."""
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)
        self._steps = _Steps()
        self._asked = _moment(pl_module.device)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A batch is there."""
        if self._first_epoch and batch_idx == 0 and trainer.is_global_zero:
            words = memory_in_words(pl_module, batch[IMAGE], optimizers=trainer.optimizers)
            log.info("%s", words)
        self._steps.asked.append(self._asked)
        self._steps.begun.append(_moment(pl_module.device))
        self._steps.samples.append(len(batch[IMAGE]))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """A step is done, as far as the host knows."""
        self._asked = _moment(pl_module.device)
        self._steps.done.append(self._asked)
        if self._first_epoch and len(self._steps.done) == WARM + TIMED and trainer.is_global_zero:
            _wait(pl_module.device)
            seconds = self._steps.seconds(WARM)[1]
            log.info("%s", spent_in_words(seconds / TIMED, trainer))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Validation in the midst of an epoch is no waiting for data."""
        self._asked = _moment(pl_module.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count, log, advise."""
        device, steps = pl_module.device, self._steps
        if not steps.done:
            return
        _wait(device)
        warming = self._first_epoch and len(steps.done) <= WARM
        first = WARM if self._first_epoch and not warming else 0
        self._first_epoch = False
        waited, seconds = steps.seconds(first)
        speed = {
            "speed/samples_per_s": sum(steps.samples[first:]) * trainer.world_size / seconds,
            "speed/waiting": waited / seconds,
        }
        waiting = f"{speed['speed/waiting']:.0%} of the time waiting for data and augmentation"
        said = f"{speed['speed/samples_per_s']:.3g} samples/s, {waiting}"
        if device.type == "cuda":
            speed["speed/gpu_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
            said += f", {speed['speed/gpu_gb']:.1f} GB of GPU memory"
        pl_module.log_dict(speed, rank_zero_only=True)
        if trainer.is_global_zero:
            log.info("epoch %d: %s", trainer.current_epoch, said)
            if speed["speed/waiting"] > self.waiting and not self._advised and not warming:
                self._advised = True
                log.info("%s", advice(getattr(trainer, "datamodule", None), on_gpu=device.type == "cuda"))


def advice(data: object, *, on_gpu: bool) -> str:
    """Which setting to change where a network waits for its data.

    Args:
        data: The run's data module, if it has one.
        on_gpu: Whether the network is on a GPU.
    """
    place, cache = getattr(data, "fed_from", None), getattr(data, "hparams", {}).get("cache")
    cures = []
    if on_gpu and place == "host":
        cures.append("data.feed: device, where the cases fit into the GPU's memory")
    if place in {None, "workers"}:
        cures.append(f"more data.workers (now {getattr(data, 'workers', 'unknown')})")
    if cache == "none":
        cures.append("data.cache: disk (now none)")
    return f"the network waits for its data; try {'; or '.join([*cures, 'less data.augmentation'])}"


def _moment(device: torch.device) -> Moment:
    """Now, by the device's own clock: nobody waits for it."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record(torch.cuda.current_stream(device))
    return event


def _between(start: Moment, end: Moment) -> float:
    if isinstance(start, float) or isinstance(end, float):
        assert isinstance(start, float)  # noqa: S101 - both are of one clock
        assert isinstance(end, float)  # noqa: S101
        return end - start
    return float(start.elapsed_time(end)) / 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
