"""What a run keeps: its best and its last checkpoint, the state of its random generators; and what it shows."""

import random
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar

from brats_lightning.runs import CHECKPOINTS


class RandomState(Callback):
    """Store the state of every random generator in checkpoints, and go on from it.

    With it a run that was stopped and continued draws the same dropout masks as one that was not, as long as its
    loaders draw from generators of their own. Plain numbers and tensors only, so that a checkpoint loads without
    unpickling code.
    """

    def __init__(self) -> None:
        self._stored: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """States of PyTorch's (CPU and GPUs), NumPy's and Python's generators."""
        kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 - the global one is meant
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [
                str(kind),
                torch.from_numpy(np.asarray(keys).astype(np.int64)),
                position,
                has_gauss,
                gauss,
            ],
            "python": random.getstate(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the stored states until training begins: building the loaders must not spend them."""
        self._stored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Put the stored states in place."""
        if self._stored is None:
            return
        torch.set_rng_state(self._stored["torch"].cpu())
        if torch.cuda.is_available() and len(self._stored["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([state.cpu() for state in self._stored["cuda"]])
        kind, keys, *rest = self._stored["numpy"]
        np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
        version, inner, gauss = self._stored["python"]
        random.setstate((version, tuple(inner), gauss))
        self._stored = None


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
    """`checkpoints/last.ckpt`: written at the end of every epoch; a stopped run goes on from it.

    An epoch that `max_steps` has cut short goes on with the cases it began with, not with those it had not come to.
    """

    def __init__(self) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)


class ProgressBar(RichProgressBar):
    """Lightning's bar with the last training loss that was looked at: to read it anew would hold up every step."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What the bar shows."""
        shown: dict[str, Any] = super().get_metrics(trainer, pl_module)
        loss = getattr(pl_module, "last_loss", None)
        if loss is not None and trainer.training and not any(name.startswith("train/loss") for name in shown):
            shown["train/loss"] = round(loss, 4)
        return shown
