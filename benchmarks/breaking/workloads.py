"""Commands on a few small phantoms and a tiny network, and what their results are held against each other by."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from brats_lightning.data.pictures import RECORDS
from brats_lightning.phantom.folder import phantom

CONFIG = """
seed_everything: 3
model:
  network:
    class_path: monai.networks.nets.UNet
    init_args: {{spatial_dims: 3, in_channels: 4, out_channels: 4, channels: [4, 8], strides: [2], dropout: 0.2}}
  loss: {{class_path: monai.losses.DiceFocalLoss, init_args: {{softmax: true, to_onehot_y: true}}}}
data:
  root: {home}/cases
  cache: disk
  cache_dir: {cache}
  preprocessing: {{size: [16, 16, 16], bias_field: false}}
  augmentation:
    - {{class_path: monai.transforms.RandGaussianNoised, init_args: {{keys: image, prob: 0.5}}}}
  split: {{class_path: brats_lightning.data.splits.HoldOut, init_args: {{validation: 1, test: 1}}}}
  workers: {workers}
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: {epochs}
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  logger: false
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    - class_path: brats_lightning.model.callbacks.BestCheckpoint
    - class_path: brats_lightning.model.callbacks.LastCheckpoint
    - class_path: brats_lightning.model.ema.ExponentialMovingAverage
"""
Contents = dict[str, bytes]
"""Results by name: bytes that two runs of the same work have in common."""


@dataclass(frozen=True)
class Workload:
    """A command, and how its results are compared.

    Args:
        name: For people.
        arguments: Of `brats`, in the folder it works in.
        results: What is compared, found in that folder.
        finished: Names of files of which each, once it is there, is done: it must not be done again.
        prepare: Puts into the folder what the command needs.
    """

    name: str
    arguments: tuple[str, ...]
    results: Callable[[Path], Contents]
    finished: str = ""
    prepare: Callable[[Path], None] | None = None

    def folder(self, path: Path) -> Path:
        """A folder in which the command can be called."""
        path.mkdir(parents=True)
        if self.prepare is not None:
            self.prepare(path)
        return path

    def finished_files(self, folder: Path) -> dict[Path, tuple[int, int, bytes]]:
        """Finished files, their bytes, and what tells whether they were written again."""
        found = {}
        for path in folder.glob(self.finished) if self.finished else ():
            about = path.stat()
            found[path] = (about.st_ino, about.st_mtime_ns, path.read_bytes())
        return found


def cases(home: Path, *, count: int, size: int) -> None:
    """Write the phantoms that all commands are given."""
    phantom(home / "cases", cases=count, size=(size, size, size), workers=1)


def write_config(path: Path, *, home: Path, cache: str, workers: int = 0, epochs: int = 8) -> Path:
    """Write the configuration of a small run."""
    path.write_text(CONFIG.format(home=home, cache=cache, workers=workers, epochs=epochs))
    return path


def cache_work(home: Path, *, workers: int = 2) -> Workload:
    """`brats cache` with worker processes."""
    config = write_config(home / "cache.yaml", home=home, cache="cache", workers=workers)
    return Workload(
        "cache",
        ("cache", "--config", str(config)),
        lambda folder: _files(folder / "cache"),
        finished="cache/[!.]*",
    )


def fit_work(home: Path, *, epochs: int = 8) -> Workload:
    """`brats fit` on a CPU; its cache is shared by all calls, and full."""
    config = write_config(home / "fit.yaml", home=home, cache=str(home / "full-cache"), epochs=epochs)
    return Workload("fit", ("fit", "--config", str(config), "--run", "run", "--ckpt_path", "auto"), run_results)


def predict_work(home: Path, checkpoint: Path) -> Workload:
    """`brats predict` with a loading process, all maps wanted."""
    options = ("--output", "predictions", "--device", "cpu", "--workers", "1", "--probabilities", "--uncertainty")
    return Workload(
        "predict",
        ("predict", str(home / "cases"), "--checkpoint", str(checkpoint), *options),
        predictions,
        finished=f"predictions/{RECORDS}/*.json",  # of cases
    )


def report_work(run: Path) -> Workload:
    """`brats report` of a run that has been scored."""

    def copy(folder: Path) -> None:
        shutil.copytree(run, folder / "run")

    return Workload("report", ("report", "run"), report_results, prepare=copy)


def run_results(folder: Path) -> Contents:
    """Of a run: every bit of its checkpoints that is not a path or a score that Lightning forgets, and its metrics."""
    run = folder / "run"
    found = {name: (run / name).read_bytes() for name in ("metrics.csv", "split.json")}
    for name in ("best", "last"):
        stored = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        keys = ("epoch", "global_step", "state_dict", "trained_weights", "optimizer_states", "lr_schedulers")
        found[f"{name}.ckpt"] = repr([_exactly(stored.get(key)) for key in keys]).encode()
    return found


def predictions(folder: Path) -> Contents:
    """Of a prediction: the bytes of every map, and what is said of each case but for the time it took."""
    found = {path.name: path.read_bytes() for path in (folder / "predictions").glob("[!.]*.nii.gz")}
    summary = json.loads((folder / "predictions" / "predictions.json").read_text())
    for about in summary["cases"].values():
        del about["seconds"]
    found["predictions.json"] = json.dumps([summary["cases"], summary["failed"]], sort_keys=True).encode()
    return found


def report_results(folder: Path) -> Contents:
    """Of a report: the page as it reads, which has all its numbers, and the names of its pictures."""
    page = (folder / "run" / "report" / "report.html").read_text()
    pictures = sorted(path.name for path in (folder / "run" / "report").glob("[!.]*.png"))
    text = re.sub(r"data:[a-z]+/[a-z+]+;base64,[A-Za-z0-9+/=]+", "", page)
    return {"report.html": text.encode(), "pictures": repr(pictures).encode()}


def bytes_lost(expected: Mapping[str, bytes], found: Mapping[str, bytes]) -> int:
    """Bytes of results that are missing, or other ones."""
    return sum(len(content) or 1 for name, content in expected.items() if found.get(name) != content) + sum(
        len(content) or 1 for name, content in found.items() if name not in expected
    )


def left_behind(folder: Path) -> list[str]:
    """Hidden files, such as half-written ones."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(".*") if path.is_file())


def _files(folder: Path) -> Contents:
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


def _exactly(value: object) -> object:
    """A value whose text shows each bit of its tensors."""
    if isinstance(value, dict):
        return {key: _exactly(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_exactly(held) for held in value]
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()
    return value
