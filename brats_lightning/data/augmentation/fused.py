"""`FusedAugmentation`: the augmentation of a whole batch on its own device, in one resampling."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch

from brats_lightning.data.augmentation.artefacts import BiasField, ModalityDropout, Noise
from brats_lightning.data.augmentation.intensity import Brightness, Contrast, Gamma, Saturation, Shift
from brats_lightning.data.augmentation.sharpness import Blur, LowResolution
from brats_lightning.data.augmentation.spatial import Elastic, Rotation, Scaling, Size, Spatial, Warp
from brats_lightning.data.augmentation.step import Drawn, Intensity
from brats_lightning.data.augmentation.warp import LabelInterpolation, make_grid, warp_image, warp_label
from brats_lightning.errors import ConfigError
from brats_lightning.labels import IMAGE, LABEL, SEED

Background = Literal["keep", "augment"]


@dataclass(frozen=True, eq=False)
class SampleDraw:
    """What was drawn for one sample.

    Args:
        warp: Its geometry.
        intensities: Of each intensity step of the augmentation in its order; None where the sample is spared.
    """

    warp: Warp
    intensities: tuple[Drawn | None, ...]


@dataclass(frozen=True, eq=False)
class Draws:
    """What was drawn for a batch; applied again to the same batch it gives the same result.

    Args:
        samples: One draw a sample.
        size: Voxels of what comes out.
    """

    samples: tuple[SampleDraw, ...]
    size: Size


class FusedAugmentation:
    """Augments a training batch: flips, rotation, scale and elastic displacement in one resampling, then intensities.

    Drawing happens on the host, from one generator a sample, which has the sample's seed: neither its place in the
    batch nor its neighbours matter. Applying happens on the batch's device in float32; the host knows from the
    draws what is to be done and never waits for the device. A sample for which flips alone were drawn is not resampled.

    A slice, (B, C, X, Y, 1) or with one voxel along another axis, is augmented within its plane.

    The steps are applied in the order of the arguments below; one that is left out (null) does nothing. With the ranges
    of MONAI's dictionary transforms of the same names they mean the same, `elastic` apart.

    Args:
        size: Voxels that come out: the middle of a larger input, a smaller one padded with 0. Null keeps the input's.
        flips: Probability of turning each axis round.
        rotation: About the centre.
        scaling: Magnification.
        elastic: Smooth displacement.
        labels: Interpolation of labels: `nearest`, or `soft`, the largest interpolated share of a label.
        bias_field: Smooth multiplicative field.
        brightness: Multiplication.
        shift: Addition.
        contrast: Stretching around the mean.
        saturation: Stretching around the mean of a voxel's modalities.
        blur: Gaussian blur.
        low_resolution: Coarser sampling.
        noise: Normal noise.
        gamma: Power between minimum and maximum.
        modality_dropout: Channels set to 0.
        background: `keep` sets each voxel that was 0 before the intensity steps back to 0 after them, as it will be at
            prediction; `augment` lets them change it, as MONAI's transforms do.

    Raises:
        ConfigError: A value it cannot work with.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int, int] | None = None,
        flips: tuple[float, float, float] = (0.0, 0.0, 0.0),
        rotation: Rotation | None = None,
        scaling: Scaling | None = None,
        elastic: Elastic | None = None,
        labels: LabelInterpolation = "nearest",
        bias_field: BiasField | None = None,
        brightness: Brightness | None = None,
        shift: Shift | None = None,
        contrast: Contrast | None = None,
        saturation: Saturation | None = None,
        blur: Blur | None = None,
        low_resolution: LowResolution | None = None,
        noise: Noise | None = None,
        gamma: Gamma | None = None,
        modality_dropout: ModalityDropout | None = None,
        background: Background = "keep",
    ) -> None:
        self._arguments = {name: value for name, value in locals().items() if name != "self"}
        if size is not None and (len(size) != 3 or min(size) < 1):
            raise ConfigError(f"size is {size!r}: expected three numbers of voxels, or null")
        for name, value, allowed in (("labels", labels, LabelInterpolation), ("background", background, Background)):
            if value not in get_args(allowed):
                raise ConfigError(f"{name} is {value!r}: expected one of {', '.join(get_args(allowed))}")
        self.size = None if size is None else (size[0], size[1], size[2])
        self.spatial = Spatial(flips, rotation, scaling, elastic)
        self.labels: LabelInterpolation = labels
        steps: tuple[Intensity | None, ...] = (
            bias_field, brightness, shift, contrast, saturation, blur, low_resolution, noise, gamma, modality_dropout,
        )  # fmt: skip
        self.intensities = tuple(step for step in steps if step is not None)
        self.background: Background = background

    @property
    def settings(self) -> dict[str, Any]:
        """Class path and arguments as plain data, as a YAML file holds them."""
        plain = {
            name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
            for name, value in self._arguments.items()
            if value is not None
        }
        return {"class_path": f"{type(self).__module__}.{type(self).__qualname__}", "init_args": plain}

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A new batch with image and label augmented, and all else as it is.

        Args:
            batch: `image` (B, C, X, Y, Z) float, `seed`, a list of B 32-bit integers, and perhaps `label`
                (B, 1, X, Y, Z) uint8.

        Raises:
            ConfigError: A batch without seeds.
        """
        if SEED not in batch:
            raise ConfigError("the batch has no seeds: FusedAugmentation augments training batches of BratsDataModule")
        image, label = batch[IMAGE], batch.get(LABEL)
        draws = self.draw(batch[SEED], channels=image.shape[1], source=tuple(image.shape[2:]))
        image, label = self.apply(image, label, draws)
        return {**batch, IMAGE: image} if label is None else {**batch, IMAGE: image, LABEL: label}

    def draw(self, seeds: Sequence[int], *, channels: int, source: Size) -> Draws:
        """Draw for a batch.

        Args:
            seeds: 32-bit integers, one a sample.
            channels: Of the images.
            source: Voxels of the images.

        Raises:
            ConfigError: A rotation that would turn slices out of their plane.
        """
        size = self.size or source
        return Draws(tuple(self._draw(np.random.default_rng(seed), channels, size, source) for seed in seeds), size)

    def _draw(self, generator: np.random.Generator, channels: int, size: Size, source: Size) -> SampleDraw:
        warp = self.spatial.draw(generator, size, source=source)
        drawn = (step.draw(generator, channels) if step.happens(generator) else None for step in self.intensities)
        return SampleDraw(warp, tuple(drawn))

    def apply(
        self, image: torch.Tensor, label: torch.Tensor | None, draws: Draws
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Do what was drawn; what is given stays as it is.

        Args:
            image: (B, C, X, Y, Z) float.
            label: (B, 1, X, Y, Z) uint8.
            draws: One a sample.

        Returns:
            Image (B, C, *size) float32 and label (B, 1, *size) of the label's type.
        """
        if len(draws.samples) != len(image):
            raise ValueError(f"{len(draws.samples)} draws for a batch of {len(image)} samples")
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            pairs = list(self._each(image, label, draws))
        images = _stack([image for image, _ in pairs])
        return images, None if label is None else _stack([label for _, label in pairs if label is not None])

    def _each(
        self, image: torch.Tensor, label: torch.Tensor | None, draws: Draws
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        # Sample by sample, each a few million voxels: a step costs those alone that it was drawn for, and sums
        # over a sample do not depend on how many others there are.
        size, (x, y, z) = draws.size, image.shape[2:]
        for index, sample in enumerate(draws.samples):
            warp = sample.warp
            grid = make_grid(warp, source=(x, y, z), size=size, device=image.device) if warp.resamples else None
            warped = None
            if label is not None:
                warped = warp_label(label[index], warp, size=size, grid=grid, interpolation=self.labels)
            yield self._intensities(warp_image(image[index], warp, size=size, grid=grid), sample), warped

    def _intensities(self, image: torch.Tensor, sample: SampleDraw) -> torch.Tensor:
        pairs = list(zip(self.intensities, sample.intensities, strict=True))
        keep = self.background == "keep" and any(step.moves_zero for step, drawn in pairs if drawn is not None)
        inside = image.clone().ne_(0) if keep else None  # as numbers: booleans multiply slower
        for step, drawn in pairs:
            if drawn is not None:
                image = step.apply(image, drawn)
        return image if inside is None else image.mul_(inside)


def _stack(samples: list[torch.Tensor]) -> torch.Tensor:
    return samples[0][None] if len(samples) == 1 else torch.stack(samples)
