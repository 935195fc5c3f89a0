"""Memory that runs out, on a GPU or in the machine, and how to do with less."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from brats_lightning.errors import ConfigError
from brats_lightning.inference.predictor.intake import Size, in_words

CPU = torch.device("cpu")
_SAYINGS = ("out of memory", "allocate memory", "not enough memory", "alloc_failed", "failed to allocate")
logger = logging.getLogger(__name__)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that there was no memory left.

    PyTorch has a type of its own for that on GPUs only; its CPU allocator, cuDNN and ONNX Runtime say it in words.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(saying in str(error).lower() for saying in _SAYINGS)


def unless_out_of_memory(compute: Callable[[], Tensor]) -> Tensor | None:
    """What `compute` returns, or None after giving back what it had taken when memory ran out."""
    try:
        return compute()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Not above: there the error's traceback would still hold the tensors.
    torch.cuda.empty_cache()
    return None


@dataclass
class Room:
    """What one network turned out to have memory for; learnt once, kept for the following cases.

    Args:
        device: Where the network runs.
        batch: Windows at once.
        sums: Where windows are added up.
        whole: A volume given whole must have fewer voxels than this.
    """

    device: torch.device
    batch: int
    sums: torch.device
    whole: float = math.inf

    def without_whole(self, size: Size) -> None:
        """Give up volumes of `size` voxels in one pass."""
        self.whole = math.prod(size)
        logger.warning(
            "a volume of %s voxels does not fit into the memory of %s in one pass: such ones are predicted in windows",
            in_words(size),
            self.device,
        )

    def with_less(self, window: Size) -> None:
        """Give fewer windows at once, then add them up in the machine's memory instead of the GPU's.

        Raises:
            ConfigError: Nothing is left to give up.
        """
        if self.batch > 1:
            self.batch //= 2
            logger.warning("memory of %s ran out: %d windows at once from now on", self.device, self.batch)
        elif self.sums.type != "cpu":
            self.sums = CPU
            logger.warning("memory of %s ran out: windows are added up on the CPU from now on", self.device)
        else:
            raise ConfigError(
                f"a window of {in_words(window)} voxels does not fit into the memory of {self.device}: choose a "
                "smaller --window, --precision bf16 or another --device"
            )
