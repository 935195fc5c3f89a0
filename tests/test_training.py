"""Training on real cases, and training that was killed: slow, and shown rather than assumed."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.losses import DiceFocalLoss
from monai.networks.nets import UNet
from pytorch_lightning import Trainer
from torch.utils.data import DataLoader

from brats_lightning.cli import main
from brats_lightning.data.batches import collate
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.cases import find_cases
from brats_lightning.data.dataset import CaseDataset
from brats_lightning.data.homes import MemoryHome
from brats_lightning.data.order import ShuffledDraws
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.model.module import SegmentationModule

CONFIGS = Path(__file__).parents[1] / "configs"
KILLED = """
seed_everything: 3
model:
  network:
    class_path: monai.networks.nets.UNet
    init_args: {spatial_dims: 3, in_channels: 4, out_channels: 4, channels: [4, 8], strides: [2], dropout: 0.2}
  loss: {class_path: monai.losses.DiceFocalLoss, init_args: {softmax: true, to_onehot_y: true}}
data:
  root: cases
  preprocessing: {size: [16, 16, 16]}
  augmentation:
    - {class_path: monai.transforms.RandGaussianNoised, init_args: {keys: image, prob: 0.5}}
  workers: 0
trainer:
  max_epochs: 40
  num_sanity_val_steps: 0
  logger: false
  callbacks:
    - class_path: brats_lightning.model.callbacks.BestCheckpoint
    - class_path: brats_lightning.model.callbacks.LastCheckpoint
"""
SECONDS = 180
"""Longest wait for a process that takes a few: one that hangs is a failure."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BRATS_RUN", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    return tmp_path


def fit(*options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-W", "ignore", "-m", "brats_lightning", "fit", "--config=killed.yaml", *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def last(run: str) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(Path("runs") / run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 39
    state: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return state


@pytest.mark.slow
def test_a_killed_run_ends_as_if_nothing_had_happened(home: Path, phantoms: Path) -> None:
    Path("cases").symlink_to(phantoms)
    Path("killed.yaml").write_text(KILLED)
    assert fit("--run=runs/uncut").wait(SECONDS) == 0
    victim = fit("--run=runs/killed")
    checkpoint = Path("runs/killed/checkpoints/last.ckpt")
    while not checkpoint.exists():
        assert victim.poll() is None
        time.sleep(0.02)
    time.sleep(0.4)  # in the middle of some later epoch
    victim.send_signal(signal.SIGKILL)
    assert victim.wait(SECONDS) == -signal.SIGKILL
    os.environ.pop("BRATS_RUN", None)
    assert fit("--run=runs/killed", "--ckpt_path=last").wait(SECONDS) == 0
    uncut, killed = last("uncut"), last("killed")
    assert all(torch.equal(uncut[name], killed[name]) for name in uncut | killed)
    metrics = [Path("runs", run, "metrics.csv").read_text() for run in ("uncut", "killed")]
    assert metrics[0] == metrics[1]


def steps(run: str) -> list[list[object]]:
    """Each step that was done: its number, its epoch, its cases, their seeds, a random number."""
    path = Path(run) / "seen-0.txt"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


STOPPED = [
    "--trainer.callbacks+=tests.recorder.Recorder",
    "--trainer.callbacks+=brats_lightning.model.ema.ExponentialMovingAverage",
    "--trainer.log_every_n_steps=1",
    "--trainer.max_epochs=6",
    "--trainer.val_check_interval=0.4",
    "--trainer.accumulate_grad_batches=2",
    "--data.samples_per_epoch=20",
    "--data.workers=2",
]


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_at_any_moment_ends_as_if_nothing_had_happened(home: Path, phantoms: Path) -> None:
    """While it starts, in a step, in a validation; augmented by worker processes, who get the signal as well."""
    Path("cases").symlink_to(phantoms)
    Path("killed.yaml").write_text(KILLED)
    assert fit("--run=uncut", *STOPPED).wait(SECONDS) == 0
    expected = steps("uncut")
    moments = sorted(random.sample(range(1, len(expected)), 1))
    for moment in (0, *moments):
        process = fit("--run=cut", "--ckpt_path=auto", *STOPPED)
        limit = time.monotonic() + SECONDS
        while moment and len(steps("cut")) < moment:
            assert process.poll() is None, moments
            assert time.monotonic() < limit, moments
            time.sleep(0.01)
        time.sleep(0 if moment else 1.5)  # it imports, but listens already
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        for child in children.read_text().split() if children.exists() else ():
            os.kill(int(child), signal.SIGUSR1)
        process.send_signal(signal.SIGUSR1)
        assert process.wait(SECONDS) in {0, 75}, moments  # 0 where the end was nearer than the next checkpoint
    assert fit("--run=cut", "--ckpt_path=auto", *STOPPED).wait(SECONDS) == 0
    assert steps("cut") == expected, moments
    uncut, cut = (torch.load(f"{run}/checkpoints/last.ckpt", weights_only=True) for run in ("uncut", "cut"))
    for key in ("state_dict", "trained_weights"):
        assert all(torch.equal(uncut[key][name], cut[key][name]) for name in uncut[key] | cut[key]), moments
    assert str(uncut["optimizer_states"]) == str(cut["optimizer_states"])
    assert Path("uncut/metrics.csv").read_text() == Path("cut/metrics.csv").read_text(), moments


@pytest.mark.slow
def test_the_last_checkpoint_knows_the_best_one_wherever_it_stands_in_the_configuration(
    home: Path, phantoms: Path
) -> None:
    """Or a run that goes on would forget the score of its last epoch."""
    Path("cases").symlink_to(phantoms)
    lines = KILLED.splitlines()
    lines[-2:] = reversed(lines[-2:])
    Path("killed.yaml").write_text("\n".join(lines))
    main(["fit", "--config=killed.yaml", "--run=run", "--trainer.max_epochs=1"])
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    (best,) = [state for name, state in checkpoint["callbacks"].items() if name.startswith("BestCheckpoint")]
    with Path("run/metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(best["best_model_score"]) == pytest.approx(float(row["val/dice_mean_ET_ED_NCR"]))


@pytest.mark.slow
def test_the_3d_unet_trains_on_real_cases(home: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configs = [f"--config={CONFIGS / 'unet3d.yaml'}", f"--config={CONFIGS / 'overlays' / 'few_steps.yaml'}"]
    root = (shared / "data" / "brats").resolve()
    main(["fit", *configs, f"--data.root={root}", "--run=run", "--data.split.test=2", "--data.split.train=3"])
    split = json.loads(Path("run/split.json").read_text())
    assert sorted(len(split[part]) for part in ("train", "validation", "test")) == [2, 2, 3]
    main(["test", "--run=run"])
    assert "2 cases" in capsys.readouterr().out
    assert len(Path("run/scores_test.csv").read_text().splitlines()) == 1 + 2 * 5


@pytest.mark.slow
def test_one_real_case_can_be_overfitted(home: Path, shared: Path) -> None:
    """Whole tumour Dice above 0.95: network, loss, labels and scores agree with each other."""
    torch.manual_seed(0)
    found = find_cases(shared / "data" / "brats")
    case = next(case for case in found.cases if case.id == "BraTS2021_01659")
    cache = CaseCache(Preprocessing(size=(32, 32, 32)), MemoryHome())
    # Sixteen times the same case an epoch: two a batch, as a batch of one takes a slow path on CPUs.
    dataset = CaseDataset(cache, [case] * 16)
    train = DataLoader(dataset, batch_size=2, sampler=ShuffledDraws(16, seed=0), collate_fn=collate)
    validation = DataLoader(CaseDataset(cache, [case]), collate_fn=collate)
    network = UNet(3, 4, 4, channels=(16, 32, 64), strides=(2, 2), num_res_units=1, norm="instance")
    module = SegmentationModule(
        network,
        DiceFocalLoss(softmax=True, to_onehot_y=True, include_background=False),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=3e-3),
    )
    trainer = Trainer(
        max_epochs=20,
        check_val_every_n_epoch=20,
        num_sanity_val_steps=0,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, train, validation)
    dice = trainer.callback_metrics["val/dice_WT"].item()
    assert dice > 0.95


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(home: Path, phantoms: Path) -> None:
    Path("cases").symlink_to(phantoms)
    Path("killed.yaml").write_text(KILLED.replace("max_epochs: 40", "max_epochs: 100000"))
    command = [sys.executable, "-W", "ignore", "-m", "brats_lightning", "fit", "--config=killed.yaml", "--run=run"]
    pipes: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    # A shell has its background jobs ignore Ctrl-C, and their children with them.
    pipes["preexec_fn"] = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, **pipes) as victim:
        while not Path("run/checkpoints/last.ckpt").exists():
            assert victim.poll() is None
            time.sleep(0.02)
        victim.send_signal(signal.SIGINT)
        _, said = victim.communicate(timeout=60)
    assert victim.returncode == 1
    assert "stopped; go on with: brats fit --run run --ckpt_path auto" in said
    assert "Traceback" not in said
