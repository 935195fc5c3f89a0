"""Which images a network takes: the sizes it was trained on, and those that its strides divide."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from brats_lightning.errors import ConfigError
from brats_lightning.model.supervision import heads_of
from brats_lightning.model.weights import without_values

Size = tuple[int, int, int]
WINDOW: Size = (128, 128, 128)
"""For networks of which nobody knows the patches that they were trained on."""
_DIVISORS = (1, 2, 4, 8, 16, 32, 64, 3, 6, 12, 24, 48)


@dataclass(frozen=True)
class Intake:
    """Which images a network takes.

    Args:
        trained: Voxels along each axis of the images it was trained on; None where they differed or nobody knows.
        whole: Whether those were whole volumes rather than patches.
        divisor: Every axis must be a multiple of it; None for a network that takes images of `trained` alone.
    """

    trained: Size | None
    whole: bool = True
    divisor: int | None = 1

    @property
    def of_slices(self) -> bool:
        """Whether it is known to have been trained on slices, (U, V, 1) whichever plane they lay in."""
        return self.trained is not None and self.trained[2] == 1

    def size_for(self, volume: Size) -> Size | None:
        """The smallest size that holds a volume and that the network takes; None where it takes one size alone.

        Example:
            >>> Intake(trained=(128, 128, 128), divisor=16).size_for((130, 128, 10))
            (144, 128, 16)
        """
        if self.divisor is None:
            return volume if volume == self.trained else None
        x, y, z = (-(-voxels // self.divisor) * self.divisor for voxels in volume)
        return x, y, z

    def window(self, wanted: Size | None = None) -> Size:
        """The window that is wanted, rounded up to what the network takes; without a wish as it was trained.

        Raises:
            ConfigError: A network that takes windows of another size alone.
        """
        window = wanted or self.trained or WINDOW
        fitting = self.size_for(window)
        if fitting is None and self.trained is not None:
            raise ConfigError(
                f"the network takes images of {in_words(self.trained)} voxels alone, --window asks for "
                f"{in_words(window)}: leave --window away"
            )
        return fitting or window


def in_words(size: Sequence[int]) -> str:
    """A size as people write it.

    Example:
        >>> in_words((128, 128, 96))
        '128 × 128 × 96'
    """
    return " × ".join(str(voxels) for voxels in size)


def probe_divisor(network: nn.Module, *, channels: int) -> int | None:
    """The number that every axis of a network's images must be a multiple of.

    Powers of two up to 64, and after them three times those, are tried with images of 3, 5 and 7 times as many voxels,
    so that no axis fits by accident. Only shapes are worked out, no voxel is.

    Args:
        network: From images (B, C, X, Y, Z) to logits (B, K, X, Y, Z); left as it is.
        channels: C.

    Returns:
        None where nothing fits: a network that takes only the size it was built for.

    Example:
        >>> probe_divisor(nn.Conv3d(4, 2, kernel_size=3, padding=1), channels=4)
        1
    """
    shapes_only = without_values(network).eval()
    return next((divisor for divisor in _DIVISORS if _takes(shapes_only, divisor, channels=channels)), None)


@torch.no_grad()
def _takes(network: nn.Module, divisor: int, *, channels: int) -> bool:
    image = torch.empty(1, channels, 3 * divisor, 5 * divisor, 7 * divisor, device="meta")
    try:
        logits = heads_of(network(image))[0]
    except Exception:  # noqa: BLE001 - whatever a network raises, it does not take this size
        return False
    return logits.shape[2:] == image.shape[2:]
