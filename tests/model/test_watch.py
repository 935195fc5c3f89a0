from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.labels import IMAGE, LABEL
from brats_lightning.model.callbacks import LastCheckpoint
from brats_lightning.model.compiled import Loss
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.watch import Watch, require_finite

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:.*is not empty")


def loss(value: float, foreign: int = 0) -> Loss:
    return Loss(torch.tensor(value), torch.tensor(foreign, dtype=torch.uint8), 4)


def module_of(**settings: Any) -> SegmentationModule:
    torch.manual_seed(0)
    return SegmentationModule(nn.Conv3d(4, 4, 1), DiceFocal(), **settings)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_the_first_bad_batch_of_those_unread_is_named(value: float) -> None:
    watch = Watch("labels")
    for step, each in enumerate([1.0, 2.0, value, float("nan")]):
        watch.add(loss(each), [f"a{step}", f"b{step}"], step=step)
    assert len(watch) == 4
    with pytest.raises(BratsError, match=rf"^the loss is {value} at step 2, for a2, b2: training stops"):
        watch.read()
    assert watch.loss == 2.0
    watch.read()  # told once


def test_a_foreign_label_is_told_before_its_loss() -> None:
    watch = Watch("labels")
    watch.add(loss(float("nan"), 5), ["a"], step=0)
    with pytest.raises(ConfigError, match="a: the label CC needs a network with 6 output channels, found 4"):
        watch.read()


def test_weights_are_looked_at(cases_of: Any) -> None:
    network = nn.Conv3d(4, 4, 1)
    require_finite(network, step=3)
    network.bias.data[1] = float("nan")  # type: ignore[union-attr]
    with pytest.raises(BratsError, match="weights are not finite after step 3"):
        require_finite(network, step=3)


@pytest.mark.parametrize("when", ["at once", "at the end"])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, cases_of: Any, trainer_of: Any, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if when == "at the end":  # as on a GPU, where nobody looks at every step
        monkeypatch.setattr(Watch, "__len__", lambda _: 0)
        monkeypatch.setattr(SegmentationModule, "_looks_at_each", lambda *_: False)
    trainer_of(enable_checkpointing=True, callbacks=[LastCheckpoint()]).fit(module_of(), cases_of())
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    stored = checkpoint.read_bytes()
    samples: Any = cases_of().dataset
    samples[3][IMAGE][0, 0, 0, 0] = float("nan")
    trainer = trainer_of(enable_checkpointing=True, callbacks=[LastCheckpoint()], max_epochs=2)
    with pytest.raises(BratsError, match=r"^the loss is nan at step 3, for case-2, case-3: "):
        trainer.fit(module_of(), DataLoader(samples, batch_size=2), ckpt_path=checkpoint, weights_only=True)
    assert checkpoint.read_bytes() == stored


def test_weights_that_are_not_finite_are_not_stored(tmp_path: Path, cases_of: Any, trainer_of: Any) -> None:
    module = module_of(optimizer=lambda weights: torch.optim.SGD(weights, lr=float("inf")))
    trainer = trainer_of(enable_checkpointing=True, callbacks=[LastCheckpoint()], limit_train_batches=1)
    with pytest.raises(BratsError, match="weights are not finite after step 1"):
        trainer.fit(module, cases_of())
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_cavity_wants_a_fourth_region(cases_of: Any, trainer_of: Any) -> None:
    cases = cases_of(labels=(0, 1, 2, 3, 4))
    refused = SegmentationModule(nn.Conv3d(4, 3, 1), DiceFocal("sigmoid"), outputs="regions")
    with pytest.raises(ConfigError, match=r"case-0, case-1: the label RC needs a fourth output channel"):
        trainer_of().fit(refused, cases)
    with pytest.raises(ConfigError, match=r"case-0, case-1: the label RC needs a fourth output channel"):
        trainer_of().validate(refused, cases, verbose=False)
    fitting = SegmentationModule(nn.Conv3d(4, 4, 1), DiceFocal("sigmoid"), outputs="regions", regions=["WT", "RC"])
    trainer_of().fit(fitting, cases, cases)
    assert cases.dataset[0][LABEL].max() == 4
