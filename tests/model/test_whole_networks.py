from types import SimpleNamespace
from typing import Any

import pytest
from pytorch_lightning import Callback, LightningModule, strategies

from brats_lightning.errors import ConfigError
from brats_lightning.model.ema import ExponentialMovingAverage
from brats_lightning.model.restore_best import RestoreBestWeights
from brats_lightning.model.whole_networks import require_whole_networks


def trainer_with(strategy: str) -> Any:
    """A trainer as far as it is looked at, with a strategy of a class of Lightning's that is not set up."""
    chosen = getattr(strategies, strategy)
    return SimpleNamespace(strategy=chosen.__new__(chosen), lr_scheduler_configs=[], callbacks=[])


@pytest.mark.parametrize("strategy", ["FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"])
@pytest.mark.parametrize("callback", [ExponentialMovingAverage(), RestoreBestWeights()])
def test_callbacks_that_need_whole_networks_refuse_to_have_them_shared_out(callback: Callback, strategy: str) -> None:
    name = type(callback).__name__
    with pytest.raises(ConfigError, match=rf"{name} .* whole networks, .*train with trainer\.strategy ddp"):
        callback.on_fit_start(trainer_with(strategy), LightningModule())


@pytest.mark.parametrize("strategy", ["SingleDeviceStrategy", "DDPStrategy"])
def test_those_that_give_every_process_the_whole_are_not_refused(strategy: str) -> None:
    require_whole_networks(trainer_with(strategy), why="A callback wants it")
