"""What one step of an augmentation is: a probability, ranges to draw from, and how both are checked."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from brats_lightning.errors import ConfigError

Drawn = npt.NDArray[np.float64]
"""What a step has drawn for one sample."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One random step with nothing but plain values in its fields.

    Args:
        probability: With which a sample undergoes it.

    Raises:
        ConfigError: A value it cannot work with.
    """

    probability: float

    def __post_init__(self) -> None:
        self._require(is_share(self.probability), "probability", "a number from 0 to 1")

    def happens(self, generator: np.random.Generator) -> bool:
        """Whether this sample undergoes it."""
        return bool(generator.random() < self.probability)

    def _require(self, condition: bool, field: str, expected: str) -> None:
        """Raises ConfigError that names the field and what was found in it."""
        if not condition:
            raise ConfigError(f"{type(self).__name__}: {field} is {getattr(self, field)!r}: expected {expected}")

    def _require_range(self, field: str, *, above: float = -math.inf, least: float = -math.inf) -> None:
        expected = "two numbers, the smaller first"
        if above > -math.inf:
            expected += f", above {above:g}"
        if least > -math.inf:
            expected += f", from {least:g} on"
        value = getattr(self, field)
        self._require(are_numbers(value, 2) and value[0] <= value[1], field, expected)
        self._require(value[0] > above and value[0] >= least, field, expected)


@dataclass(frozen=True, kw_only=True)
class Intensity(Step):
    """A step that changes an image's values and not its places."""

    moves_zero: ClassVar[bool] = True
    """Whether a voxel of 0 may become another value."""

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:
        """Values for a sample of so many channels."""
        raise NotImplementedError

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Change a (C, X, Y, Z) float32 image, which may be overwritten."""
        raise NotImplementedError


def are_numbers(value: object, count: int) -> bool:
    """Whether these are so many finite numbers."""
    return isinstance(value, tuple | list) and len(value) == count and all(is_number(number) for number in value)


def is_number(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_share(value: Any) -> bool:
    """Whether it is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1


def onto(values: npt.NDArray[np.float64], device: torch.device) -> torch.Tensor:
    """Small float32 copy on the device; the host does not wait for it."""
    tensor = torch.from_numpy(values.astype(np.float32))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
