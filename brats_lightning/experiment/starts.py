"""A callback of every training run that notes in its folder when, on what and from which code it was trained."""

import contextlib
import logging
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.errors import BratsError
from brats_lightning.experiment.facts import digests_of
from brats_lightning.experiment.opening import commit
from brats_lightning.reports.run.facts import FACTS, Start, read_starts, write_starts
from brats_lightning.reports.run.record import versions_here

log = logging.getLogger("brats_lightning")
_CPU_NAMES = Path("/proc/cpuinfo")


class NotesStarts(Callback):
    """Add a record to `facts.json` when training starts, and keep its steps and seconds up to date, epoch by epoch.

    What cannot be noted stops no training.
    """

    def __init__(self) -> None:
        self._earlier: Sequence[Start] = ()
        self._own: Start | None = None
        self._began = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the start."""
        if not trainer.is_global_zero:
            return
        self._earlier, self._began = _earlier(Path(trainer.default_root_dir)), time.monotonic()
        digests = _digests(trainer)
        self._own = Start(
            datetime.now().astimezone().isoformat(timespec="seconds"),
            from_step=trainer.global_step,
            steps=trainer.global_step,
            commit=commit(),
            data_sha256=digests.get("data_sha256", ""),
            split_sha256=digests.get("split_sha256", ""),
            versions={"Python": platform.python_version(), **versions_here()},
            machine=_machine(trainer.world_size if pl_module.device.type == "cuda" else 0),
        )
        self._note(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Note how far it has come: the process may be killed."""
        self._note(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Note how far it came."""
        self._note(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Note how far it came."""
        self._note(trainer)

    def _note(self, trainer: Trainer) -> None:
        if self._own is None:  # another process's, or nothing was trained
            return
        self._own = replace(self._own, steps=trainer.global_step, seconds=round(time.monotonic() - self._began, 2))
        try:
            write_starts(Path(trainer.default_root_dir), [*self._earlier, self._own])
        except OSError as error:
            log.warning("%s cannot be written (%s): the run does not say where it came from", FACTS, error.strerror)
            self._own = None


def _digests(trainer: Trainer) -> dict[str, str]:
    data = getattr(trainer, "datamodule", None)
    try:
        return digests_of(data) if isinstance(data, BratsDataModule) else {}
    except OSError as error:  # a test case's file, which training does not need
        log.warning("the digest of the data is not noted: %s", error)
        return {}


def _earlier(run: Path) -> list[Start]:
    """Starts before this one; a damaged list is put aside."""
    try:
        return read_starts(run)
    except BratsError as error:
        aside = run / f"{FACTS}.damaged"
        log.warning("%s: it is kept as %s", error, aside.name)
        with contextlib.suppress(OSError):  # then the new list cannot be written either, which is said
            (run / FACTS).replace(aside)
        return []


def _machine(gpus: int) -> dict[str, str]:
    """What figures depend on; no names of people, machines and folders.

    Args:
        gpus: That are trained on, of this process's kind.
    """
    told = {
        "GPU": f"{gpus} × {torch.cuda.get_device_name()}" if gpus else "",
        "processor": " × ".join(filter(None, [str(os.cpu_count() or ""), _processor()])),
        "system": platform.platform(),
    }
    return {name: text for name, text in told.items() if text}


def _processor() -> str:
    """Name of the processor, as Linux tells it; else of its kind."""
    try:
        lines = _CPU_NAMES.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
