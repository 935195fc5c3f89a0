import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from brats_lightning.model import meter
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.meter import Throughput, advice
from brats_lightning.model.module import SegmentationModule

pytestmark = pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
STEP, LOAD, VALIDATION = 3.0, 0.5, 100.0


class Clock:
    """Moves when it is told to."""

    now = 0.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock.now = 0.0
    if not torch.cuda.is_available():  # whose clock has a test of its own
        monkeypatch.setattr(meter, "_moment", lambda _: Clock.now)


class Slow(Dataset[dict[str, Any]]):
    """Cases that take their time."""

    def __init__(self, cases: Any, seconds: float) -> None:
        self.cases, self.seconds = cases, seconds

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        Clock.now += self.seconds
        sample: dict[str, Any] = self.cases[index]
        return sample


class Steady(nn.Conv3d):
    """A network that takes its time."""

    def forward(self, image: Tensor) -> Tensor:
        Clock.now += STEP if self.training else VALIDATION
        return super().forward(image)


class Data(LightningDataModule):
    def __init__(self, loader: Any, validation: Any) -> None:
        super().__init__()
        self.save_hyperparameters({"cache": "disk", "feed": "workers"})
        self.loader, self.validation, self.workers = loader, validation, 3

    def train_dataloader(self) -> Any:
        return self.loader

    def val_dataloader(self) -> Any:
        return self.validation


def test_samples_and_waiting_are_those_of_the_clock(
    cases_of: Any, trainer_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="brats_lightning")
    module = SegmentationModule(Steady(4, 4, 1), DiceFocal())
    loader = DataLoader(Slow(cases_of(32).dataset, LOAD), batch_size=2)
    trainer = trainer_of(callbacks=[Throughput()], max_epochs=2, val_check_interval=8)
    trainer.fit(module, datamodule=Data(loader, cases_of(2)))
    found = trainer.callback_metrics
    # Two samples in two loads and a step; validation, within an epoch and after it, counts nowhere.
    assert float(found["speed/samples_per_s"]) == pytest.approx(2 / (STEP + 2 * LOAD))
    assert float(found["speed/waiting"]) == pytest.approx(2 * LOAD / (STEP + 2 * LOAD))
    assert "speed/gpu_gb" not in found
    ours = [record.message for record in caplog.records if record.name == "brats_lightning"]
    assert [line.partition(" ")[0] for line in ours] == ["training", "an", "epoch", "the", "epoch"]
    assert ours[1] == "an epoch of 16 steps takes about 64 s, 2 epochs 2 min, without validation"
    assert ours[2] == "epoch 0: 0.5 samples/s, 25% of the time waiting for data and augmentation"
    assert ours[3] == "the network waits for its data; try more data.workers (now 3); or less data.augmentation"


def test_who_waits_little_is_not_advised(cases_of: Any, trainer_of: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="brats_lightning")
    trainer = trainer_of(callbacks=[Throughput(waiting=1.0)])
    trainer.fit(SegmentationModule(Steady(4, 4, 1), DiceFocal()), cases_of(2))
    assert not [line for line in caplog.messages if "waits" in line]
    assert trainer.callback_metrics["speed/samples_per_s"] > 0  # of the one step there is


@pytest.mark.parametrize(
    ("place", "cache", "on_gpu", "words"),
    [
        ("workers", "disk", True, ["more data.workers (now 3)"]),
        ("host", "disk", True, ["data.feed: device"]),
        ("host", "disk", False, []),
        ("device", "memory", True, []),
        ("workers", "none", False, ["more data.workers", "data.cache: disk (now none)"]),
        (None, None, False, ["more data.workers (now 3)"]),
    ],
)
def test_advice_names_settings_that_can_help(
    place: str | None, cache: str | None, on_gpu: bool, words: list[str]
) -> None:
    found = advice(SimpleNamespace(fed_from=place, hparams={"cache": cache}, workers=3), on_gpu=on_gpu)
    assert all(word in found for word in [*words, "less data.augmentation"])
    assert ("data.feed" in found) == any("data.feed" in word for word in words)
    assert ("data.workers" in found) == any("data.workers" in word for word in words)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_clock_of_a_gpu_is_asked_without_waiting() -> None:
    device = torch.device("cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        start = meter._moment(device)
        torch.randn(1000, 1000, device=device).matmul(torch.randn(1000, 1000, device=device))
        end = meter._moment(device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    meter._wait(device)
    assert meter._between(start, end) > 0
