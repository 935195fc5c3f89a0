"""Two processes train one network, as on two GPUs: what one alone would do, and nobody waits for ever."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from brats_lightning.cli import main

ROOT = Path(__file__).parents[1]
EPOCHS, STEPS = 3, 5
CONFIG = f"""
seed_everything: 3
model:
  network:
    class_path: monai.networks.nets.UNet
    init_args: {{spatial_dims: 3, in_channels: 4, out_channels: 4, channels: [4, 8], strides: [2], norm: instance}}
  loss: {{class_path: monai.losses.DiceFocalLoss, init_args: {{softmax: true, to_onehot_y: true}}}}
  optimizer: {{class_path: torch.optim.SGD, init_args: {{lr: 0.1, momentum: 0.9}}}}
  scheduler: {{class_path: torch.optim.lr_scheduler.CosineAnnealingLR, init_args: {{T_max: {EPOCHS}}}}}
data:
  root: cases
  preprocessing: {{size: [16, 16, 16]}}
  augmentation:
    - {{class_path: monai.transforms.RandGaussianNoised, init_args: {{keys: image, prob: 0.5}}}}
  split: {{class_path: brats_lightning.data.splits.HoldOut, init_args: {{validation: 3}}}}
  samples_per_epoch: {2 * STEPS}
  batch_size: 1
  workers: 0
trainer:
  accelerator: cpu
  max_epochs: {EPOCHS}
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  logger: false
  callbacks:
    - class_path: tests.recorder.Recorder
    - class_path: brats_lightning.model.callbacks.BestCheckpoint
    - class_path: brats_lightning.model.callbacks.LastCheckpoint
"""
BATCH_NORM = ["--model.network.norm=batch", "--model.network.dropout=0.2", "--trainer.max_epochs=100000"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Iterator[Path]:
    """A working folder with a configuration and six phantoms."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "cases").symlink_to(phantoms)
    (folder / "two.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("BRATS_RUN", "")
        patch.delenv("BRATS_RUN")
        yield folder


def fit(run: str, *options: str, pause: float = 0.0) -> "subprocess.Popen[str]":
    """Type `brats fit --trainer.devices 2`."""
    command = [sys.executable, "-W", "ignore", "-m", "brats_lightning", "fit", "--config=two.yaml", f"--run={run}"]
    return subprocess.Popen(
        [*command, "--trainer.devices=2", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PAUSE": str(pause)},
    )


def end_of(process: "subprocess.Popen[str]", *, seconds: float = 180) -> tuple[int, str]:
    """Exit code, and what was said."""
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, said


def until(happened: Callable[[], bool], process: "subprocess.Popen[str]", *, seconds: float = 120) -> None:
    """Wait for something that a running process does."""
    limit = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit
        time.sleep(0.02)


def seen(run: str, rank: int) -> list[Any]:
    path = Path(run) / f"seen-{rank}.txt"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rows(run: str) -> list[dict[str, str]]:
    with (Path(run) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def stored(run: str) -> dict[str, Any]:
    checkpoint: dict[str, Any] = torch.load(Path(run) / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], *, within: float = 0.0) -> bool:
    return one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], rtol=within, atol=within) for name in one
    )


@pytest.fixture(scope="module")
def uncut(home: Path) -> str:
    """A run of two processes."""
    code, said = end_of(fit("uncut"))
    assert code == 0, said
    assert "2 processes on one node: a step is 2 samples, a batch of 1 from each" in said
    return "uncut"


def test_both_have_the_same_weights_and_other_samples_and_random_numbers(uncut: str) -> None:
    first, second = (torch.load(f"{uncut}/weights-{rank}.pt", weights_only=True) for rank in range(2))
    assert same(first, second)
    steps = [seen(uncut, rank) for rank in range(2)]
    assert [len(each) for each in steps] == [EPOCHS * STEPS] * 2
    for one, other in zip(*steps, strict=True):
        assert one[:3] == other[:3]
        assert one[4] != other[4]
        assert one[5] != other[5]


def test_they_do_what_one_process_does_with_their_batches_in_one(uncut: str, home: Path) -> None:
    os.environ.pop("BRATS_RUN", None)
    main(["fit", "--config=two.yaml", "--run=alone", "--data.batch_size=2"])
    together = [first[3] + second[3] for first, second in zip(seen(uncut, 0), seen(uncut, 1), strict=True)]
    assert together == [step[3] for step in seen("alone", 0)]
    assert same(stored(uncut)["state_dict"], stored("alone")["state_dict"], within=1e-4)
    for one, other in zip(rows(uncut), rows("alone"), strict=True):
        assert one.keys() == other.keys()
        compared = [name for name in one if one[name] and name != "train/loss_step"]  # each process has its own
        assert [float(one[name]) for name in compared] == pytest.approx(
            [float(other[name]) for name in compared], rel=1e-3, abs=1e-3
        )
    assert rows(uncut)[-1]["val/loss"]


def test_a_signal_to_one_stops_both_and_they_go_on_as_if_nothing_had_happened(uncut: str, home: Path) -> None:
    process = fit("cut", pause=0.2)
    until(lambda: len(seen("cut", 0)) > STEPS, process)
    process.send_signal(signal.SIGUSR1)
    code, said = end_of(process)
    assert code == 75, said
    assert "go on with: brats fit --run cut --ckpt_path auto" in said
    steps = stored("cut")["global_step"]
    assert STEPS < steps < EPOCHS * STEPS
    assert [len(seen("cut", rank)) for rank in range(2)] == [steps] * 2  # nobody has begun another one
    code, said = end_of(fit("cut", "--ckpt_path=auto"))
    assert code == 0, said
    for rank in range(2):
        assert seen("cut", rank) == seen(uncut, rank)
    expected, found = stored(uncut), stored("cut")
    assert same(expected["state_dict"], found["state_dict"])
    for key in ("optimizer_states", "lr_schedulers", "train_loss"):
        assert str(expected[key]) == str(found[key])
    assert rows("cut") == rows(uncut)


def test_three_cases_are_validated_as_by_one_process_and_a_death_ends_the_run(home: Path) -> None:
    """With batch normalisation, whose wrapper would have one process wait for the other's second case."""
    process = fit("killed", *BATCH_NORM)
    until(lambda: len(seen("killed", 0)) > 3 * STEPS, process)
    os.kill(int(Path("killed/process-1.txt").read_text()), signal.SIGKILL)
    code, said = end_of(process, seconds=60)
    assert code == 1, said
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("brats: another process of this run has ended: see what it wrote")
    os.environ.pop("BRATS_RUN", None)
    main(["validate", "--run=killed", "--ckpt_path=last", "--grid=preprocessed", "--trainer.devices=1"])
    with Path("killed/scores_validation_last_preprocessed.csv").open(newline="") as file:
        scores = list(csv.DictReader(file))
    assert len({row["case"] for row in scores}) == 3
    (logged,) = [row for row in rows("killed") if int(row["step"]) + 1 == stored("killed")["global_step"]]
    for region in ("ET", "NCR", "WT"):
        mean = sum(float(row["dice"]) for row in scores if row["region"] == region) / 3
        assert float(logged[f"val/dice_{region}"]) == pytest.approx(mean, abs=1e-5)
