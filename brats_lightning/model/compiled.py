"""Network and loss of a training batch as one function, which `torch.compile` turns into one graph."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from brats_lightning.errors import ConfigError
from brats_lightning.model.outputs import Outputs, foreign_label
from brats_lightning.model.supervision import heads_of, own_losses_of, supervised

Compile = bool | Literal["auto"]
MANY_SHAPES = 4
"""Shapes of images after which compiling anew for each of them no longer pays."""
log = logging.getLogger("brats_lightning")


class Loss(NamedTuple):
    """Loss of a batch, and what is looked at later, when the device is waited for anyway.

    Args:
        value: Scalar, with its graph.
        foreign: Scalar: a label that the network has no channel for, or 0.
        channels: Of the logits.
    """

    value: Tensor
    foreign: Tensor
    channels: int


class LossOf:
    """From images (B, C, X, Y, Z) and labels (B, 1, X, Y, Z) to their loss.

    Where compiling fails the step is done without, then and from there on, and the log says why. The network stays the
    object that it is: names of parameters in checkpoints do not change.

    Args:
        network: In training mode.
        loss: Of logits and target.
        outputs: Of the network.
        auxiliary_weight: Of losses that the network works out by itself; they are added.
        compiled: Whether to compile; `auto`: images on a GPU.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        outputs: Outputs,
        auxiliary_weight: float = 0.1,
        compiled: Compile = "auto",
    ) -> None:
        self._network = network
        self._loss = loss
        self._outputs = outputs
        self._auxiliary_weight = auxiliary_weight
        self._wanted = compiled
        self._compiled: Callable[[Tensor, Tensor], Loss] | None = None
        self._shapes: set[torch.Size] = set()

    def __call__(self, image: Tensor, label: Tensor) -> Loss:
        """Loss of a batch, compiled where that is wanted and works.

        Raises:
            ConfigError: Logits on another grid than the label, or too few channels.
        """
        if self._wanted is False or (self._wanted == "auto" and not image.is_cuda):
            return self._eager(image, label)
        self._shapes.add(image.shape)
        if len(self._shapes) > MANY_SHAPES:
            return self._without(image, label, f"images have more than {MANY_SHAPES} shapes")
        try:
            if self._compiled is None:
                self._compiled = torch.compile(self._eager, dynamic=False)
            return self._compiled(image, label)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - compilers raise what they like, and settings' errors come again
            return self._without(image, label, _first_line(error))

    def _without(self, image: Tensor, label: Tensor, reason: str) -> Loss:
        """Eager: raises where the fault is not the compiler's."""
        found = self._eager(image, label)
        self._wanted, self._compiled = False, None
        log.warning("training without torch.compile, more slowly: %s", reason)
        return found

    def _eager(self, image: Tensor, label: Tensor) -> Loss:
        given = self._network(image)
        heads = heads_of(given)
        require_grid(heads[0], label)
        channels = heads[0].shape[1]
        value = supervised(self._loss, heads, label, self._outputs)
        for own in own_losses_of(given):
            value = value + self._auxiliary_weight * own
        return Loss(value, foreign_label(label, self._outputs, channels=channels), channels)


def require_grid(logits: Tensor, label: Tensor) -> None:
    """Compare sizes.

    Raises:
        ConfigError: Logits on another grid than the label.
    """
    if logits.shape[2:] != label.shape[2:]:
        raise ConfigError(
            f"the network turned images of {list(label.shape[2:])} voxels into logits of {list(logits.shape[2:])}: "
            "choose a preprocessing size that its strides divide"
        )


@contextmanager
def as_settings(shape: Sequence[int], *, first: bool) -> Iterator[None]:
    """Tell of what a network does not take as a matter of settings.

    Args:
        shape: Of the images.
        first: Whether nothing has fitted yet: later errors are no matter of settings.

    Raises:
        ConfigError: Too little memory, or images that the network does not take.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ConfigError(
            f"a batch of {list(shape)} does not fit into the GPU's memory: lower data.batch_size, "
            "data.preprocessing.size or the network's channels"
        ) from error
    except (RuntimeError, ValueError) as error:
        if not first:
            raise
        raise ConfigError(f"the network does not take images of shape {list(shape)}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
