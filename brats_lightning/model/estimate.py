"""What a run will take: memory before the first step, time after some."""

import math
from collections.abc import Iterable, Sequence

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor, nn
from torch.optim import Optimizer

from brats_lightning.model.weights import without_values

STATES = {"SGD": 1, "Adam": 2, "AdamW": 2, "NAdam": 2, "RAdam": 2, "Adamax": 2}
"""Numbers that an optimiser keeps for each weight; two for those that are not listed."""


def memory_in_words(module: LightningModule, image: Tensor, *, optimizers: Sequence[Optimizer]) -> str:
    """Weights of a module, and a guess at the memory that its training takes.

    Args:
        module: With a `network`.
        image: A batch (B, C, X, Y, Z).
        optimizers: Of the run.
    """
    network = module.network
    assert isinstance(network, nn.Module)  # noqa: S101 - what it is for
    weights = sum(value.numel() for value in network.parameters())
    said = f"{weights / 1e6:.3g} million weights"
    states = max((STATES.get(type(optimizer).__name__, 2) for optimizer in optimizers), default=0)
    half = "16" in str(module.trainer.precision)
    kept = activations(network, image.shape)
    if kept is None:
        return f"training {said}"
    total = weights * 4 * (2 + states) + kept * (0.5 if half else 1)
    shape = "×".join(map(str, image.shape))
    return f"training {said} on batches of {shape}: about {total / 1e9:.2g} GB of memory{_of_all(module.device)}"


def activations(network: nn.Module, shape: Iterable[int]) -> int | None:
    """Bytes in 32 bit that a forward pass keeps for the way back; None where shapes alone do not tell.

    Only shapes are worked out, no voxel is. A compiled graph keeps less.

    Args:
        network: In training mode, left as it is.
        shape: Of a batch of images.
    """
    kept: dict[int, Tensor] = {}  # tensors stay alive here: ids are those of living objects

    def pack(value: Tensor) -> Tensor:
        kept[value.untyped_storage()._cdata] = value
        return value

    try:
        # `torch.func.functional_call` leaves its stand-ins in networks that hold a layer under two names, as DynUNet.
        copied = without_values(network)
        own = {value.untyped_storage()._cdata for value in [*copied.parameters(), *copied.buffers()]}
        with torch.random.fork_rng(devices=[]), torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            copied(torch.empty(tuple(shape), device="meta"))
    except Exception:  # noqa: BLE001 - an estimate must not end a run
        return None
    return sum(value.untyped_storage().nbytes() for key, value in kept.items() if key not in own)


def spent_in_words(seconds_a_step: float, trainer: Trainer) -> str:
    """How long an epoch's training takes, and that of the run.

    Args:
        seconds_a_step: Measured.
        trainer: Knows how many steps there are.
    """
    steps = trainer.num_training_batches
    if math.isinf(steps):
        return f"a step takes {seconds_a_step:.3g} s"
    epoch = steps * seconds_a_step
    said = f"an epoch of {int(steps)} steps takes about {_duration(epoch)}"
    left = (trainer.max_epochs or 0) - trainer.current_epoch
    return f"{said}, {left} epochs {_duration(left * epoch)}, without validation" if left > 1 else said


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _of_all(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    return f", the GPU has {torch.cuda.get_device_properties(device).total_memory / 1e9:.0f}"
