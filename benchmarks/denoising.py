"""Noise reduction on phantoms: how near to the image without noise, how much of edges is kept, seconds a modality.

    python benchmarks/denoising.py [--cases N] [--noise 0.03]

Each phantom of full size is made twice from one seed, with noise and without. Figures are means over modalities and
cases: the error inside the brain, and within a voxel of the tumour's borders, each as a part of what it was; the
gradient across these borders as a part of that without noise, where it is steepest. One thread.
"""

import argparse
import os
import platform
import time
from importlib.metadata import version

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from brats_lightning.data.denoising import Denoising, denoise
from brats_lightning.labels import MODALITIES
from brats_lightning.phantom.scanner import make_phantom

WAYS = {
    "nothing": None,
    "nonlocal_means": Denoising(),
    "nonlocal_means, strength 0.5": Denoising(strength=0.5),
    "nonlocal_means, strength 2": Denoising(strength=2),
    "nonlocal_means, search 2": Denoising(search=2),
    "curvature_flow, 2 iterations": Denoising(method="curvature_flow", iterations=2),
    "curvature_flow, 5 iterations": Denoising(method="curvature_flow"),
    "median, radius 1": Denoising(method="median"),
}
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def borders(label: npt.NDArray[np.uint8], brain: Mask) -> Mask:
    """Voxels beside a border of the whole tumour or of its core, none of them at the brain's edge."""
    found = np.zeros(label.shape, bool)
    for inside in (label > 0, np.isin(label, (1, 3))):
        found |= ndimage.binary_dilation(inside) ^ ndimage.binary_erosion(inside)
    beside: Mask = found & ndimage.binary_erosion(brain, iterations=2)
    return beside


def kept(image: Floats, clean: Floats, beside: Mask) -> float:
    """Gradient along that of the clean image, over the steeper half of the border."""
    slopes = np.array(np.gradient(clean))[:, beside]
    found = np.array(np.gradient(image))[:, beside]
    steepness = np.linalg.norm(slopes, axis=0)
    steep = steepness > np.median(steepness)
    return float((slopes * found).sum(axis=0)[steep].sum() / (steepness[steep] ** 2).sum())


def measure(noise: float, cases: int) -> dict[str, list[tuple[float, ...]]]:
    """Of each way, for each case and modality: error in the brain and at borders, gradient kept, seconds."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in WAYS}
    tiny = torch.rand(1, 8, 8, 8) + 1
    denoise(tiny, tiny[0] > 0, Denoising(method="curvature_flow"))  # ITK is loaded before the clock runs
    for index in range(cases):
        noisy, clean = (make_phantom(0, index=index, noise=level) for level in (noise, 0.0))
        brain: Mask = np.any(noisy.images, axis=0)
        beside = borders(noisy.label, brain)
        for given, wanted in zip(noisy.images.astype(np.float32), clean.images.astype(np.float32), strict=True):

            def error(image: Floats, where: Mask, wanted: Floats = wanted) -> float:
                return float(np.sqrt(np.mean((image - wanted)[where] ** 2)))

            for name, options in WAYS.items():
                start = time.perf_counter()
                image = given
                if options is not None:
                    image = denoise(torch.from_numpy(given)[None], torch.from_numpy(brain), options)[0].numpy()
                seconds = time.perf_counter() - start
                parts = [error(image, where) / error(given, where) for where in (brain, beside)]
                found[name].append((*parts, kept(image, wanted, beside), seconds))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.01, 0.03, 0.06], help="relative to white matter")
    options = parser.parse_args()
    torch.set_num_threads(1)
    packages = " ".join(f"{name} {version(name)}" for name in ("torch", "itk", "scipy", "numpy"))
    print(f"{options.cases} phantoms of 240×240×155, means over {len(MODALITIES)} modalities; one thread")
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}")
    for noise in options.noise:
        print(f"\n| noise {noise:.0%} | error in the brain | at tumour borders | gradient kept | s a modality |")
        print("|---|---|---|---|---|")
        for name, rows in measure(noise, options.cases).items():
            brain, beside, gradient, seconds = np.mean(rows, axis=0)
            print(f"| {name} | {brain:.2f} | {beside:.2f} | {gradient:.3f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
