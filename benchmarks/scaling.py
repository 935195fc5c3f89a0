"""Training on several processes: how speed grows with their number, and what they send each other.

    python benchmarks/scaling.py [ROOT] [--config configs/unet3d.yaml] [--processes 1 2] [--size 64] [--rounds 3]

ROOT is a folder of cases; without one, phantoms are written to a temporary folder. `brats fit` runs as it is, outside
SLURM: on GPUs where there are several, else on CPU processes with one thread each. Each process has the same work,
whatever their number. "Apart" are as many runs of one CPU process each at the same time, which send each other
nothing: what they lose, they lose to the machine. Speeds are those that the `Throughput` callback logs: the median of
the rounds, with the lowest and the highest. The second table needs no machine: bytes, and time on links of some speed.
"""

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from brats_lightning.phantom.folder import phantom

CONFIGS = Path(__file__).parents[1] / "configs"
GPUS = torch.cuda.device_count()
ON_GPUS = GPUS > 1
GRADIENT_BYTES = 4
"""Of a weight: gradients are summed in 32 bits, with mixed precision too."""

# Assumptions of the estimate on paper.
NODES, GPUS_A_NODE = 8, 8
NVLINK = 450e9
"""Bytes a second that a GPU sends to its node's others: 900 GB/s in both directions."""
INFINIBAND = 25e9
"""Bytes a second that a GPU sends to other nodes: 400 Gb/s for each pair of GPUs."""
REACHED = 0.7
"""Share of these that a sum over all GPUs reaches."""
HOP_SECONDS = 10e-6
"""From one GPU to the next, before the first byte is there."""
BUCKET = 25e6
"""Bytes of gradients that PyTorch sums at once."""


class Bench:
    """Runs of `brats fit`, all with the same work for each process.

    Args:
        root: Folder of cases.
        folder: Of the runs.
        options: Of the command line.
        more: Options of `brats fit`.
    """

    def __init__(self, root: Path, folder: Path, options: argparse.Namespace, more: Sequence[str]) -> None:
        self.root = root
        self.folder = folder
        self.options = options
        self.more = more
        self.runs = 0

    def speed(self, *processes: int) -> float:
        """Samples a second of runs at the same time, each of so many processes; all of them together."""
        started = [self._start(count) for count in processes]
        for run, process in started:
            if process.wait():
                words = run.with_suffix(".log").read_text(errors="replace").splitlines()
                raise SystemExit("\n".join(words[-20:]))
        return sum(self._read(run) for run, _ in started)

    def _start(self, processes: int) -> tuple[Path, subprocess.Popen[bytes]]:
        self.runs += 1
        run, size, samples = self.folder / f"run-{self.runs}", self.options.size, self.options.samples * processes
        command = [sys.executable, "-m", "brats_lightning", "fit", f"--config={self.options.config}", f"--run={run}"]
        command += [f"--trainer.accelerator={'gpu' if ON_GPUS else 'cpu'}", f"--trainer.devices={processes}"]
        command += [f"--trainer.max_epochs={self.options.epochs}", "--trainer.logger=false"]
        command += ["--trainer.limit_val_batches=0", "--trainer.callbacks=brats_lightning.model.meter.Throughput"]
        command += ["--model.scheduler=null"]  # one that needs validation would end the run
        command += [f"--data.root={self.root}", f"--data.cache_dir={self.folder / 'cache'}"]
        command += [f"--data.preprocessing.size=[{size},{size},{size}]", "--data.preprocessing.bias_field=false"]
        command += ["--data.split.validation=1", "--data.split.test=0", f"--data.samples_per_epoch={samples}"]
        threads = {} if ON_GPUS else {"OMP_NUM_THREADS": "1"}
        with run.with_suffix(".log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603
                [*command, *self.more], env=os.environ | threads, stdout=log, stderr=subprocess.STDOUT
            )
        return run, process

    @staticmethod
    def _read(run: Path) -> float:
        with (run / "metrics.csv").open() as file:
            speeds = [float(row["speed/samples_per_s"]) for row in csv.DictReader(file) if row["speed/samples_per_s"]]
        return statistics.median(speeds[1:] or speeds)  # the first epoch warms up


def measure(bench: Bench, processes: Sequence[int], *, rounds: int) -> None:
    """Print the table of speeds; one round after the other, so that a neighbour's load meets all rows."""
    rows: dict[tuple[int, ...], list[float]] = {(count,): [] for count in processes}
    rows |= {(1,) * count: [] for count in processes if count > 1 and not ON_GPUS}
    rows = dict(sorted(rows.items(), key=lambda row: (sum(row[0]), len(row[0]))))
    for _ in range(rounds):
        for row, speeds in rows.items():
            speeds.append(bench.speed(*row))
    kind = "GPUs" if ON_GPUS else "processes"
    alone = statistics.median(rows[1,])
    print(f"| {kind} | samples/s | lowest–highest | efficiency |\n|---|---|---|---|")
    for row, speeds in rows.items():
        middle = statistics.median(speeds)
        what = f"{len(row)}, apart" if len(row) > 1 else f"{row[0]}"
        spread = f"{min(speeds):.2f}–{max(speeds):.2f}"
        print(f"| {what} | {middle:.2f} | {spread} | {middle / alone / sum(row):.2f} |", flush=True)


def gradient_bytes(config: Path) -> int:
    """Of one step of a configuration's network."""
    settings = yaml.safe_load(config.read_text())
    parser = ArgumentParser()
    parser.add_argument("--network", type=nn.Module)
    network = parser.instantiate(parser.parse_object({"network": settings["model"]["network"]})).network
    weights: int = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return GRADIENT_BYTES * weights


def ring_bytes(gradients: int, processes: int) -> float:
    """What each process sends a step, when all sum their gradients in a ring (Patarasuk and Yuan 2009)."""
    return 2 * (processes - 1) / processes * gradients


def seconds_on_paper(gradients: int) -> float:
    """Of one sum over all GPUs of all nodes: within nodes, each GPU's part between nodes, within nodes again."""
    within = ring_bytes(gradients, GPUS_A_NODE) / (REACHED * NVLINK)
    between = ring_bytes(gradients // GPUS_A_NODE, NODES) / (REACHED * INFINIBAND)
    hops = 2 * (GPUS_A_NODE - 1) + 2 * (NODES - 1)
    return within + between + HOP_SECONDS * hops * max(gradients / BUCKET, 1)


def estimate(configs: Sequence[Path]) -> None:
    """Print the table of bytes and of time on paper."""
    gpus = NODES * GPUS_A_NODE
    print(f"| network | gradients | sent by each of 2 | of 8 | of {gpus} | {NODES} × {GPUS_A_NODE} GPUs sum them in |")
    print("|---|---|---|---|---|---|")
    for config in configs:
        gradients = gradient_bytes(config)
        sent = " | ".join(f"{ring_bytes(gradients, count) / 1e6:.1f} MB" for count in (2, 8, gpus))
        seconds = seconds_on_paper(gradients)
        print(f"| {config.stem} | {gradients / 1e6:.1f} MB | {sent} | {1000 * seconds:.1f} ms |")
    links = f"{NVLINK / 1e9:.0f} GB/s within a node and {INFINIBAND / 1e9:.0f} GB/s to others"
    print(
        f"\nOn paper, assumed: {links} for each GPU and direction, of which {REACHED:.0%} are reached; "
        f"{1e6 * HOP_SECONDS:.0f} µs a hop; nothing hidden behind the backward pass, which hides most of it. "
        "A step that takes 100 times as long loses 1 % at the most."
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path)
    parser.add_argument("--config", type=Path, default=CONFIGS / "unet3d.yaml")
    counts = [count for count in (1, 2, 4, 8) if count <= GPUS] if ON_GPUS else [1, 2]
    parser.add_argument("--processes", type=int, nargs="+", default=counts)
    parser.add_argument("--size", type=int, default=128 if ON_GPUS else 64)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--samples", type=int, default=16, help="Of an epoch, for each process.")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options, more = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder, root = Path(name), options.root
        if root is None:
            edge = max(options.size, 64)
            phantom(root := folder / "phantoms", cases=options.cases, size=(edge, edge, edge))
        packages = " ".join(f"{package} {version(package)}" for package in ("torch", "pytorch-lightning"))
        device = torch.cuda.get_device_name() if ON_GPUS else "CPU, one thread a process"
        print(f"{options.config.name} at {options.size}³, {options.samples} samples a process and epoch; {device}")
        print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {packages}\n", flush=True)
        bench = Bench(root, folder, options, [word for word in more if word != "--"])
        bench.speed(1)  # fills the cache
        measure(bench, sorted({1, *options.processes}), rounds=options.rounds)
        print(f"\nload at the end {os.getloadavg()[0]:.1f}\n")
    estimate([CONFIGS / "unet3d.yaml", CONFIGS / "dynunet.yaml"])


if __name__ == "__main__":
    main()
