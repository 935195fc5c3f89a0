"""Random sharpness: Gaussian blur and simulated low resolution."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from brats_lightning.data.augmentation.step import Drawn, Intensity

_TRUNCATED = 4.0
"""Standard deviations after which the kernel ends, as in MONAI's GaussianSmooth."""


@dataclass(frozen=True, kw_only=True)
class Blur(Intensity):
    """Gaussian blur, as MONAI's RandGaussianSmoothd: the kernel holds a Gaussian's share of each voxel.

    Args:
        probability: With which a sample undergoes it.
        sigma: Smallest and largest standard deviation in voxels; each axis draws its own, which an axis of one voxel
            does not use.
    """

    sigma: tuple[float, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("sigma", above=0)

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:  # noqa: ARG002
        """The three standard deviations."""
        return generator.uniform(*self.sigma, 3)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Sum shifted copies along each axis: faster than a convolution of so few channels on a CPU, and exact."""
        for axis, sigma in enumerate(drawn, start=1):
            if image.shape[axis] == 1:
                continue  # zeros beside a slice would darken it
            centre, *others = _kernel(float(sigma))
            blurred = image * centre
            for distance, weight in enumerate(others[: image.shape[axis] - 1], start=1):
                length = image.shape[axis] - distance
                blurred.narrow(axis, distance, length).add_(image.narrow(axis, 0, length), alpha=weight)
                blurred.narrow(axis, 0, length).add_(image.narrow(axis, distance, length), alpha=weight)
            image = blurred
        return image


@dataclass(frozen=True, kw_only=True)
class LowResolution(Intensity):
    """Nearest voxels of a coarser grid, linearly interpolated back, as MONAI's RandSimulateLowResolutiond.

    Args:
        probability: With which a sample undergoes it.
        factors: Smallest and largest size of the coarser grid, as a share of the image's.
    """

    factors: tuple[float, float]

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("factors", above=0)
        self._require(self.factors[1] <= 1, "factors", "numbers up to 1")

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:  # noqa: ARG002
        """The share."""
        return generator.uniform(*self.factors, 1)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Sample down and up."""
        size = image.shape[1:]
        coarse = [max(1, round(length * float(drawn[0]))) for length in size]
        return interpolate(interpolate(image[None], size=coarse), size=size, mode="trilinear")[0]


def _kernel(sigma: float) -> list[float]:
    """Weights from the centre outwards, not rescaled to a sum of 1: what lies beyond four deviations is lost."""
    reach = math.ceil(max(0.5, int(sigma * _TRUNCATED + 0.5)))
    scale = math.sqrt(0.5) / sigma
    return [(math.erf(scale * (at + 0.5)) - math.erf(scale * (at - 0.5))) / 2 for at in range(reach + 1)]
