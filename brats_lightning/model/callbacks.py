"""Callbacks that Lightning lacks."""

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class RandomState(Callback):
    """Store the state of every random generator in checkpoints, and go on from it.

    With it a run that was stopped and continued draws the same dropout masks as one that was not. Plain numbers and
    tensors only, so that a checkpoint loads without unpickling code.
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
