"""On a trainer of Lightning's: its counters are what is read."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from brats_lightning.reports.validation.times import is_drawn

BATCHES = 8


class Nothing(LightningModule):
    """Learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:  # noqa: ARG002
        return self.weight.sum() * 0

    def validation_step(self, batch: torch.Tensor, batch_index: int) -> None:
        """Scores nothing."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


class Watch(Callback):
    """Notes in which epochs, and after how many batches, a validation is drawn."""

    def __init__(self, every_n_epochs: int | None) -> None:
        self.every_n_epochs = every_n_epochs
        self.drawn: list[tuple[int, int]] = []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if is_drawn(trainer, every_n_epochs=self.every_n_epochs):
            self.drawn.append((trainer.current_epoch + 1, trainer.fit_loop.epoch_loop.batch_idx + 1))


@pytest.mark.parametrize(
    ("settings", "every", "drawn"),
    [
        ({"max_epochs": 2, "val_check_interval": 0.25}, 1, [(1, 8), (2, 8)]),
        ({"max_epochs": 2, "val_check_interval": 3}, 1, [(1, 6), (2, 6)]),
        ({"max_epochs": 3, "val_check_interval": 0.5}, 2, [(1, 8), (2, 8), (3, 8)]),
        ({"max_epochs": 4, "check_val_every_n_epoch": 2}, 3, [(2, 8), (4, 8)]),
        ({"max_steps": 12, "max_epochs": -1, "val_check_interval": 2}, 1, [(1, 8), (2, 4)]),
        ({"max_epochs": 6, "check_val_every_n_epoch": None, "val_check_interval": 12}, 3, [(2, 4), (3, 8), (6, 8)]),
    ],
)  # fmt: skip
def test_of_several_validations_in_an_epoch_the_last_is_drawn(
    tmp_path: Path, settings: dict[str, Any], every: int, drawn: list[tuple[int, int]]
) -> None:
    watch = Watch(every)
    trainer = Trainer(
        default_root_dir=tmp_path, logger=False, callbacks=[watch], accelerator="cpu", enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False, **settings,
    )  # fmt: skip
    loader: Any = DataLoader(torch.arange(BATCHES))  # type: ignore[arg-type]
    trainer.fit(Nothing(), loader, loader)
    assert watch.drawn == drawn
