import itertools
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceFocalLoss
from monai.networks.nets import SwinUNETR, UNet
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LRSchedulerCallable, ReduceLROnPlateau
from torch import nn
from torch.utils.data import DataLoader, Dataset

from brats_lightning.errors import CheckpointError, ConfigError
from brats_lightning.labels import CASE, IMAGE, LABEL, SPACING, region_labels
from brats_lightning.metrics.case_scores import score_case
from brats_lightning.metrics.empty import EMPTY_POLICIES
from brats_lightning.model.module import SegmentationModule

REGIONS = ("ET", "ED", "NCR", "WT", "TC")
SPACING_MM = (1.0, 1.0, 2.0)

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers", "ignore:.*LeafSpec", "ignore:.*logging interval", "ignore:.*is not empty"
)


class Boxes(Dataset[dict[str, Any]]):
    """Cases of nested boxes whose image shows the label, blurred by noise."""

    def __init__(self, cases: int = 2, *, size: int = 8, labels: int = 3) -> None:
        generator = torch.Generator().manual_seed(0)
        self.samples: list[dict[str, Any]] = []
        for case in range(cases):
            label = torch.zeros(1, size, size, size, dtype=torch.uint8)
            for value in range(1, labels + 1):
                label[:, value : size - 1 - case, value : size - value, value:-value] = value
            image = torch.stack([(label[0] == value).float() for value in range(4)])
            image += 0.3 * torch.randn(image.shape, generator=generator)
            self.samples.append({IMAGE: image, LABEL: label, CASE: f"case-{case}", SPACING: torch.tensor(SPACING_MM)})

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.samples[index]


def loss() -> nn.Module:
    chosen: nn.Module = DiceFocalLoss(softmax=True, to_onehot_y=True, include_background=False)
    return chosen


def pointwise(outputs: int = 4) -> nn.Module:
    """A network that looks at one voxel at a time."""
    return nn.Sequential(nn.Conv3d(4, 8, 1), nn.ReLU(), nn.Conv3d(8, outputs, 1))


class Still(nn.Module):
    """Learns nothing: a plateau from the second epoch on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + 0 * self.weight


def unet(inputs: int = 4, outputs: int = 4) -> nn.Module:
    network: nn.Module = UNet(3, inputs, outputs, channels=(4, 8, 8), strides=(2, 2))
    return network


def module_of(network: nn.Module | None = None, **settings: Any) -> SegmentationModule:
    torch.manual_seed(0)
    return SegmentationModule(network or pointwise(), loss(), **settings)


def trainer_of(folder: Path | None = None, **settings: Any) -> Trainer:
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": folder is not None,
        "default_root_dir": folder,
    }
    return Trainer(**(quiet | settings))


def loader_of(data: Dataset[dict[str, Any]] | None = None, *, batch_size: int = 2) -> DataLoader[dict[str, Any]]:
    return DataLoader(data or Boxes(), batch_size=batch_size)


def fit(module: SegmentationModule, data: Boxes | None = None, *, batch_size: int = 2, **settings: Any) -> Trainer:
    trainer = trainer_of(**({"max_epochs": 1, "num_sanity_val_steps": 0, "limit_val_batches": 0} | settings))
    trainer.fit(module, loader_of(data, batch_size=batch_size), loader_of(data))
    return trainer


def score(module: SegmentationModule, data: Boxes | None = None, *, stage: str = "test") -> Mapping[str, float]:
    run = trainer_of().test if stage == "test" else trainer_of().validate
    (logged,) = run(module, loader_of(data), verbose=False)
    return logged


def test_the_loss_of_one_batch_goes_down() -> None:
    module = module_of(optimizer=partial(torch.optim.Adam, lr=0.1))
    before = score(module, stage="val")
    fit(module, max_epochs=20)
    after = score(module, stage="val")
    assert after["val/loss"] < 0.5 * before["val/loss"]
    assert after["val/dice_mean_ET_ED_NCR"] > before["val/dice_mean_ET_ED_NCR"]


@pytest.mark.parametrize("stage", ["val", "test"])
def test_scores_are_those_of_each_case_scored_by_itself(stage: str) -> None:
    module, data = module_of(), Boxes(3)
    logged = score(module, data, stage=stage)
    expected = {}
    for sample in data.samples:
        with torch.no_grad():
            prediction = module(sample[IMAGE][None]).argmax(1)[0]
        expected[sample[CASE]] = score_case(
            prediction.numpy(),
            sample[LABEL][0].numpy(),
            spacing_mm=SPACING_MM,
            regions=region_labels(REGIONS),
            empty=EMPTY_POLICIES["brats"],
        )
    assert module.scores.rows == expected
    for name in next(iter(expected.values())):
        mean = np.mean([row[name] for row in expected.values()])
        assert logged[f"{stage}/{name}"] == pytest.approx(mean, rel=1e-6), name
    names = {f"{stage}/{score}_{region}" for region in REGIONS for score in ("dice", "iou", "hd95_mm")}
    trios = itertools.product(("dice", "iou", "hd95_mm"), ("ET_ED_NCR", "WT_TC_ET"))
    names |= {f"{stage}/{score}_mean_{trio}" for score, trio in trios}
    assert set(logged) == names | {f"{stage}/loss", f"{stage}/accuracy"}


def test_the_three_stages_have_one_loss() -> None:
    module, data = module_of(), Boxes()
    tested = score(module, data)
    trainer = fit(module, data)
    with torch.no_grad():
        (batch,) = loader_of(data)
        direct = loss()(module_of()(batch[IMAGE]), batch[LABEL])
    assert trainer.callback_metrics["train/loss_step"] == trainer.callback_metrics["train/loss_epoch"]
    logged = float(trainer.callback_metrics["train/loss_epoch"])
    assert logged == pytest.approx(tested["test/loss"]) == pytest.approx(float(direct))


def test_the_loss_is_the_mean_over_cases_however_they_were_batched() -> None:
    module, data = module_of(), Boxes(3)
    with torch.no_grad():
        losses = [float(loss()(module(batch[IMAGE]), batch[LABEL])) for batch in loader_of(data, batch_size=1)]
    assert score(module, data)["test/loss"] == pytest.approx(np.mean(losses))


def test_the_training_loss_of_an_epoch_is_the_mean_over_its_cases_however_they_were_batched() -> None:
    """Three cases in batches of two and one; nothing is learnt meanwhile."""
    data = Boxes(3)
    module = module_of(optimizer=partial(torch.optim.SGD, lr=0.0))
    with torch.no_grad():
        losses = [float(loss()(module(batch[IMAGE]), batch[LABEL])) for batch in loader_of(data, batch_size=1)]
    trainer = fit(module, data, max_epochs=2)
    assert float(trainer.callback_metrics["train/loss_epoch"]) == pytest.approx(np.mean(losses))
    assert float(trainer.callback_metrics["train/loss_step"]) == pytest.approx(losses[-1])
    assert set(trainer.callback_metrics) <= set(module.logged_names)


def test_scores_of_one_pass_do_not_reach_into_the_next() -> None:
    module = module_of()
    score(module, Boxes(3), stage="val")
    score(module, Boxes(1))
    assert list(module.scores.rows) == ["case-0"]


def test_own_regions_and_the_convention_of_empty_masks_are_kept() -> None:
    module = module_of(regions={"core": [1, 3], "RC": [4]}, empty="nan")
    logged = score(module)
    assert "test/dice_core" in logged
    assert math.isnan(logged["test/dice_RC"])


def test_regions_and_conventions_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model.regions, empty, scores or distances: unknown region XX"):
        module_of(regions=["XX"])
    with pytest.raises(ConfigError, match=r"unknown policy .*'zero': expected one of brats"):
        module_of(empty="zero")


def test_regions_that_the_outputs_cannot_give_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"outputs: tumour tells no tissues apart: .*found ET, ED, NCR, TC"):
        module_of(outputs="tumour")
    assert module_of(outputs="tumour", regions=["WT"]).scores.regions


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_windows_of_a_pointwise_network_are_the_whole_volume(overlap: float) -> None:
    data = Boxes(2, size=13)
    whole, windows = module_of(), module_of(inferer=SlidingWindowInferer((6, 5, 8), overlap=overlap, mode="gaussian"))
    expected = score(whole, data)
    found = score(windows, data)
    assert found == pytest.approx(expected, rel=1e-5)
    assert windows.scores.rows == whole.scores.rows


def test_windows_are_for_scoring_only() -> None:
    def refuse(*_arguments: object) -> torch.Tensor:
        raise AssertionError("training used the inferer")

    module = module_of()
    module.inferer = refuse
    fit(module)
    with pytest.raises(AssertionError, match="training used"):
        score(module)


@pytest.mark.parametrize(
    ("network", "data", "words"),
    [
        (pointwise(3), Boxes(), r"case-0, case-1: the label ET needs a network with 4 output channels, found 3"),
        (pointwise(4), Boxes(size=12, labels=5), r"the label CC needs a network with 6 output channels, found 4"),
        (pointwise(4), Boxes(size=16, labels=7), r"the label 7 needs a network with 8 output channels, found 4"),
        (nn.Conv3d(4, 4, 2, 2), Boxes(), r"images of \[8, 8, 8\] voxels into logits of \[4, 4, 4\]: choose a prep"),
        (unet(inputs=3), Boxes(), r"does not take images of shape \[2, 4, 8, 8, 8\]: .*to have 3 channels, but got 4"),
        (unet(), Boxes(size=9), r"does not take images of shape \[2, 4, 9, 9, 9\]: Sizes of tensors must match"),
        (SwinUNETR(4, 4, feature_size=12), Boxes(), r"\[2, 4, 8, 8, 8\]: .*must be divisible by 2\*\*5"),
    ],
)
@pytest.mark.parametrize("stage", [fit, score])
def test_a_network_that_does_not_fit_the_cases_is_told(
    network: nn.Module, data: Boxes, words: str, stage: Callable[[SegmentationModule, Boxes], object]
) -> None:
    with pytest.raises(ConfigError, match=words):
        stage(module_of(network), data)


def test_a_failure_in_the_midst_of_training_is_no_matter_of_settings() -> None:
    class Breaking(nn.Conv3d):
        calls = 0

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls > 1:
                raise RuntimeError("the machine is on fire")
            return super().forward(image)

    with pytest.raises(RuntimeError, match=r"^the machine is on fire$"):
        fit(module_of(Breaking(4, 4, 1)), batch_size=1)


def test_too_little_memory_is_told() -> None:
    class Huge(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
            raise torch.OutOfMemoryError

    with pytest.raises(ConfigError, match=r"a batch of \[2, 4, 8, 8, 8\] does not fit into the GPU's memory: lower"):
        score(module_of(Huge()))


def test_weights_of_another_network_are_told_in_one_sentence() -> None:
    with pytest.raises(CheckpointError, match=r"not those of the configured UNet: Missing key.*, and 1 more$") as error:
        module_of(unet()).load_state_dict(module_of(pointwise()).state_dict())
    assert len(str(error.value)) < 400
    with pytest.raises(CheckpointError, match=r"size mismatch for network.*shape.*8, 4, 3, 3, 3.*, and 1 more$"):
        module_of(unet()).load_state_dict(module_of(unet(outputs=3)).state_dict())


def test_a_checkpoint_is_tensors_and_plain_data_and_gives_the_network_back(tmp_path: Path) -> None:
    module = module_of(scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=1))
    fit(module).save_checkpoint(tmp_path / "last.ckpt")
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert set(stored["hyper_parameters"]) == {
        "auxiliary_weight",
        "distances",
        "empty",
        "encoder_weights",
        "learning_rate_scaling",
        "outputs",
        "regions",
        "scheduler_interval",
        "scores",
    }
    fresh = SegmentationModule(pointwise(), loss())
    fresh.load_state_dict(stored["state_dict"])
    image = Boxes()[0][IMAGE][None]
    assert torch.equal(fresh(image), module(image))


@pytest.mark.parametrize(
    ("scheduler", "interval", "rates"),
    [
        (None, "epoch", [1.0, 1.0, 1.0]),
        (partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5), "epoch", [0.5, 0.25, 0.125]),
        (partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5), "step", [0.25, 0.0625, 0.015625]),
        (partial(ReduceLROnPlateau, monitor="val/accuracy", factor=0.5, patience=0), "epoch", [1.0, 0.5, 0.25]),
    ],
)
def test_schedules_move_when_they_are_told_to(
    scheduler: LRSchedulerCallable | None, interval: Any, rates: list[float]
) -> None:
    found = []
    for epochs in (1, 2, 3):
        module = module_of(
            Still(),
            optimizer=partial(torch.optim.SGD, lr=1.0),
            scheduler=scheduler,
            scheduler_interval=interval,
        )
        trainer = fit(module, batch_size=1, max_epochs=epochs, limit_val_batches=1, num_sanity_val_steps=1)
        found.append(trainer.optimizers[0].param_groups[0]["lr"])
    assert found == rates


def test_a_schedule_that_watches_nothing_known_is_told() -> None:
    module = module_of(scheduler=partial(ReduceLROnPlateau, monitor="val/nothing"))
    with pytest.raises(Exception, match="val/nothing which is not available"):
        fit(module, limit_val_batches=1)


def train(folder: Path, *, epochs: int, checkpoint: Path | None = None) -> tuple[torch.Tensor, float]:
    module = module_of(
        optimizer=partial(torch.optim.Adam, lr=0.1),
        scheduler=partial(ReduceLROnPlateau, monitor="val/loss", threshold=0.5, patience=0, factor=0.5),
    )
    saving = [
        ModelCheckpoint(folder, filename="best", monitor="val/loss", enable_version_counter=False),
        ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]
    trainer = trainer_of(folder, max_epochs=epochs, callbacks=saving)
    trainer.fit(module, loader_of(), loader_of(), ckpt_path=checkpoint, weights_only=True)
    weights = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    return weights, trainer.optimizers[0].param_groups[0]["lr"]


@pytest.mark.parametrize("which", ["last", "best"])
def test_a_plateau_goes_on_where_a_run_was_stopped(tmp_path: Path, which: str) -> None:
    uncut, rate = train(tmp_path / "uncut", epochs=4)
    assert rate < 0.1
    train(tmp_path / "cut", epochs=2)
    assert torch.load(tmp_path / "cut" / f"{which}.ckpt", weights_only=True)["epoch"] == 1
    weights, same_rate = train(tmp_path / "cut", epochs=4, checkpoint=tmp_path / "cut" / f"{which}.ckpt")
    assert same_rate == rate
    assert torch.equal(weights, uncut)


def test_any_scores_are_logged_under_any_convention() -> None:
    module = SegmentationModule(
        torch.nn.Identity(), torch.nn.Identity(), scores=["dice", "nsd_2mm"], distances="pooled"
    )
    assert module.scores.convention == "pooled"
    assert {"val/dice_ET", "val/nsd_2mm_WT", "val/nsd_2mm_mean_WT_TC_ET"} <= set(module.logged_names)
    assert "val/hd95_mm_ET" not in module.logged_names
    with pytest.raises(ConfigError, match=r"scores or distances: .*beauty"):
        SegmentationModule(torch.nn.Identity(), torch.nn.Identity(), scores=["beauty"])
