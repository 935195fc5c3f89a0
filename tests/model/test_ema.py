import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_avg_fn

from brats_lightning.errors import ConfigError
from brats_lightning.model.callbacks import BestCheckpoint, LastCheckpoint
from brats_lightning.model.ema import TRAINED, ExponentialMovingAverage
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule

TWO_NAMES = False
pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`", "ignore:.*is not empty")


class TwoNames(nn.Module):
    """Its weights have a second name each, as those of MONAI's DynUNet."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(4, 4, 1)
        self.norm = nn.BatchNorm3d(4)
        self.last = nn.Conv3d(4, 4, 1)
        self.again = nn.ModuleList([self.last, self.norm, self.first])

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.last(self.norm(self.first(image)))
        return logits


@pytest.fixture(params=[False, True], ids=["one name", "two names"], autouse=True)
def two_names(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here is about networks of either kind."""
    monkeypatch.setattr(sys.modules[__name__], "TWO_NAMES", request.param)


def module_of() -> SegmentationModule:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv3d(4, 4, 1), nn.BatchNorm3d(4), nn.Conv3d(4, 4, 1))
    network = TwoNames() if TWO_NAMES else plain
    return SegmentationModule(network, DiceFocal(), optimizer=lambda weights: torch.optim.Adam(weights, lr=0.05))


def state_of(module: SegmentationModule) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


class Diary(Callback):
    """Notes weights after each step, and those that are validated."""

    def __init__(self) -> None:
        self.trained: list[dict[str, Tensor]] = []
        self.validated: list[dict[str, Tensor]] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        self.trained.append(state_of(pl_module))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:  # noqa: ARG002
        self.trained.append(state_of(pl_module))

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:  # noqa: ARG002
        self.validated.append(state_of(pl_module))


def same(one: dict[str, Tensor], other: dict[str, Tensor], *, exactly: bool = True) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) if exactly else torch.allclose(value, other[name], atol=1e-6)
        for name, value in one.items()
    )


def averaged(states: list[dict[str, Tensor]], decay: float, *, warmup: bool) -> dict[str, Tensor]:
    mean = dict(states[0])
    for number, state in enumerate(states[1:], start=1):
        kept = min(decay, (1 + number) / (10 + number)) if warmup else decay
        for name, value in state.items():
            mean[name] = kept * mean[name] + (1 - kept) * value if value.is_floating_point() else value
    return mean


@pytest.mark.parametrize(("decay", "warmup"), [(0.9, False), (0.9, True), (0.2, True), (0.0, False)])
def test_the_mean_is_that_of_the_formula_and_is_what_is_validated(
    cases_of: Any, trainer_of: Any, decay: float, warmup: bool
) -> None:
    diary, module = Diary(), module_of()
    callbacks = [ExponentialMovingAverage(decay, warmup=warmup), diary]
    trainer_of(max_epochs=2, callbacks=callbacks).fit(module, cases_of(6), cases_of(2))
    for passed, epoch in enumerate(diary.validated, start=1):
        expected = averaged(diary.trained[: 1 + 3 * passed], decay, warmup=warmup)
        assert same(epoch, expected, exactly=False)
    assert same(state_of(module), diary.validated[-1])
    assert decay == 0 or not same(state_of(module), diary.trained[-1])


def test_training_itself_is_not_touched(cases_of: Any, trainer_of: Any) -> None:
    diaries = Diary(), Diary()
    for diary, more in zip(diaries, ([ExponentialMovingAverage(0.9)], []), strict=True):
        trainer_of(max_epochs=3, callbacks=[*more, diary]).fit(module_of(), cases_of(), cases_of(2))
    for one, other in zip(diaries[0].trained, diaries[1].trained, strict=True):
        assert same(one, other)


def test_checkpoints_hold_the_mean_and_a_continued_run_is_the_uncut_one(
    tmp_path: Path, cases_of: Any, trainer_of: Any
) -> None:
    def train(name: str, epochs: int, checkpoint: Path | None = None) -> dict[str, Any]:
        folder, diary = tmp_path / name, Diary()
        trainer = trainer_of(
            max_epochs=epochs,
            enable_checkpointing=True,
            default_root_dir=folder,
            callbacks=[ExponentialMovingAverage(0.5), diary, BestCheckpoint(monitor="val/accuracy"), LastCheckpoint()],
        )
        trainer.fit(module_of(), cases_of(), cases_of(2), ckpt_path=checkpoint, weights_only=True)
        stored = {
            kind: torch.load(folder / "checkpoints" / f"{kind}.ckpt", weights_only=True) for kind in ("best", "last")
        }
        assert any(same(stored["best"]["state_dict"], seen) for seen in diary.validated) or checkpoint is not None
        assert same(stored["last"]["state_dict"], diary.validated[-1])
        assert same(stored["last"][TRAINED], diary.trained[-1])
        return stored

    uncut = train("uncut", 4)
    train("cut", 2)
    continued = train("cut", 4, tmp_path / "cut" / "checkpoints" / "last.ckpt")
    for key in ("state_dict", TRAINED):
        assert same(continued["last"][key], uncut["last"][key])


def test_a_run_without_a_mean_can_go_on_with_one(tmp_path: Path, cases_of: Any, trainer_of: Any) -> None:
    before = trainer_of(max_epochs=1)
    before.fit(module_of(), cases_of())
    before.save_checkpoint(tmp_path / "before.ckpt")
    diary = Diary()
    trainer_of(max_epochs=2, callbacks=[ExponentialMovingAverage(), diary]).fit(
        module_of(), cases_of(), ckpt_path=tmp_path / "before.ckpt", weights_only=True
    )
    assert same(diary.trained[0], torch.load(tmp_path / "before.ckpt", weights_only=True)["state_dict"])


def test_scoring_after_training_sees_the_mean_still(cases_of: Any, trainer_of: Any) -> None:
    module, callback, diary = module_of(), ExponentialMovingAverage(0.9), Diary()
    trainer = trainer_of(callbacks=[callback, diary])
    trainer.fit(module, cases_of(), cases_of(2))
    mean = state_of(module)
    trainer.validate(module, cases_of(2), verbose=False)
    assert same(diary.validated[-1], mean)
    assert same(state_of(module), mean)


def test_gradients_that_are_still_gathered_move_nothing(cases_of: Any, trainer_of: Any) -> None:
    diary = Diary()
    module = module_of()
    trainer_of(accumulate_grad_batches=2, callbacks=[ExponentialMovingAverage(0.5, warmup=False), diary]).fit(
        module, cases_of(8)
    )
    steps = [diary.trained[0], diary.trained[2], diary.trained[4]]
    weights = {name for name, _ in module.named_parameters()}
    expected = averaged(steps, 0.5, warmup=False)
    found = state_of(module)
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in weights)


def test_it_is_the_mean_of_lightning(cases_of: Any, trainer_of: Any) -> None:
    """Which starts from the first step's weights, ours from those before it."""
    own, theirs, diary = module_of(), module_of(), Diary()
    trainer_of(max_epochs=2, callbacks=[WeightAveraging(avg_fn=get_ema_avg_fn(0.8), use_buffers=False), diary]).fit(
        theirs, cases_of(6)
    )
    trainer_of(max_epochs=2, callbacks=[ExponentialMovingAverage(0.8, warmup=False)]).fit(own, cases_of(6))
    difference = 0.8**6 * 1.0  # what is left of the weights before the first step, and of those after it
    for (name, mine), its in zip(own.named_parameters(), theirs.parameters(), strict=True):
        before, after = diary.trained[0][name], diary.trained[1][name]
        corrected = its + difference * before + (difference / 0.8 * 0.2 - difference / 0.8) * after
        assert torch.allclose(mine, corrected, atol=1e-6)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_other_decays_are_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match=f"decay must be 0 or more and below 1, found {decay}"):
        ExponentialMovingAverage(decay)
