"""What a step of post-processing is, and how it checks its settings."""

import math
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import torch

from brats_lightning.errors import ConfigError

Labels = npt.NDArray[np.uint8]
BACKGROUND = "background"


class Step:
    """One step of post-processing, with nothing but plain values in its fields."""

    @property
    def named(self) -> tuple[str, ...]:
        """Regions and labels that its settings name: those that the network must know."""
        return ()

    def require_whole(self) -> None:
        """Refuse settings that speak of parts of the tumour, for a network that tells no tissues apart.

        Raises:
            ConfigError: Names such a part.
        """
        if parts := [name for name in self.named if name not in {"WT", BACKGROUND}]:
            raise ConfigError(
                f"{type(self).__name__}: the network tells tumour from all else and knows no {', '.join(parts)}: "
                "expected steps for WT alone"
            )

    def _require(self, condition: bool, field: str, expected: str) -> None:
        """Raises ConfigError that names the field and what was found in it."""
        if not condition:
            raise ConfigError(f"{type(self).__name__}: {field} is {getattr(self, field)!r}: expected {expected}")

    def _require_one_of(self, field: str, allowed: Collection[str]) -> None:
        value = getattr(self, field)
        self._require(isinstance(value, str) and value in allowed, field, f"one of {', '.join(allowed)}")


class Decision(Step):
    """The first step: which label each voxel has."""

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Decide on the device where the probabilities are.

        Args:
            probabilities: (K, X, Y, Z) float; see `model.outputs.channel_labels` for the channels.

        Returns:
            (X, Y, Z) uint8 labels.
        """
        raise NotImplementedError


class LabelStep(Step):
    """A later step: from labels to labels. Beyond the array everything counts as background."""

    def __call__(self, labels: Labels, *, spacing_mm: Sequence[float]) -> Labels:
        """Give changed labels; those given stay as they are.

        Args:
            labels: (X, Y, Z) labels as inside the program.
            spacing_mm: Distance between neighbouring voxels along each axis.
        """
        raise NotImplementedError


def is_whole(value: object) -> bool:
    """Whether it is a whole number above 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_positive(value: object) -> bool:
    """Whether it is a finite number above 0."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
