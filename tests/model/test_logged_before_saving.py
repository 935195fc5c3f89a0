"""A run that is killed right after a checkpoint has logged everything up to it."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import UNet
from pytorch_lightning import Trainer

from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.model.callbacks import LastCheckpoint
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule

EPOCHS = 2


def values(folder: Path, name: str) -> list[str]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [row[name] for row in csv.DictReader(file) if row.get(name)]


@pytest.mark.filterwarnings("ignore:.*is not empty")
def test_the_values_of_an_epoch_are_on_the_disk_before_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases_of: Callable[..., Any], trainer_of: Callable[..., Trainer]
) -> None:
    seen: list[tuple[int, bool]] = []
    flushed: list[str] = []
    fsync = os.fsync

    def watch(file: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{file}").readlink().name)
        fsync(file)

    def save(self: Trainer, *_: object, **__: object) -> None:
        seen.append((len(values(tmp_path, "train/loss_epoch")), flushed[-1:] == ["metrics.csv"]))

    monkeypatch.setattr(os, "fsync", watch)
    monkeypatch.setattr(Trainer, "save_checkpoint", save)
    module = SegmentationModule(
        UNet(3, 4, 4, channels=(4, 8), strides=(2,)), DiceFocal(), optimizer=torch.optim.Adam, scores=["dice"]
    )
    trainer = trainer_of(
        max_epochs=EPOCHS,
        enable_checkpointing=True,
        callbacks=[LastCheckpoint()],
        logger=MetricsCsv(tmp_path),
        log_every_n_steps=1,
    )
    trainer.fit(module, cases_of(), cases_of())
    assert seen == [(epoch, True) for epoch in range(1, EPOCHS + 1)]
    assert len(values(tmp_path, "train/loss_epoch")) == EPOCHS  # Lightning's own logging adds no row
