"""Noise reduction, each modality by itself: non-local means, curvature flow or a median, inside the brain.

Curvature flow is that of ITK: Malladi and Sethian, PNAS 92 (1995), doi:10.1073/pnas.92.15.7046.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_dst_type
from scipy import ndimage

from brats_lightning.data.bias_field import torch_threads
from brats_lightning.data.nonlocal_means import noise_level, nonlocal_means
from brats_lightning.data.transforms import BRAIN
from brats_lightning.errors import ConfigError
from brats_lightning.labels import IMAGE

Method = Literal["nonlocal_means", "curvature_flow", "median"]
USED: Mapping[str, tuple[str, ...]] = {
    "nonlocal_means": ("strength", "search"),
    "curvature_flow": ("iterations",),
    "median": ("radius",),
}
"""Settings that each method has."""
TIME_STEP = 0.0625
"""Of curvature flow: the largest that is stable in three dimensions."""


@dataclass(frozen=True, kw_only=True)
class Denoising:
    """Options of noise reduction.

    Args:
        method: `nonlocal_means` averages places whose surroundings look alike: on phantoms it was the only one to come
            nearer to the image without noise at every noise level, and the best. `curvature_flow` and `median`
            smooth whatever is small, cortex and all.
        strength: Of non-local means: variance that surroundings may differ by, in units of the image's own noise.
        search: Of non-local means: how many voxels away along each axis a place may be.
        iterations: Of curvature flow.
        radius: Of the median's window, in voxels.

    Raises:
        ConfigError: A value that no method can work with.
    """

    method: Method = "nonlocal_means"
    strength: float = 1.0
    search: int = 1
    iterations: int = 5
    radius: int = 1

    def __post_init__(self) -> None:
        expected = {
            f"method: one of {', '.join(get_args(Method))}": self.method in get_args(Method),
            "strength: a number above 0": 0 < self.strength < math.inf,
            "search: a number from 1 to 7": 1 <= self.search <= 7,
            "iterations: a number from 1": self.iterations >= 1,
            "radius: a number from 1 to 7": 1 <= self.radius <= 7,
        }
        for sentence, holds in expected.items():
            if not holds:
                name, rule = sentence.split(": ")
                raise ConfigError(f"denoise's {name} is {getattr(self, name)}: expected {rule}")

    @property
    def used(self) -> dict[str, Any]:
        """The settings that the result depends on."""
        return {name: getattr(self, name) for name in ("method", *USED[self.method])}


class Denoised(MapTransform):
    """Reduce the noise of a sample's image, each channel by itself.

    Args:
        keys: Of (C, X, Y, Z) images; slices (C, X, Y, 1) are filtered in their plane. Metadata stay; the type becomes
            float32.
        mask_key: Of the (1, X, Y, Z) mask, not 0 inside the brain; nothing outside changes, or changes the inside.
        options: How, none given: the defaults of `Denoising`.
        allow_missing_keys: Whether a sample may lack one of the keys.
    """

    def __init__(
        self,
        keys: str | Sequence[str] = IMAGE,
        *,
        mask_key: str = BRAIN,
        options: Denoising | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mask_key = mask_key
        self.options = options or Denoising()

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of the sample with denoised images."""
        sample = dict(data)
        brain = _plain(sample[self.mask_key])[0] != 0
        for key in self.key_iterator(sample):
            denoised = denoise(_plain(sample[key]), brain, self.options)
            sample[key], *_ = convert_to_dst_type(denoised, sample[key], dtype=torch.float32)
        return sample


def _plain(array: Any) -> torch.Tensor:
    """A tensor without metadata, which would slow each of many steps down."""
    return array.as_tensor() if isinstance(array, MetaTensor) else torch.as_tensor(array)


@torch.no_grad()
def denoise(image: torch.Tensor, brain: torch.Tensor, options: Denoising) -> torch.Tensor:
    """Reduce the noise of each channel (C, X, Y, Z) inside the mask (X, Y, Z), as float32; outside nothing changes.

    Voxels of 0 inside the brain, where a modality has no signal, count as outside. A channel without noise stays.
    """
    denoised = image.to(torch.float32, copy=True)
    with torch_threads(1):  # a worker of several has one core; threads in a forked process may hang
        for channel in denoised:
            inside = brain & (channel != 0)
            if not inside.any():
                continue
            box = _around(inside)
            values, counts = channel[box].contiguous(), inside[box].contiguous()
            values = _continued(values, counts)
            channel[box] = torch.where(counts, _filtered(values, counts, options), channel[box])
    return denoised


def _filtered(values: torch.Tensor, inside: torch.Tensor, options: Denoising) -> torch.Tensor:
    if options.method == "median":
        return _median(values, radius=options.radius)
    if options.method == "curvature_flow":
        return _curvature_flow(values, iterations=options.iterations)
    noise = noise_level(values, inside)
    return nonlocal_means(values, inside, noise=noise, strength=options.strength, search=options.search)


def _around(inside: torch.Tensor) -> tuple[slice, slice, slice]:
    """Bounding box of a mask and one voxel more, which surroundings reach to."""
    x, y, z = (slice(max(0, int(at.min()) - 1), int(at.max()) + 2) for at in torch.nonzero(inside, as_tuple=True))
    return x, y, z


def _continued(values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Values with those outside replaced by the nearest inside: a background of 0 would darken the brain's edge."""
    nearest = ndimage.distance_transform_edt(~inside.numpy(), return_distances=False, return_indices=True)
    return values[tuple(torch.from_numpy(index).long() for index in nearest)]


def _median(values: torch.Tensor, *, radius: int) -> torch.Tensor:
    return torch.from_numpy(ndimage.median_filter(values.numpy(), 2 * radius + 1, mode="nearest"))


def _curvature_flow(values: torch.Tensor, *, iterations: int) -> torch.Tensor:
    """Each level set moves towards its centre of curvature, the faster the more it is curved."""
    # ITK's compiled modules warn of deprecation while they load, and crash Python where warnings are errors.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        import itk  # noqa: PLC0415  # slow to load

        # IF3IF3: from and to volumes of floats. `itk.CurvatureFlowImageFilter[...]` is the same, and slow to load.
        from itk.itkCurvatureFlowImageFilterPython import (  # noqa: PLC0415
            itkCurvatureFlowImageFilterIF3IF3 as CurvatureFlow,
        )

        threads = itk.MultiThreaderBase.GetGlobalDefaultNumberOfThreads()
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(1)  # see `n4_itk`
        try:
            flow = CurvatureFlow.New()
            flow.SetNumberOfIterations(iterations)
            flow.SetTimeStep(TIME_STEP)
            flow.SetInput(itk.image_from_array(np.ascontiguousarray(values.numpy().T)))
            flow.Update()
            return torch.from_numpy(itk.array_from_image(flow.GetOutput()).T.copy())
        finally:
            itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
