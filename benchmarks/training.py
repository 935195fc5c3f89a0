"""Training end to end against the bare step of its network, and against the same network fed by MONAI's transforms.

    python benchmarks/training.py [ROOT] [--config configs/unet3d.yaml] [--size 64] [--cases 8] [--epochs 4]

ROOT is a folder of cases; without one, phantoms are written to a temporary folder. `bare` repeats forward, loss,
backward and optimiser on one batch that lies on the device; `fit` is `brats fit` as it is, its speed as the
`Throughput` callback logs it; `MONAI` is the same command with `configs/overlays/monai_augmentation.yaml`. Cases,
network, precision and batch size are the same in all rows of a run. On a machine without a GPU the size is 64³ and
everything runs on the CPU.

    python benchmarks/training.py [ROOT] --config configs/unet2d_slices.yaml --size 128 --epochs 2

A configuration that trains on slices is measured on slices of all cases, and without MONAI's transforms.
"""

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from brats_lightning.experiment.training import automatic_precision
from brats_lightning.labels import MODALITIES
from brats_lightning.machine import keep_freed_memory
from brats_lightning.phantom.folder import phantom

CONFIGS = Path(__file__).parents[1] / "configs"
MONAI = CONFIGS / "overlays" / "monai_augmentation.yaml"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def in_slices(config: Path) -> bool:
    """Whether a configuration trains on slices."""
    return "slices" in yaml.safe_load(config.read_text())["data"]


def bare(config: Path, size: int, *, steps: int = 20) -> float:
    """Samples a second of the step alone."""
    keep_freed_memory()
    settings = yaml.safe_load(config.read_text())
    parser = ArgumentParser()
    parser.add_argument("--network", type=nn.Module)
    parser.add_argument("--loss", type=nn.Module)
    built = parser.instantiate(parser.parse_object({name: settings["model"][name] for name in ("network", "loss")}))
    network, loss = built.network.to(DEVICE).train(), built.loss
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    batch, depth = settings["data"]["batch_size"], 1 if in_slices(config) else size
    channels = len(settings["data"]["preprocessing"].get("modalities", MODALITIES))
    image = torch.randn(batch, channels, size, size, depth, device=DEVICE)
    label = torch.randint(0, 4, (batch, 1, size, size, depth), device=DEVICE)
    half = automatic_precision("auto") != "32-true"
    seconds = []
    for step in range(steps + 3):
        start = time.perf_counter()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=half):
            found = loss(network(image), label)
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        if step >= 3:
            seconds.append(time.perf_counter() - start)
    return float(batch / statistics.median(seconds))


def fit(root: Path, folder: Path, configs: Sequence[Path], more: Sequence[str], *, epochs: int) -> tuple[float, float]:
    """Samples a second of the last epochs of `brats fit`, and the share of its time that it waited for data."""
    run = folder / f"run-{len(list(folder.iterdir()))}"
    command = [sys.executable, "-m", "brats_lightning", "fit", *(f"--config={path}" for path in configs)]
    command += [f"--data.root={root}", f"--run={run}", f"--trainer.max_epochs={epochs}", "--trainer.logger=false"]
    command += ["--trainer.limit_val_batches=0", "--trainer.callbacks=brats_lightning.model.meter.Throughput"]
    command += ["--model.scheduler=null"]  # one that needs validation would end the run
    command += [f"--data.cache_dir={folder / 'cache'}", "--data.preprocessing.bias_field=false"]
    subprocess.run([*command, *more], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
    with (run / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("speed/samples_per_s")]
    measured = rows[1:] or rows  # the first epoch warms up
    speed = statistics.median(float(row["speed/samples_per_s"]) for row in measured)
    return speed, statistics.median(float(row["speed/waiting"]) for row in measured)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("--config", type=Path, default=CONFIGS / "unet3d.yaml")
    parser.add_argument("--size", type=int, default=128 if DEVICE == "cuda" else 64)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=4)
    options, more = parser.parse_known_args()
    more = [word for word in more if word != "--"]
    flat = in_slices(options.config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = options.root
        if root is None:
            root = folder / "phantoms"
            edge = max(options.size, 64)
            phantom(root, cases=options.cases, size=(edge, edge, 155 if flat else edge))
        packages = " ".join(f"{package} {version(package)}" for package in ("torch", "monai", "pytorch-lightning"))
        device = torch.cuda.get_device_name() if DEVICE == "cuda" else "CPU"
        kind = "phantoms" if options.root is None else "real cases"
        print(f"{options.config.name} at {options.size}{'²' if flat else '³'}, {kind}; {device}")
        print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}\n")
        print("| what | samples/s | ÷ bare | waiting for data |\n|---|---|---|---|")
        base = bare(options.config, options.size)
        print(f"| bare step | {base:.2f} | 1 | – |", flush=True)
        small = [f"--data.preprocessing.size=[{options.size},{options.size},{'null' if flat else options.size}]"]
        small += [f"--data.split.validation={0 if flat else 1}", "--data.split.test=0", *more]
        rows = [("brats fit", [options.config])]
        rows += [] if flat else [("the same, MONAI's transforms in workers", [options.config, MONAI])]
        for what, configs in rows:
            speed, waiting = fit(root, folder, configs, small, epochs=options.epochs)
            print(f"| {what} | {speed:.2f} | {speed / base:.2f} | {waiting:.0%} |", flush=True)


if __name__ == "__main__":
    main()
