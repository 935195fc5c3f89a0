"""From a case's four files to a written segmentation: milliseconds a stage, and whole runs of `brats predict`.

    python benchmarks/inference.py [ROOT] [--cases N] [--device cpu|cuda] [--n4]

ROOT is a folder of cases; without one, full-size phantoms are written to a temporary folder. The network is the one of
`configs/unet3d.yaml` with random weights, at 128³ (one pass) and at 1 mm (windows of 128³): what is measured does not
depend on its weights. The named alternative is MONAI's `sliding_window_inference` in place of the predictor, on the
same image in the same run.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.inferers import sliding_window_inference

from brats_lightning.data.cases import find_cases
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.reading import read_case
from brats_lightning.inference.models.checkpoints import open_checkpoint
from brats_lightning.inference.models.networks import build_network
from brats_lightning.inference.predictor.predictor import Predictor, PredictorOptions
from brats_lightning.inference.predictor.windows import gaussian
from brats_lightning.phantom.folder import phantom

CONFIG = Path(__file__).parents[1] / "configs" / "unet3d.yaml"
WINDOW = (128, 128, 128)
MILLIMETRE = {"size": None, "spacing_mm": 1.0}
WAYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "128³, one pass": ({}, []),
    "128³, eight flips": ({}, ["--flips", "x", "y", "z"]),
    "1 mm, whole brain": (MILLIMETRE, ["--mode", "whole"]),
    "1 mm, windows, overlap 0.25": (MILLIMETRE, ["--mode", "windows", "--overlap", "0.25"]),
    "1 mm, windows, overlap 0.5": (MILLIMETRE, ["--mode", "windows"]),
    "1 mm, whole brain, eight flips": (MILLIMETRE, ["--mode", "whole", "--flips", "x", "y", "z"]),
}


def write_checkpoint(path: Path, settings: dict[str, Any]) -> Path:
    """A checkpoint as training writes it, without training."""
    torch.manual_seed(0)
    network = yaml.safe_load(CONFIG.read_text())["model"]["network"]
    content = {
        "state_dict": {f"network.{name}": value for name, value in build_network(network).state_dict().items()},
        "hyper_parameters": {"network": network, "regions": ["ET", "ED", "NCR", "WT", "TC"]},
        "datamodule_hyper_parameters": {"preprocessing": asdict(Preprocessing(**settings))},
        "trained_on": {"smallest": list(WINDOW), "largest": list(WINDOW)},
    }
    torch.save(content, path)
    return path


def predict(root: Path, checkpoint: Path, output: Path, device: str, more: Sequence[str]) -> tuple[float, float]:
    """Seconds of a call of the command, start and imports included, and peak MB of its main process."""
    command = [sys.executable, "-m", "brats_lightning", "predict", str(root), "--checkpoint", str(checkpoint)]
    start = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--output", str(output), "--device", device, *more], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("a prediction failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def stages(output: Path) -> dict[str, float]:
    """Median milliseconds of each stage over the cases but the first, which warms everything up."""
    records = list(json.loads((output / "predictions.json").read_text())["cases"].values())[1:]
    return {
        stage: 1000 * statistics.median(record["seconds"][stage] for record in records)
        for stage in records[0]["seconds"]
    }


def against_monai(case: Any, checkpoint: Path, device: torch.device) -> str:
    """The predictor and MONAI's sliding window on one image at 1 mm: milliseconds and largest difference."""
    model = open_checkpoint(checkpoint)
    image = model.spec.preprocessing(case).image.to(device).float()
    options = PredictorOptions(mode="windows", precision="32")
    predictor = Predictor([model.member], options, device=device)

    def monai(**weights: Any) -> torch.Tensor:
        with torch.inference_mode(), model.member.on(device) as network:
            found = sliding_window_inference(image[None], WINDOW, 1, network, overlap=0.5, mode="gaussian", **weights)
            return torch.as_tensor(found)[0].float().softmax(dim=0)

    _, their_ms = timed(monai, device)
    ours, our_ms = timed(lambda: predictor(image), device)
    x, y, z = (gaussian(length).float().to(device) for length in WINDOW)
    difference = float((ours - monai(roi_weight_map=x[:, None, None] * y[:, None] * z)).abs().max())
    voxels = "×".join(map(str, image.shape[1:]))
    return (
        f"windows of 128³ at overlap 0.5 over {voxels}, 32 bits: MONAI {their_ms:.0f} ms, this project {our_ms:.0f} ms "
        f"(MONAI ÷ it {their_ms / our_ms:.2f}); weights alike, largest difference of a probability {difference:.0e}"
    )


def timed(work: Callable[[], torch.Tensor], device: torch.device) -> tuple[torch.Tensor, float]:
    """Result and median milliseconds of three calls after a first one."""
    found = work()
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        found = work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken.append(1000 * (time.perf_counter() - start))
    return found, statistics.median(taken)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("--cases", type=int, default=9)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--n4", action="store_true", help="with bias-field correction, as unet3d.yaml has it")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS), help="which rows")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = options.root
        if root is None:
            root = folder / "phantoms"
            phantom(root, cases=options.cases)
        chosen = folder / "cases"
        chosen.mkdir()
        cases = find_cases(root).cases[: options.cases]
        for case in cases:
            (chosen / case.id).symlink_to(case.files[0].parent.resolve())
        report(chosen, options, folder, real=options.root is not None)


def report(root: Path, options: argparse.Namespace, folder: Path, *, real: bool) -> None:
    """Measure every way of prediction and print them as a table."""
    cases = find_cases(root).cases
    packages = " ".join(f"{name} {version(name)}" for name in ("torch", "monai", "numpy"))
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    n4 = "with" if options.n4 else "without"
    print(f"{len(cases)} {'real cases' if real else 'phantoms'}, the network of unet3d.yaml, {n4} N4; {name}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}\n")
    reading = [0.0] * len(cases)
    for index, case in enumerate(cases):
        start = time.perf_counter()
        read_case(case)
        reading[index] = 1000 * (time.perf_counter() - start)
    print(f"reading a case's files: median {statistics.median(reading):.0f} ms, a part of the first column\n")
    print("| way | load and preprocess | network | restore | write | s a case, whole call | peak MB |")
    print("|---|---|---|---|---|---|---|")
    for number, way in enumerate(options.ways):
        settings, more = WAYS[way]
        checkpoint = write_checkpoint(folder / f"{number}.ckpt", {**settings, "bias_field": options.n4})
        output = folder / f"out-{number}"
        seconds, memory = predict(root, checkpoint, output, options.device, more)
        found = " | ".join(f"{value:.0f}" for value in stages(output).values())
        print(f"| {way} | {found} | {seconds / len(cases):.2f} | {memory:.0f} |", flush=True)
    checkpoint = write_checkpoint(folder / "monai.ckpt", {**MILLIMETRE, "bias_field": False})
    print(f"\n{against_monai(cases[0], checkpoint, device)}")


if __name__ == "__main__":
    main()
