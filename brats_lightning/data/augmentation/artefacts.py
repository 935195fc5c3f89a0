"""Random artefacts of a scanner: noise, bias field, a missing modality."""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from brats_lightning.data.augmentation.step import Drawn, Intensity, is_number, onto
from brats_lightning.data.n4_splines import evaluate_spline


@dataclass(frozen=True, kw_only=True)
class Noise(Intensity):
    """v → v + normal noise, as MONAI's RandGaussianNoised.

    The noise is made on the image's device from a drawn seed: a seed gives the same noise on the same kind of device.

    Args:
        probability: With which a sample undergoes it.
        deviation: Largest standard deviation; it is drawn from 0 on.
    """

    deviation: float

    def __post_init__(self) -> None:
        super().__post_init__()
        good = is_number(self.deviation) and self.deviation >= 0
        self._require(good, "deviation", "a number from 0 on")

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:  # noqa: ARG002
        """Standard deviation, and the seed of the noise."""
        return np.array([generator.uniform(0, self.deviation), generator.integers(2**32)], np.float64)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Add."""
        generator = torch.Generator(image.device).manual_seed(int(drawn[1]))
        noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
        return image.add_(noise, alpha=float(drawn[0]))


@dataclass(frozen=True, kw_only=True)
class BiasField(Intensity):
    """v → v · exp(smooth field), the field a sum of products of Legendre polynomials, as MONAI's RandBiasFieldd.

    Van Leemput et al., Automated Model-Based Tissue Classification of MR Images of the Brain, IEEE TMI 18 (1999),
    doi:10.1109/42.811270.

    Args:
        probability: With which a sample undergoes it.
        coefficients: Smallest and largest of each product's coefficient; MONAI's default is 0 to 0.1.
        degree: Largest sum of the polynomials' degrees.
        per_channel: A field for each channel.
    """

    coefficients: tuple[float, float] = (-0.1, 0.1)
    degree: int = 3
    per_channel: bool = False
    moves_zero: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require_range("coefficients")
        whole = isinstance(self.degree, int) and not isinstance(self.degree, bool)
        self._require(whole and self.degree >= 1, "degree", "a whole number from 1 on")

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:
        """Coefficients, (1 or C, number of products) in MONAI's order: the last axis's degree runs fastest."""
        products = (self.degree + 1) * (self.degree + 2) * (self.degree + 3) // 6
        return generator.uniform(*self.coefficients, (channels if self.per_channel else 1, products))

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Multiply by the field."""
        length = self.degree + 1
        degrees = [index for index in np.ndindex(length, length, length) if sum(index) <= self.degree]
        lattice = np.zeros((len(drawn), length, length, length))
        lattice[(slice(None), *np.transpose(degrees))] = drawn
        x, y, z = (onto(_legendre(size, self.degree), image.device) for size in image.shape[1:])
        return image.mul_(evaluate_spline(onto(lattice, image.device), (x, y, z)).exp_())


@dataclass(frozen=True, kw_only=True)
class ModalityDropout(Intensity):
    """Some channels become 0, the brain's mean and the background in a z-scored image; one at least stays.

    Args:
        probability: With which a sample undergoes it.
        most: Largest number of channels.
    """

    most: int = 1
    moves_zero: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        whole = isinstance(self.most, int) and not isinstance(self.most, bool)
        self._require(whole and self.most >= 1, "most", "a whole number from 1 on")

    def draw(self, generator: np.random.Generator, channels: int) -> Drawn:
        """The channels' numbers."""
        most = min(self.most, channels - 1)
        dropped = generator.permutation(channels)[: generator.integers(1, most + 1)] if most else ()
        return np.array(dropped, np.float64)

    def apply(self, image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
        """Empty them."""
        for channel in drawn:
            image[int(channel)].zero_()
        return image


@cache
def _legendre(size: int, degree: int) -> npt.NDArray[np.float64]:
    """(size, degree + 1) polynomials from the first voxel's centre (-1) to the last one's (1).

    Of an axis of one voxel the constant alone: the field of a slice is that of a picture.
    """
    if size == 1:
        return np.eye(1, degree + 1)
    return np.asarray(np.polynomial.legendre.legvander(np.linspace(-1, 1, size), degree), np.float64)
