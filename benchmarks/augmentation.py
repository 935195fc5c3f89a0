"""Augmenting one 4×128³ sample with its label: milliseconds of MONAI's dictionary transforms and of the fused one.

    python benchmarks/augmentation.py [--size N] [--samples N] [--threads N] [--processes N] [--device cpu|cuda]

The named alternative is a list of MONAI's random dictionary transforms with the same steps and ranges, on the CPU. Both
augment in turn, so that what else the machine does meets both; `--processes 2` runs two such measurements at once, as
two loading workers would. Every value is a median, of usual probabilities a mean.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context
from typing import Any

import torch
from monai.transforms import (
    Compose,
    Rand3DElasticd,
    RandAdjustContrastd,
    RandBiasFieldd,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandRotated,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
    RandZoomd,
)

from brats_lightning.data.augmentation.artefacts import BiasField, Noise
from brats_lightning.data.augmentation.fused import FusedAugmentation
from brats_lightning.data.augmentation.intensity import Brightness, Contrast, Gamma, Shift
from brats_lightning.data.augmentation.sharpness import Blur, LowResolution
from brats_lightning.data.augmentation.spatial import Elastic, Rotation, Scaling
from brats_lightning.labels import IMAGE, LABEL, SEED
from brats_lightning.machine import keep_freed_memory

BOTH = [IMAGE, LABEL]
MODES: dict[str, Any] = {"mode": ["bilinear", "nearest"], "padding_mode": "zeros"}
Way = Callable[[torch.Tensor, torch.Tensor, int], object]


def monai(*, always: bool, more: bool) -> Way:
    """The list that `configs/unet3d.yaml` stands for, and more of what the field uses, at probability 1 or as usual."""

    def p(usual: float) -> float:
        return 1.0 if always else usual

    angles = {"range_x": 0.26, "range_y": 0.26, "range_z": 0.26}
    steps = [RandFlipd(BOTH, prob=p(0.5), spatial_axis=axis) for axis in range(3)]
    steps += [RandRotated(BOTH, prob=p(0.3), **angles, **MODES)]
    steps += [RandZoomd(BOTH, prob=p(0.2), min_zoom=0.8, max_zoom=1.25, mode=["trilinear", "nearest"])] if more else []
    steps += [Rand3DElasticd(BOTH, prob=p(0.15), sigma_range=(5, 8), magnitude_range=(50, 150), **MODES)]
    steps += [RandBiasFieldd(IMAGE, prob=p(0.15), coeff_range=(-0.1, 0.1))] if more else []
    steps += [
        RandScaleIntensityd(IMAGE, factors=0.1, prob=p(0.5)),
        RandShiftIntensityd(IMAGE, offsets=0.1, prob=p(0.5)),
    ]
    if more:
        sigma = (0.5, 1.0)
        steps += [
            RandScaleIntensityFixedMeand(IMAGE, factors=0.25, fixed_mean=True, prob=p(0.15)),
            RandGaussianSmoothd(IMAGE, sigma_x=sigma, sigma_y=sigma, sigma_z=sigma, prob=p(0.2)),
            RandSimulateLowResolutiond(IMAGE, prob=p(0.15), zoom_range=(0.5, 1.0)),
        ]
    steps += [
        RandGaussianNoised(IMAGE, prob=p(0.15), std=0.1),
        RandAdjustContrastd(IMAGE, prob=p(0.15), gamma=(0.7, 1.5)),
    ]
    transforms = Compose(steps)

    def augment(image: torch.Tensor, label: torch.Tensor, seed: int) -> object:
        transforms.set_random_state(seed)
        return transforms({IMAGE: image.clone(), LABEL: label.clone()})

    return augment


def fused(*, always: bool, more: bool, device: str) -> Way:
    """The same steps and ranges."""

    def p(usual: float) -> float:
        return 1.0 if always else usual

    flip = p(0.5)
    augmentation = FusedAugmentation(
        flips=(flip, flip, flip),
        rotation=Rotation(probability=p(0.3), radians=(0.26, 0.26, 0.26)),
        scaling=Scaling(probability=p(0.2), factors=(0.8, 1.25)) if more else None,
        elastic=Elastic(probability=p(0.15), magnitude=(0.2, 1.2), spacing=(9, 14)),
        bias_field=BiasField(probability=p(0.15)) if more else None,
        brightness=Brightness(probability=p(0.5), factors=(-0.1, 0.1)),
        shift=Shift(probability=p(0.5), offsets=(-0.1, 0.1)),
        contrast=Contrast(probability=p(0.15), factors=(-0.25, 0.25)) if more else None,
        blur=Blur(probability=p(0.2), sigma=(0.5, 1)) if more else None,
        low_resolution=LowResolution(probability=p(0.15), factors=(0.5, 1)) if more else None,
        noise=Noise(probability=p(0.15), deviation=0.1),
        gamma=Gamma(probability=p(0.15), exponents=(0.7, 1.5)),
    )

    def augment(image: torch.Tensor, label: torch.Tensor, seed: int) -> object:
        found = augmentation({IMAGE: image.to(device)[None], LABEL: label.to(device)[None], SEED: [seed]})
        if device != "cpu":
            torch.cuda.synchronize()
        return found

    return augment


def sample(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A ball of noise on zeros that fills its box, as a cropped brain does, and labels in its middle."""
    axis = torch.linspace(-1, 1, size)
    distance = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    image = torch.randn(4, size, size, size, generator=torch.Generator().manual_seed(0)) * (distance < 1)
    return image, (3 - (distance * 10).floor().clamp(0, 3)).to(torch.uint8)[None]


def measure(seed: int, *, always: bool, more: bool, options: argparse.Namespace) -> tuple[float, float]:
    """Milliseconds a sample: MONAI, fused."""
    keep_freed_memory()  # as the command line does, for both
    torch.set_num_threads(options.threads)
    ways = monai(always=always, more=more), fused(always=always, more=more, device=options.device)
    image, label = sample(options.size)
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(-1, options.samples if always else 4 * options.samples):
        for way, times in zip(ways, taken, strict=True):
            start = time.perf_counter()
            way(image, label, 1000 * seed + number + 1)
            if number >= 0:
                times.append(1000 * (time.perf_counter() - start))
    middle = statistics.median if always else statistics.mean
    return middle(taken[0]), middle(taken[1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--processes", type=int, default=1, help="measuring at once")
    parser.add_argument("--device", default="cpu", help="of the fused augmentation")
    options = parser.parse_args()
    packages = " ".join(f"{name} {version(name)}" for name in ("torch", "monai", "numpy"))
    print(f"4×{options.size}³ and label, float32; {options.processes} processes of {options.threads} threads")
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}; {options.device}\n"
    )
    print("| steps | MONAI, ms a sample | fused, ms a sample | MONAI ÷ fused |")
    print("|---|---|---|---|")
    for more, steps in ((False, "unet3d.yaml"), (True, "with zoom, bias field, contrast, blur, low resolution")):
        for always, which in ((True, "every step"), (False, "usual probabilities")):
            work = partial(measure, always=always, more=more, options=options)
            with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
                found = list(pool.map(work, range(options.processes)))
            theirs, ours = (statistics.mean(column) for column in zip(*found, strict=True))
            print(f"| {steps}: {which} | {theirs:.0f} | {ours:.0f} | {theirs / ours:.1f} |", flush=True)


if __name__ == "__main__":
    main()
