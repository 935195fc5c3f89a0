from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.losses import DiceFocalLoss
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader

from brats_lightning.model.callbacks import LastCheckpoint
from brats_lightning.model.early_stopping import StaysStopped
from brats_lightning.model.module import SegmentationModule

pytestmark = pytest.mark.filterwarnings("ignore:.*exists and is not empty")


@pytest.fixture
def fit(trainer_of: Callable[..., Any], cases_of: Callable[..., DataLoader[Any]], tmp_path: Path) -> Callable[..., int]:
    """Trains a network that cannot get better, or goes on with it; gives the number of epochs that it then has."""

    def train(*, patience: int, goes_on: bool = False) -> int:
        torch.manual_seed(0)
        module = SegmentationModule(
            torch.nn.Conv3d(4, 4, 1),
            DiceFocalLoss(softmax=True, to_onehot_y=True),
            optimizer=lambda weights: torch.optim.SGD(weights, lr=0),
        )
        stopping = EarlyStopping(monitor="val/loss", patience=patience)
        trainer = trainer_of(
            max_epochs=20, enable_checkpointing=True, callbacks=[stopping, StaysStopped(), LastCheckpoint()]
        )
        checkpoint = str(tmp_path / "checkpoints" / "last.ckpt") if goes_on else None
        trainer.fit(module, cases_of(), cases_of(), ckpt_path=checkpoint, weights_only=True)
        return int(trainer.global_step) // 2  # batches of an epoch

    return train


def test_a_run_that_has_stopped_early_stays_as_it_is(fit: Callable[..., int]) -> None:
    assert fit(patience=2) == 3
    assert fit(patience=2, goes_on=True) == 3
    assert fit(patience=2, goes_on=True) == 3


def test_more_patience_lets_it_go_on(fit: Callable[..., int]) -> None:
    assert fit(patience=2) == 3
    assert fit(patience=5, goes_on=True) == 6
