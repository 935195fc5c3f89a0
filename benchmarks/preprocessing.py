"""Preprocessing a case: seconds, peak memory, and cases a second with one and two workers, as ratios in one run.

    python benchmarks/preprocessing.py [ROOT] [--cases N]

ROOT is a folder of cases; without one, full-size phantoms are written to a temporary folder. The named alternative is
the same pipeline of MONAI's own transforms. Every row is measured in a process of its own, with one thread.
"""

import argparse
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from monai.transforms import (
    Compose,
    ConcatItemsd,
    CropForegroundd,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    Resized,
)

from brats_lightning.data.bias_field import N4, Backend, correct_bias_field
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.homes import DiskHome
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.reading import read_case
from brats_lightning.labels import MODALITIES
from brats_lightning.phantom.folder import phantom

SIZE = (128, 128, 128)
Floats = npt.NDArray[np.float64]
P = ParamSpec("P")
T = TypeVar("T")


def read(case: Case) -> object:
    """Reading and checking alone."""
    return read_case(case)


def without_n4(case: Case) -> object:
    """This project's pipeline, N4 off."""
    return Preprocessing(size=SIZE)(case)


def with_n4(case: Case) -> object:
    """This project's pipeline, N4 on every modality at its default settings."""
    return Preprocessing(size=SIZE, bias_field=True)(case)


def with_n4_of_itk(case: Case) -> object:
    """The same with ITK's N4."""
    return Preprocessing(size=SIZE, bias_field=True, n4=N4(backend="itk"))(case)


def monai(case: Case) -> object:
    """The same steps by MONAI's transforms alone, without any check of what was read."""
    keys = [*MODALITIES, "label"]
    pipeline = Compose(
        [
            LoadImaged(keys),
            EnsureChannelFirstd(keys),
            Orientationd(keys, axcodes="RAS", labels=None),
            ConcatItemsd(MODALITIES, "image"),
            CropForegroundd(["image", "label"], "image", allow_smaller=True),
            Resized(["image", "label"], SIZE, mode=("trilinear", "nearest")),
            NormalizeIntensityd("image", nonzero=True, channel_wise=True),
        ]
    )
    data: dict[str, object] = {**{str(name): file for name, file in case.images.items()}, "label": case.label}
    return pipeline(data)


def measure(work: Callable[[Case], object], cases: list[Case]) -> tuple[float, float]:
    """Median seconds a case after a first one that is not counted, and the process's peak memory in MB."""
    torch.set_num_threads(1)
    work(cases[0])
    seconds = []
    for case in cases:
        start = time.perf_counter()
        work(case)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fields(cases: list[Case], backend: Backend) -> tuple[float, list[Floats]]:
    """Median seconds a case for correcting all modalities, and the log fields in the brain, each with mean 0."""
    torch.set_num_threads(1)
    seconds, found = [], []
    for case in [cases[0], *cases]:
        volumes = read_case(case)
        image, brain = torch.from_numpy(volumes.image), torch.from_numpy(volumes.brain)
        start = time.perf_counter()
        corrected = correct_bias_field(image, brain, N4(backend=backend), spacing_mm=volumes.grid.spacing_mm)
        seconds.append(time.perf_counter() - start)
        before, after = image[:, brain].double(), corrected[:, brain]
        field = torch.where(before > 0, before / after, 1.0).log().numpy()
        found.append(field - field.mean(axis=1, keepdims=True))
    return statistics.median(seconds[1:]), found[1:]


def fill(cases: list[Case], workers: int, n4: bool) -> float:
    """Cases a second into an empty disk cache."""
    with tempfile.TemporaryDirectory() as folder:
        cache = CaseCache(Preprocessing(size=SIZE, bias_field=n4), DiskHome(Path(folder)))
        start = time.perf_counter()
        problems = cache.fill(cases, workers=workers)
        if problems:
            raise SystemExit(f"cases that cannot be read: {problems[0]}")
        return len(cases) / (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("--cases", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = options.root
        if root is None:
            root = Path(folder) / "phantoms"
            phantom(root, cases=options.cases)
        report(list(find_cases(root).cases)[: options.cases], real=options.root is not None)


def report(cases: list[Case], *, real: bool) -> None:
    """Measure every row in a process of its own and print them as a table."""
    packages = " ".join(f"{name} {version(name)}" for name in ("torch", "monai", "itk", "numpy"))
    print(f"{len(cases)} {'real cases' if real else 'phantoms'} of full size to 128³, float32; one thread a process")
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}\n")
    print("| what | s a case | ÷ MONAI | peak MB |\n|---|---|---|---|")
    rows = {
        "MONAI's transforms, no N4": monai,
        "this pipeline, no N4": without_n4,
        "of that, reading and checking": read,
        "this pipeline with N4 (shrink 4)": with_n4,
        "this pipeline with N4 of ITK": with_n4_of_itk,
    }
    base = 0.0
    for name, work in rows.items():
        seconds, memory = isolated(measure, work, cases)
        base = base or seconds
        print(f"| {name} | {seconds:.2f} | {seconds / base:.2f} | {memory:.0f} |")
    report_n4(cases)
    print("\n| disk cache filled with | cases/s, 1 worker | cases/s, 2 workers | ratio |\n|---|---|---|---|")
    for name, n4 in (("no N4", False), ("N4", True)):
        one, two = (isolated(fill, cases, workers, n4) for workers in (1, 2))
        print(f"| {name} | {one:.3f} | {two:.3f} | {two / one:.2f} |")


def report_n4(cases: list[Case]) -> None:
    """Hold the project's own N4 against ITK's, in seconds and in fields."""
    (own, own_fields), (itk, itk_fields) = (isolated(fields, cases, backend) for backend in ("torch", "itk"))
    print("\n| N4 of four modalities alone, shrink 4 | s a case | ITK ÷ it |\n|---|---|---|")
    print(f"| ITK | {itk:.2f} | 1.0 |\n| this project | {own:.2f} | {itk / own:.1f} |")
    pairs = [pair for case in zip(own_fields, itk_fields, strict=True) for pair in zip(*case, strict=True)]
    apart = [float(np.linalg.norm(one - other) / np.linalg.norm(other)) for one, other in pairs]
    correlation = min(float(np.corrcoef(*pair)[0, 1]) for pair in pairs)
    print(
        f"\nLog fields of {len(pairs)} images against ITK's: correlation from {correlation:.5f} on, relative L2 "
        f"distance {statistics.median(apart):.1e} (median), {max(apart):.1e} (largest)"
    )


def isolated(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a process of its own, so that peak memory and threads are its own too."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *args, **kwargs).result()


if __name__ == "__main__":
    main()
