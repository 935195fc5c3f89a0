"""A model of one weight whose training only ever makes it worse, and small networks, held to hand-made runs."""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.cli import ReduceLROnPlateau
from torch import Tensor, nn
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from brats_lightning.errors import ConfigError
from brats_lightning.model.callbacks import BestCheckpoint, LastCheckpoint
from brats_lightning.model.ema import ExponentialMovingAverage
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.restore_best import KEY, OptimizerState, RestoreBestWeights

TrainerOf = Callable[..., Trainer]
CasesOf = Callable[..., Any]
VALUES = [5.0, 4.0, 6.0, 3.0, 3.5, 3.0, 3.2, 2.0]
"""Of validations in their order; those that are worse than the best before: 2, 4, 6."""
pytestmark = pytest.mark.filterwarnings(
    "ignore:You defined a `validation_step`", "ignore:.*is not empty", "ignore:.*ended before the epoch ended"
)


class Scripted(Callback):
    """Logs a written value at each validation, and notes what was there before and after every epoch."""

    def __init__(self, values: Sequence[float] = VALUES) -> None:
        self.values = list(values)
        self.seen = 0
        self.validated: list[dict[str, Tensor]] = []
        self.states: list[dict[str, Any]] = []
        self.begun: list[tuple[dict[str, Tensor], float, dict[Any, Any]]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen = state_dict["seen"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        (optimizer,) = trainer.optimizers
        state = copy.deepcopy(optimizer.state_dict()["state"])
        self.begun.append((state_of(pl_module), optimizer.param_groups[0]["lr"], state))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            pl_module.log("val/scripted", 0.0)
            return
        self.validated.append(state_of(pl_module))
        self.states.append(copy.deepcopy(trainer.optimizers[0].state_dict()["state"]))
        pl_module.log("val/scripted", self.values[self.seen])
        self.seen += 1


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(one: Any, other: Any) -> bool:
    """Bit for bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def module_of(**settings: Any) -> SegmentationModule:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(4, 4, 1), nn.BatchNorm3d(4), nn.Conv3d(4, 4, 1))
    optimizer = partial(torch.optim.Adam, lr=0.05)
    chosen: dict[str, Any] = {"optimizer": optimizer, "scores": ["dice"]} | settings
    return SegmentationModule(network, DiceFocal(), **chosen)


def restoring(**settings: Any) -> RestoreBestWeights:
    return RestoreBestWeights(**{"monitor": "val/scripted"} | settings)


@pytest.fixture
def fit(trainer_of: TrainerOf, cases_of: CasesOf, tmp_path: Path) -> Callable[..., Trainer]:
    """Trains a small network of known validation values."""

    def train(*callbacks: Callback, folder: str = "run", go_on_from: str | None = None, **settings: Any) -> Trainer:
        model = {name: settings.pop(name) for name in ("scheduler", "optimizer") if name in settings}
        trainer = trainer_of(
            **{"max_epochs": len(VALUES), "enable_checkpointing": True, "default_root_dir": tmp_path / folder}
            | settings,
            callbacks=[*callbacks, LastCheckpoint(minutes=None)],
        )
        checkpoint = None if go_on_from is None else tmp_path / folder / "checkpoints" / go_on_from
        trainer.fit(module_of(**model), cases_of(6), cases_of(2), ckpt_path=checkpoint, weights_only=True)
        return trainer

    return train


@pytest.mark.parametrize("optimizer", ["keep", "restore", "reset"])
def test_after_a_worse_epoch_training_goes_on_from_the_best_with_less(
    fit: Callable[..., Trainer], optimizer: OptimizerState
) -> None:
    script = Scripted()
    fit(restoring(factor=0.5, optimizer=optimizer), script)
    best, rate = 0, 0.05
    for epoch, value in enumerate(VALUES[:-1]):
        worse = value > VALUES[best]
        best = epoch if value < VALUES[best] else best
        rate *= 0.5 if worse else 1
        weights, learning_rate, state = script.begun[epoch + 1]
        assert same(weights, script.validated[best if worse else epoch]), epoch
        assert learning_rate == pytest.approx(rate, rel=1e-12)
        expected = script.states[best if worse and optimizer == "restore" else epoch]
        assert same(state, {} if worse and optimizer == "reset" else expected), epoch
    assert rate == 0.05 / 8
    assert any("running_mean" in name for name in script.validated[0])
    assert not same(script.validated[1], script.validated[2])


def test_growing_values_are_the_better_ones_where_that_is_said(fit: Callable[..., Trainer]) -> None:
    script = Scripted([-value for value in VALUES])
    fit(restoring(mode="max"), script)
    assert [begun[1] for begun in script.begun] == [0.05, 0.05, 0.05, 0.025, 0.025, 0.0125, 0.0125, 0.00625]


def test_learning_rates_stay_above_their_least_and_never_grow(fit: Callable[..., Trainer]) -> None:
    script = Scripted([1, 2, 2, 2])
    fit(restoring(factor=0.1, min_lr=0.002), script, max_epochs=4)
    assert [begun[1] for begun in script.begun] == pytest.approx([0.05, 0.05, 0.005, 0.002])
    script = Scripted([1, 2, 2])
    fit(restoring(min_lr=0.1), script, max_epochs=3, folder="below")
    assert [begun[1] for begun in script.begun] == [0.05] * 3


@pytest.mark.parametrize("strange", [math.nan, math.inf])
def test_what_is_no_number_is_worse_and_never_the_best(fit: Callable[..., Trainer], strange: float) -> None:
    script = Scripted([strange, 2, strange, 1.5])
    fit(restoring(), script, max_epochs=4)
    assert [begun[1] for begun in script.begun] == [0.05, 0.05, 0.05, 0.025]
    assert same(script.begun[1][0], script.validated[0])
    assert same(script.begun[3][0], script.validated[1])


def test_nothing_goes_back_where_nothing_was_validated(fit: Callable[..., Trainer], cases_of: CasesOf) -> None:
    """In the check before training, whose value is the best of all, and in epochs between validations."""
    script = Scripted([1, 2, 1])
    trainer = fit(restoring(), script, max_epochs=4, check_val_every_n_epoch=2, num_sanity_val_steps=1)
    assert [begun[1] for begun in script.begun] == [0.05] * 4
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.025
    assert same(state_of(trainer.lightning_module), script.validated[0])
    script.values = [9.0, 9.0, 9.0]  # of a validation that is none of training's
    trainer.validate(trainer.lightning_module, cases_of(2), verbose=False)
    assert same(state_of(trainer.lightning_module), script.validated[0])


def test_a_validation_in_mid_epoch_counts_and_gathered_gradients_are_dropped(fit: Callable[..., Trainer]) -> None:
    script = Scripted([1, 2, 3, 0.5])
    before: list[tuple[dict[str, Tensor], bool]] = []

    class Steps(Callback):
        def on_before_backward(self, trainer: Any, pl_module: LightningModule, loss: Tensor) -> None:  # noqa: ARG002
            before.append((state_of(pl_module), any(value.grad is not None for value in pl_module.parameters())))

    fit(
        restoring(), script, Steps(),
        max_epochs=2, val_check_interval=1, accumulate_grad_batches=2, limit_train_batches=2,
    )  # fmt: skip
    weights = {"network.0.weight", "network.2.bias"}
    best = {name: script.validated[0][name] for name in weights}
    assert not same({name: script.validated[1][name] for name in weights}, best)
    assert same({name: before[3][0][name] for name in weights}, best)
    assert [gathered for _, gathered in before] == [False, True, False, False]
    assert [begun[1] for begun in script.begun] == [0.05, 0.025]


def test_best_checkpoints_hold_what_was_validated_and_last_ones_what_goes_on(
    fit: Callable[..., Trainer], tmp_path: Path
) -> None:
    class Other(Callback):
        """Finds each epoch better than the one before."""

        def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            pl_module.log("val/other", float(trainer.current_epoch))

    for name, values in (("worse", [1.0, 2.0]), ("better", [2.0, 1.0])):
        script = Scripted(values)
        fit(restoring(), BestCheckpoint(monitor="val/other"), script, Other(), max_epochs=2, folder=name)
        kept = {
            file: torch.load(tmp_path / name / "checkpoints" / f"{file}.ckpt", weights_only=True)
            for file in ("best", "last")
        }
        assert same(kept["best"]["state_dict"], script.validated[1])
        assert same(kept["last"]["state_dict"], script.validated[0 if name == "worse" else 1])
        assert "weights" not in kept["last"][KEY]  # which are those of its state_dict
        assert ("weights" in kept["best"][KEY]) is (name == "worse")


def left_of(trainer: Trainer) -> dict[str, Any]:
    (optimizer,) = trainer.optimizers
    return {"weights": state_of(trainer.lightning_module), "optimizer": copy.deepcopy(optimizer.state_dict())}


@pytest.mark.parametrize("optimizer", ["keep", "restore", "reset"])
@pytest.mark.parametrize("validated", [{}, {"check_val_every_n_epoch": 2}], ids=["each epoch", "every other"])
def test_a_run_that_is_gone_on_with_after_an_epoch_is_the_uncut_one(
    fit: Callable[..., Trainer], tmp_path: Path, optimizer: OptimizerState, validated: dict[str, Any]
) -> None:
    def callbacks() -> list[Callback]:
        return [restoring(optimizer=optimizer), Scripted([3, 4, 2, 5, 4])]

    uncut = left_of(fit(*callbacks(), max_epochs=5, folder="uncut", **validated))
    for epochs in (2, 3):
        folder = f"cut-{epochs}"
        fit(*callbacks(), max_epochs=epochs, folder=folder, **validated)
        trainer = fit(*callbacks(), max_epochs=5, folder=folder, go_on_from="last.ckpt", **validated)
        assert same(left_of(trainer), uncut), epochs
        files = [
            torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True) for name in ("uncut", folder)
        ]
        assert same(files[0].get(KEY), files[1].get(KEY))


def test_a_best_checkpoint_of_a_worse_epoch_goes_on_from_the_best_too(fit: Callable[..., Trainer]) -> None:
    def callbacks(epochs: int) -> list[Callback]:
        best = BestCheckpoint(monitor="val/scripted", mode="max")
        return [restoring(optimizer="restore"), best, Scripted([1, 2, 0.5][:epochs])]

    uncut = left_of(fit(*callbacks(3), max_epochs=3, folder="uncut"))
    fit(*callbacks(2), max_epochs=2, folder="cut")
    again = fit(*callbacks(3), max_epochs=3, folder="cut", go_on_from="best.ckpt")
    assert same(left_of(again), uncut)


@pytest.mark.parametrize("steps", [1, 3, 4, 6, 7, 10])
def test_a_run_that_ends_in_mid_epoch_goes_on_as_the_uncut_one(
    trainer_of: TrainerOf, cases_of: CasesOf, tmp_path: Path, steps: int
) -> None:
    """Of four epochs of three equal batches, validated after the second of each."""
    batch: Any = next(iter(cases_of(2)))
    batches: Any = DataLoader(cast("Any", [batch] * 3), batch_size=None)

    def train(folder: str, steps: int) -> dict[str, Any]:
        last = tmp_path / folder / "checkpoints" / "last.ckpt"
        trainer = trainer_of(
            max_epochs=-1,
            max_steps=steps,
            val_check_interval=2,
            enable_checkpointing=True,
            default_root_dir=tmp_path / folder,
            callbacks=[restoring(optimizer="restore"), Scripted([3, 4, 2, 5, 4, 3]), LastCheckpoint(minutes=None)],
        )
        trainer.fit(module_of(), batches, cases_of(2), ckpt_path=last if last.exists() else None, weights_only=True)
        return left_of(trainer) | {KEY: torch.load(last, weights_only=True).get(KEY)}

    uncut = train("uncut", 12)
    train("cut", steps)
    assert same(train("cut", 12), uncut)


def test_all_processes_do_what_the_first_one_s_value_says(
    fit: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this were the second of two, whose own values fall."""
    first = iter([1.0, 2.0, 0.5])
    monkeypatch.setattr("brats_lightning.model.restore_best.gathered", lambda value: [next(first), value])
    script = Scripted([3.0, 2.0, 9.0])
    trainer = fit(restoring(), script, max_epochs=3)
    assert [begun[1] for begun in script.begun] == [0.05, 0.05, 0.025]
    assert same(script.begun[2][0], script.validated[0])
    assert same(state_of(trainer.lightning_module), script.validated[2])


@pytest.mark.parametrize(
    ("others", "settings", "sentence"),
    [
        ([ExponentialMovingAverage()], {}, "ExponentialMovingAverage validates an average .* leave one of them out"),
        ([WeightAveraging()], {}, "WeightAveraging validates an average"),
        ([], {"scheduler": partial(StepLR, step_size=1)}, "model.scheduler StepLR sets it, too"),
        ([], {"scheduler": partial(ReduceLROnPlateau, monitor="val/loss")}, "model.scheduler ReduceLROnPlateau"),
    ],
)
def test_what_would_undo_it_is_refused(
    fit: Callable[..., Trainer], others: list[Callback], settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        fit(restoring(), Scripted(), *others, max_epochs=1, **settings)


def test_a_value_that_is_not_logged_is_refused_with_those_that_are(fit: Callable[..., Trainer]) -> None:
    with pytest.raises(ConfigError, match=r"monitors val/nothing, and validation logs val/accuracy, val/dice_ED, .*"):
        fit(RestoreBestWeights(monitor="val/nothing"), max_epochs=1)


def test_an_optimiser_state_that_was_not_kept_is_missed_at_once(fit: Callable[..., Trainer]) -> None:
    fit(restoring(), Scripted(), max_epochs=3, check_val_every_n_epoch=2)
    with pytest.raises(ConfigError, match="go on with keep or reset"):
        fit(restoring(optimizer="restore"), Scripted(), go_on_from="last.ckpt", max_epochs=5, check_val_every_n_epoch=2)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"monitor": "train/loss_epoch"}, "monitor must be a value of validation, val/…, found train/loss_epoch"),
        ({"mode": "least"}, "mode must be min or max, found least"),
        ({"factor": 0}, "factor must be above 0 and at most 1, found 0"),
        ({"factor": 1.5}, "factor must be above 0 and at most 1, found 1.5"),
        ({"min_lr": -1}, "min_lr must be a number from 0, found -1"),
        ({"optimizer": "drop"}, "optimizer must be keep, restore or reset, found drop"),
    ],
)
def test_settings_without_sense_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"RestoreBestWeights: {sentence}"):
        RestoreBestWeights(**wrong)


def test_one_line_says_what_went_back(fit: Callable[..., Trainer], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "brats_lightning"):
        fit(restoring(), Scripted([2, 1, 1.5]), max_epochs=3)
    said = [record.getMessage() for record in caplog.records if record.name == "brats_lightning"]
    assert said == ["epoch 2: val/scripted 1.5 is worse than 1 of epoch 1, whose weights are back; learning rate 0.025"]
