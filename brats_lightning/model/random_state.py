"""Random generators of a run: each process has its own, and a run that goes on has them back."""

import random
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from brats_lightning.model.agreement import gathered


class RandomState(Callback):
    """Store the state of every random generator of every process in checkpoints, and go on from it.

    With it a run that was stopped and continued draws the same dropout masks as one that was not, as long as its
    loaders draw from generators of their own. Plain numbers and tensors only, so that a checkpoint loads without
    unpickling code. Lightning seeds all processes alike, so that their first weights are equal; from the first step on
    each draws masks of its own.
    """

    def __init__(self) -> None:
        self._stored: list[dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """States of PyTorch's (CPU and GPUs), NumPy's and Python's generators, process by process."""
        return {"ranks": gathered(_states())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the stored states until training begins: building the loaders must not spend them."""
        self._stored = state_dict.get("ranks", [state_dict])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Put the stored states in place, or set a new process apart from the first."""
        rank = trainer.global_rank
        if self._stored is not None and rank < len(self._stored):
            _restore(self._stored[rank])
        elif rank:
            seed = (torch.initial_seed() + rank) % 2**32
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002 - the global one is meant
            random.seed(seed)
        self._stored = None


def _states() -> dict[str, Any]:
    kind, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    numpy = [str(kind), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss]
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": numpy,
        "python": random.getstate(),
    }


def _restore(stored: dict[str, Any]) -> None:
    torch.set_rng_state(stored["torch"].cpu())
    if torch.cuda.is_available() and len(stored["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in stored["cuda"]])
    kind, keys, *rest = stored["numpy"]
    np.random.set_state((kind, keys.cpu().numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, inner, gauss = stored["python"]
    random.setstate((version, tuple(inner), gauss))
