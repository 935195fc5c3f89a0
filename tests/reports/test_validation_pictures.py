from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from brats_lightning.errors import ConfigError
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.reports import pictures
from brats_lightning.reports.pictures import ValidationPictures

CASES = 4


class Scoring(LightningModule):
    """Scores cases of 16³ voxels whose tumour it finds in part."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.scores = RegionScores(["ET", "WT"])

    def training_step(self, batch: torch.Tensor, batch_index: int) -> torch.Tensor:  # noqa: ARG002
        return self.weight.sum() * 0

    def validation_step(self, batch: torch.Tensor, batch_index: int) -> dict[str, list[ScoredCase]]:  # noqa: ARG002
        scored = []
        for number in batch.int().tolist():
            image = torch.rand(2, 16, 16, 16, generator=torch.Generator().manual_seed(number))
            reference = torch.zeros(16, 16, 16, dtype=torch.uint8)
            reference[4:8, 4:8, 4:8] = 3
            prediction = reference.clone()
            prediction[4:6] = 0
            case = f"case-{number}"
            self.scores.update(prediction[None], reference[None], spacing_mm=torch.ones(1, 3), cases=[case])
            scored.append(ScoredCase(case, partial(torch.clone, image), prediction, reference, (1.0, 1.0, 1.0)))
        return {"scored": scored}

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


def trainer_in(folder: Path, *callbacks: Any, **settings: Any) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        logger=False,
        callbacks=list(callbacks),
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        **{"num_sanity_val_steps": 0, **settings},
    )


def loader(batch_size: int = 2) -> Any:
    return DataLoader(torch.arange(CASES), batch_size=batch_size)  # type: ignore[arg-type]


def drawn(folder: Path) -> dict[str, list[int]]:
    """Epochs in which each case was drawn."""
    found: dict[str, list[int]] = {}
    for path in sorted((folder / "figures").rglob("*.png")):
        case, _, epoch = path.stem.partition("_epoch_")
        found.setdefault(case, []).append(int(epoch))
    return found


@pytest.mark.parametrize(
    ("settings", "every", "epochs"),
    [
        ({"max_epochs": 5}, 2, [1, 2, 4, 5]),  # the first one, every second one, the last one
        ({"max_epochs": 6, "check_val_every_n_epoch": 2}, 3, [2, 4, 6]),  # the next validation after three epochs
        ({"max_epochs": 12}, None, [1, 2, 4, 6, 8, 10, 12]),
    ],
)
def test_the_first_cases_are_drawn_every_few_epochs(
    tmp_path: Path, settings: dict[str, int], every: int | None, epochs: list[int]
) -> None:
    callback = ValidationPictures(cases=2, every_n_epochs=every, surfaces=False)
    trainer_in(tmp_path, callback, num_sanity_val_steps=1, **settings).fit(Scoring(), loader(), loader())
    assert drawn(tmp_path) == {"case-0": epochs, "case-1": epochs}
    picture = np.asarray(Image.open(next((tmp_path / "figures" / "validation").iterdir())))
    assert picture.max() > 230


@pytest.mark.filterwarnings("ignore:.*is not empty")
def test_a_run_that_goes_on_draws_the_same_cases_and_none_twice(tmp_path: Path) -> None:
    keep = ModelCheckpoint(tmp_path, filename="last")
    trainer_in(tmp_path, ValidationPictures(cases=2, every_n_epochs=2), keep, max_epochs=2).fit(
        Scoring(), loader(), loader()
    )
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "figures").rglob("*.png")}
    again = ModelCheckpoint(tmp_path, filename="last")
    trainer_in(tmp_path, ValidationPictures(cases=2, every_n_epochs=2), again, max_epochs=4).fit(
        Scoring(), loader(3), loader(3), ckpt_path=tmp_path / "last.ckpt", weights_only=True
    )
    assert drawn(tmp_path) == {"case-0": [1, 2, 4], "case-1": [1, 2, 4]}
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_surfaces_are_left_behind_when_training_ends(tmp_path: Path) -> None:
    trainer_in(tmp_path, ValidationPictures(cases=1), max_epochs=1).fit(Scoring(), loader(), loader())
    (file,) = (tmp_path / "figures").rglob("*.glb")
    assert file.name == "case-0.glb"
    assert file.read_bytes()[:4] == b"glTF"


def test_other_processes_than_the_first_draw_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "is_global_zero", False)
    trainer_in(tmp_path, ValidationPictures(), max_epochs=1).fit(Scoring(), loader(), loader())
    assert not list(tmp_path.rglob("*.png")) + list(tmp_path.rglob("*.glb"))


def test_scoring_after_training_draws_nothing(tmp_path: Path) -> None:
    trainer_in(tmp_path, ValidationPictures()).validate(Scoring(), loader(), verbose=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_cases_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranks: int
) -> None:
    module, shares = Scoring(), list[dict[int, Any]]()
    for rank in range(ranks):
        callback = ValidationPictures(cases=3)
        trainer = SimpleNamespace(
            state=SimpleNamespace(fn="fit"), sanity_checking=False, max_epochs=1, current_epoch=0, datamodule=None,
            check_val_every_n_epoch=1, world_size=ranks, global_rank=rank, is_global_zero=rank == 0,
            default_root_dir=str(tmp_path), loggers=[], val_check_batch=None, num_training_batches=2,
        )  # fmt: skip
        callback.on_validation_epoch_start(trainer, module)  # type: ignore[arg-type]
        outputs = module.validation_step(torch.arange(rank, CASES, ranks), 0)
        callback.on_validation_batch_end(trainer, module, outputs)  # type: ignore[arg-type]
        shares.append(callback._panels)
        if rank == 0:
            first, of_first = callback, trainer
    monkeypatch.setattr(pictures, "gathered", lambda _own: shares)
    first.on_validation_epoch_end(of_first, module)  # type: ignore[arg-type]
    first._drawing.wait()
    assert set(drawn(tmp_path)) == {"case-0", "case-1", "case-2"}
    assert sorted(place for share in shares for place in share) == [0, 1, 2]


@pytest.mark.parametrize("settings", [{"cases": -1}, {"every_n_epochs": 0}])
def test_numbers_that_make_no_sense_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected cases from 0 and every_n_epochs from 1 on"):
        ValidationPictures(**settings)  # type: ignore[arg-type]


def test_a_disk_that_takes_nothing_ends_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "figures").write_text("in the way")
    trainer = trainer_in(tmp_path, ValidationPictures(cases=1), max_epochs=1)
    trainer.fit(Scoring(), loader(), loader())
    assert trainer.state.finished
    assert caplog.text.count("a picture cannot be written") == 2
