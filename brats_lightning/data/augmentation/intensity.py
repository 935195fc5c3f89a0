"""Random intensities, value by value: brightness, shift, contrast, saturation, gamma.

Each draws one number a sample, or with `per_channel` one a channel.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from brats_lightning.data.augmentation.step import Drawn, Intensity, onto


@dataclass(frozen=True, kw_only=True)
class Brightness(Intensity):
    """v → v · (1 + factor), as MONAI's RandScaleIntensityd.

    Args:
        probability: With which a sample undergoes it.
        factors: Smallest and largest.
        per_channel: A factor for each channel.
    """

    factors: tuple[float, float]
    per_channel: bool = False
    moves_zero: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("factors", above=-1)

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:
        """The factors."""
        return generator.uniform(*self.factors, channels if self.per_channel else 1)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Multiply."""
        return image.mul_(_a_channel(1 + drawn, image))


@dataclass(frozen=True, kw_only=True)
class Shift(Intensity):
    """v → v + offset, as MONAI's RandShiftIntensityd.

    Args:
        probability: With which a sample undergoes it.
        offsets: Smallest and largest, in units of the normalised image.
        per_channel: An offset for each channel.
    """

    offsets: tuple[float, float]
    per_channel: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("offsets")

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:
        """The offsets."""
        return generator.uniform(*self.offsets, channels if self.per_channel else 1)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Add."""
        return image.add_(_a_channel(drawn, image))


@dataclass(frozen=True, kw_only=True)
class Contrast(Intensity):
    """v → (v − mean) · (1 + factor) + mean, as MONAI's RandScaleIntensityFixedMeand.

    Args:
        probability: With which a sample undergoes it.
        factors: Smallest and largest.
        per_channel: A factor for each channel, around the channel's own mean.
    """

    factors: tuple[float, float]
    per_channel: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("factors", above=-1)

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:
        """The factors."""
        return generator.uniform(*self.factors, channels if self.per_channel else 1)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Stretch around the mean."""
        rows = image.view(len(drawn), -1)
        mean = rows.mean(dim=1, keepdim=True)
        factor = _a_row(1 + drawn, rows)
        rows.mul_(factor).add_(mean * (1 - factor))
        return image


@dataclass(frozen=True, kw_only=True)
class Saturation(Intensity):
    """v → mean + (1 + factor) · (v − mean) around the mean of a voxel's channels: contrast between modalities.

    What the saturation of colours is, each modality for a colour: -1 makes them equal, and what they agree on stays. A
    hue has no meaning here, as modalities do not lie on a circle.

    Args:
        probability: With which a sample undergoes it.
        factors: Smallest and largest.
    """

    factors: tuple[float, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("factors", least=-1)

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:  # noqa: ARG002
        """The factor."""
        return generator.uniform(*self.factors, 1)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Stretch around the mean of the channels."""
        factor = float(1 + drawn[0])
        common = image.mean(dim=0).mul_(1 - factor)
        return image.mul_(factor).add_(common)


@dataclass(frozen=True, kw_only=True)
class Gamma(Intensity):
    """v → ((v − min) / (max − min))^gamma · (max − min) + min, as MONAI's RandAdjustContrastd.

    Args:
        probability: With which a sample undergoes it.
        exponents: Smallest and largest; below 1 dark parts become brighter.
        per_channel: An exponent for each channel, between the channel's own minimum and maximum.
        retain_stats: Restore mean and deviation afterwards. Without it a z-scored brain moves away from its mean of 0,
            which a background kept at 0 does not follow.
    """

    exponents: tuple[float, float]
    per_channel: bool = False
    retain_stats: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("exponents", above=0)

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:
        """The exponents."""
        return generator.uniform(*self.exponents, channels if self.per_channel else 1)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Raise to the power."""
        rows = image.view(len(drawn), -1)
        low = rows.amin(dim=1, keepdim=True)
        span = rows.amax(dim=1, keepdim=True) - low
        deviation, mean = torch.std_mean(rows, dim=1, keepdim=True) if self.retain_stats else (None, None)
        rows.sub_(low).div_(span + 1e-7).pow_(_a_row(drawn, rows)).mul_(span).add_(low)
        if deviation is not None and mean is not None:
            new_deviation, new_mean = torch.std_mean(rows, dim=1, keepdim=True)
            rows.sub_(new_mean).mul_(deviation / (new_deviation + 1e-8)).add_(mean)
        return image


def _a_channel(values: Drawn, image: torch.Tensor) -> torch.Tensor | float:
    """One number for the image, which goes with the kernel, or (C, 1, 1, 1) numbers on its device."""
    return float(values[0]) if len(values) == 1 else onto(values, image.device)[:, None, None, None]


def _a_row(values: Drawn, rows: torch.Tensor) -> torch.Tensor | float:
    return float(values[0]) if len(values) == 1 else onto(values, rows.device)[:, None]
