"""A run that was stopped after any of its batches, and gone on with, is the run that was not stopped."""

import itertools
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import UNet
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.cli import ReduceLROnPlateau
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.utils.data import DataLoader

from brats_lightning.cluster import signals
from brats_lightning.cluster.signals import Stopped
from brats_lightning.data.feeding.loader import ResidentLoader
from brats_lightning.data.feeding.resident import ResidentCase
from brats_lightning.data.order import ShuffledDraws
from brats_lightning.data.slices import Place, slice_of
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED, SPACING
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.model.callbacks import BestCheckpoint, LastCheckpoint
from brats_lightning.model.checkpoint_files import WholeCheckpoints
from brats_lightning.model.ema import ExponentialMovingAverage
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.random_state import RandomState
from brats_lightning.model.restore_best import RestoreBestWeights
from brats_lightning.model.slice_wise import SliceWise

EPOCHS, BATCHES = 2, 5
"""Of every run here, unless it is said otherwise; a batch is two samples, the last one of an epoch a single one."""
PLATEAU = partial(ReduceLROnPlateau, monitor="val/loss", threshold=0.3, patience=0, factor=0.5)
HALF = {"val_check_interval": 2}
SETTINGS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "validated in mid-epoch, and not at its end": HALF,
    "validated every other epoch": {"check_val_every_n_epoch": 2},
    "validated every seven batches": {"check_val_every_n_epoch": None, "val_check_interval": 7},
    "not validated": {"limit_val_batches": 0},
    "gradients of two batches": {"accumulate_grad_batches": 2},
    "gradients of two batches, validated in mid-epoch": {"accumulate_grad_batches": 2, "val_check_interval": 3},
    "a schedule of steps": {"scheduler": partial(OneCycleLR, max_lr=0.05, total_steps=50), "interval": "step"},
    "a schedule of epochs": {"scheduler": partial(CosineAnnealingLR, T_max=EPOCHS)},
    "a plateau": {"scheduler": PLATEAU},
    "a plateau that is seen in mid-epoch": {"scheduler": PLATEAU, "val_check_interval": 3},
    "stopping early": {"patience": 1},
    "stopping early in mid-epoch": {"patience": 2} | HALF,
    "parts of epochs": {"limit_train_batches": 3},
    "steps instead of epochs": {"max_epochs": -1, "max_steps": 8},
    "steps, validated in mid-epoch": {"max_epochs": -1, "max_steps": 8, "val_check_interval": 2},
    "slices of the cases": {"flat": True},
    "back to the best weights": {"dwells": True, "max_epochs": 4},
    "steps and epochs": {"max_epochs": 2, "max_steps": 100, "patience": 5, "scheduler": PLATEAU},
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:.*is not empty",
        "ignore:.*could not find the monitored key",  # where steps end a run before it was validated
        "ignore:.*smaller than the logging interval",
        "ignore:You defined a `validation_step`",
        "ignore:Detected call of `lr_scheduler.step",  # PyTorch does not know of steps before a stop
    ),
]


class Diary(Callback):
    """What was seen, step by step, and the signal after one batch of this part of a run."""

    def __init__(self, *, stop: int | None = None) -> None:
        self.stop = stop
        self.seen: list[tuple[int, int, int, list[str], list[int]]] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        for logger in trainer.loggers:
            assert isinstance(logger, MetricsCsv)
            logger.go_on_from(trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,
        batch_idx: int,
    ) -> None:
        seen = trainer.global_step, trainer.current_epoch, batch_idx, batch[CASE], [int(seed) for seed in batch[SEED]]
        self.seen.append(seen)
        if len(self.seen) == self.stop:
            os.kill(os.getpid(), signal.SIGUSR1)


def cases(count: int = 4) -> list[ResidentCase]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(count):
        label = torch.randint(4, (1, 8, 8, 8), generator=generator).to(torch.uint8)
        image = (torch.randn((4, 8, 8, 8), generator=generator) + label).half()
        foreground: Any = None  # whole cases have none
        made.append(ResidentCase(f"case-{number}", image, label, torch.ones(3), foreground))
    return made


def slices() -> list[ResidentCase]:
    """Three coronal ones of each case."""
    made = []
    for case, index in itertools.product(cases(), (2, 3, 5)):
        place = Place(1, index)
        image, label = (slice_of(volume, place) for volume in (case.image, case.label))
        made.append(ResidentCase(f"{case.case} {index}", image, label, torch.ones(3), case.foreground))
    return made


def training_batches(*, flat: bool) -> ResidentLoader:
    samples = slices() if flat else cases()
    order = ShuffledDraws(len(samples), samples=2 * BATCHES - 1, seed=7)
    return ResidentLoader(samples, sampler=order, batch_size=2, device=torch.device("cpu"))


def validation_batches() -> Any:
    samples: Any = [
        {CASE: case.case, IMAGE: case.image.float(), LABEL: case.label, SPACING: case.spacing_mm} for case in cases(2)
    ]
    return DataLoader(samples)


def part_of_run(
    folder: Path,
    *,
    stop: int | None = None,
    scheduler: Any = None,
    interval: Any = "epoch",
    patience: int | None = None,
    flat: bool = False,
    dwells: bool = False,
    **settings: Any,
) -> tuple[bool, Diary]:
    """Begin a run, or go on with it: whether it was stopped, and what was seen of it."""
    signals.forget()
    last = folder / "checkpoints" / "last.ckpt"
    torch.manual_seed(99 if last.exists() else 3)
    network: Any = UNet(2 if flat else 3, 4, 4, channels=(4, 8), strides=(2,), dropout=0.3)
    network = SliceWise(network, planes=("coronal",)) if flat else network
    module = SegmentationModule(
        network,
        DiceFocal(),
        optimizer=partial(torch.optim.Adam, lr=0.02),
        scheduler=scheduler,
        scheduler_interval=interval,
        scores=["dice"],
    )
    diary = Diary(stop=stop)
    weights = RestoreBestWeights(mode="max", optimizer="restore") if dwells else ExponentialMovingAverage(0.5)
    callbacks = [diary, RandomState(), weights, LastCheckpoint(minutes=None)]
    if settings.get("limit_val_batches") != 0:
        callbacks.insert(3, BestCheckpoint())
    if patience is not None:
        callbacks.append(EarlyStopping("val/loss", patience=patience, min_delta=10))
    trainer = Trainer(
        **{"max_epochs": EPOCHS} | settings,
        callbacks=callbacks,
        plugins=[WholeCheckpoints()],
        logger=MetricsCsv(folder),
        log_every_n_steps=1,
        default_root_dir=folder,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )
    goes_on_from = last if last.exists() else None
    try:
        trainer.fit(
            module, training_batches(flat=flat), validation_batches(), ckpt_path=goes_on_from, weights_only=True
        )
    except Stopped:
        return True, diary
    return False, diary


def kept(folder: Path) -> dict[str, Any]:
    """What is left of a run, as text that shows each bit; Lightning forgets a score that nothing depends on."""
    stored = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    names = ("epoch", "global_step", "state_dict", "trained_weights", "optimizer_states", "lr_schedulers", "train_loss")
    left = {name: stored.get(name) for name in names}
    for name, state in stored["callbacks"].items():
        forgotten = {"current_score", "dirpath", "best_model_path", "kth_best_model_path", "best_k_models"}
        left[name] = {key: value for key, value in state.items() if key not in forgotten}
    return {name: exactly(value) for name, value in left.items()} | {"csv": (folder / "metrics.csv").read_text()}


def exactly(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: exactly(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [exactly(held) for held in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = (signal.SIGUSR1, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    signals.listen()
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    signals.forget()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_stop_after_any_batch_changes_nothing(name: str, tmp_path: Path) -> None:
    settings = SETTINGS[name]
    stopped, uncut = part_of_run(tmp_path / "uncut", **settings)
    assert not stopped
    expected = kept(tmp_path / "uncut")
    if settings.get("dwells"):  # or nothing is shown
        assert expected["optimizer_states"][0]["param_groups"][0]["lr"] < 0.02
    stops = 0
    for batch in range(1, len(uncut.seen) + 1):
        folder = tmp_path / f"stopped-{batch}"
        stopped, first = part_of_run(folder, stop=batch, **settings)
        stops += stopped
        seen = first.seen
        if stopped:
            stopped, second = part_of_run(folder, **settings)
            assert not stopped
            seen += second.seen
        assert seen == uncut.seen, batch
        found = kept(folder)
        assert {key for key in expected if expected[key] != found[key]} == set(), batch
    assert stops > 1


def test_a_run_that_is_stopped_again_and_again_is_the_uncut_one(tmp_path: Path) -> None:
    part_of_run(tmp_path / "uncut")
    parts = 1
    while part_of_run(tmp_path / "cut", stop=2)[0]:
        parts += 1
    assert parts > EPOCHS
    assert kept(tmp_path / "cut") == kept(tmp_path / "uncut")


@pytest.mark.parametrize("steps", range(1, 7))
def test_a_run_that_is_given_more_steps_is_one_that_had_them_from_the_beginning(tmp_path: Path, steps: int) -> None:
    """But for the mean loss of an epoch that was over too soon, which was logged."""
    _, uncut = part_of_run(tmp_path / "uncut", max_epochs=-1, max_steps=8)
    _, first = part_of_run(tmp_path / "cut", max_epochs=-1, max_steps=steps)
    _, second = part_of_run(tmp_path / "cut", max_epochs=-1, max_steps=8)
    assert first.seen + second.seen == uncut.seen
    expected, found = kept(tmp_path / "uncut"), kept(tmp_path / "cut")
    assert {key for key in expected if expected[key] != found[key]} <= {"csv"}
