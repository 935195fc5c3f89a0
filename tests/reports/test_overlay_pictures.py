from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader

from brats_lightning.data.case import Case
from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.data.splits import Parts
from brats_lightning.errors import ConfigError
from brats_lightning.labels import WHOLE
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.nifti import Grid, write_volume
from brats_lightning.reports import pictures, scored_pictures
from brats_lightning.reports.pictures import OverlayPictures

SIDE = 16


class Scoring(LightningModule):
    """Scores cases of which it finds as many slices of the tumour as their number says, of `SIDE`."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = RegionScores(["WT"], scores=("dice",), empty="nan")
        self.given: list[str] = []

    def test_step(self, batch: torch.Tensor, batch_index: int) -> dict[str, list[ScoredCase]]:  # noqa: ARG002
        scored = []
        for number in batch.int().tolist():
            reference = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.uint8)
            if number >= 0:
                reference[4:8, 4:8] = 3
            prediction = reference.clone()
            prediction[..., max(0, number) :] = 0
            case = f"case-{number:02}"
            self.scores.update(prediction[None], reference[None], spacing_mm=torch.ones(1, 3), cases=[case])
            scored.append(ScoredCase(case, partial(self.image, case), prediction, reference, (1.0, 1.0, 1.0)))
        return {"scored": scored}

    validation_step = test_step

    def image(self, case: str) -> torch.Tensor:
        """Written down, as the files of a case are read for it."""
        self.given.append(case)
        return torch.rand(2, SIDE, SIDE, SIDE)


def scored(numbers: list[int], *, ends: int = 2, how: str = "test") -> tuple[OverlayPictures, Scoring]:
    """A callback that has seen the cases of these numbers scored."""
    callback, module = OverlayPictures(ends=ends), Scoring()
    trainer = Trainer(
        logger=False, callbacks=[callback], accelerator="cpu", enable_progress_bar=False, enable_model_summary=False
    )
    loader: Any = DataLoader(torch.tensor(numbers), batch_size=2)  # type: ignore[arg-type]
    getattr(trainer, how)(module, loader, verbose=False)
    return callback, module


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.mark.parametrize("how", ["test", "validate"])
def test_the_worst_and_the_best_cases_are_drawn(tmp_path: Path, how: str) -> None:
    callback, _ = scored([8, 3, 15, 9, 1, 12, 7, 10], ends=1, how=how)
    callback.draw(tmp_path / "figures" / "scores_test", title="run · test")
    assert names(tmp_path / "figures" / "scores_test") == {"case-01.png", "case-15.png"}
    for path in (tmp_path / "figures" / "scores_test").iterdir():
        assert np.asarray(Image.open(path)).max() > 230


def test_no_more_is_kept_than_is_drawn_and_images_of_middling_cases_are_not_read() -> None:
    callback, module = scored([1, 15, 2, 14, 8, 7, 9, 3])
    assert set(callback._kept) == {"case-01", "case-02", "case-14", "case-15"}
    assert module.given == ["case-01", "case-15", "case-02", "case-14"]


def test_a_case_without_a_defined_score_is_no_end(tmp_path: Path) -> None:
    callback, _ = scored([5, -1, 9])
    callback.draw(tmp_path, title="run")
    assert names(tmp_path) == {"case-05.png", "case-09.png"}


def test_pictures_of_earlier_scores_go_and_other_files_stay(tmp_path: Path) -> None:
    for name in ("case-99.png", "notes.txt"):
        (tmp_path / name).write_text("earlier")
    callback, _ = scored([5])
    callback.draw(tmp_path, title="run")
    assert names(tmp_path) == {"case-05.png", "notes.txt"}


def test_a_second_pass_forgets_the_first(tmp_path: Path) -> None:
    callback, module = scored([5, 6])
    module.scores.reset()
    trainer = Trainer(logger=False, callbacks=[callback], accelerator="cpu", enable_progress_bar=False)
    trainer.test(module, DataLoader(torch.tensor([9])), verbose=False)  # type: ignore[arg-type]
    callback.draw(tmp_path, title="run")
    assert names(tmp_path) == {"case-09.png"}


def test_validation_during_training_keeps_nothing() -> None:
    callback, module = OverlayPictures(), Scoring()
    trainer: Any = SimpleNamespace(state=SimpleNamespace(fn="fit"))
    callback.on_validation_batch_end(trainer, module, module.test_step(torch.tensor([5]), 0))
    callback.on_validation_epoch_end(trainer, module)
    assert not callback._kept


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_ends_are_those_of_all_processes(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    numbers = [8, 3, 15, 9, 1, 12, 7, 10]
    trainer: Any = SimpleNamespace(datamodule=None)
    callbacks = [OverlayPictures(ends=2) for _ in range(ranks)]
    for rank, callback in enumerate(callbacks):
        module = Scoring()
        own = [numbers[place % len(numbers)] for place in range(rank, len(numbers) + 1, ranks)]  # one case comes twice
        callback.on_test_batch_end(trainer, module, module.test_step(torch.tensor(own), 0))
    together: list[Any] = [[callback._means for callback in callbacks], [callback._kept for callback in callbacks]]
    monkeypatch.setattr(pictures, "gathered", lambda _own: together.pop(0))
    callbacks[0].on_test_epoch_end(trainer, module)
    assert not together
    assert set(callbacks[0]._kept) >= {f"case-{number:02}" for number in (1, 3, 12, 15)} == set(callbacks[0]._chosen)


def test_no_picture_is_asked_for_and_none_is_drawn(tmp_path: Path) -> None:
    callback, module = scored([5, 6], ends=0)
    callback.draw(tmp_path / "figures", title="run")
    assert not module.given
    assert not (tmp_path / "figures").exists()
    with pytest.raises(ConfigError, match="expected ends from 0 on, found -1"):
        OverlayPictures(ends=-1)


def test_a_disk_that_takes_nothing_is_said_and_no_reason_to_fail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "figures").write_text("in the way")
    callback, _ = scored([5])
    callback.draw(tmp_path / "figures" / "scores_test", title="run")
    assert "a picture cannot be written" in caplog.text


def test_scores_and_the_run_stand_on_the_picture(tmp_path: Path, saved_figures: list[Figure]) -> None:
    callback, _ = scored([8])
    callback.draw(tmp_path, title="run · test")
    title, notes = (text.get_text() for text in saved_figures[0].texts[:2])
    assert title == "case-08 · run · test"
    assert notes.startswith("Dice WT 0.67 · voxels 1 × 1 × 1 mm")


def test_single_slices_are_drawn_without_directions(tmp_path: Path, saved_figures: list[Figure]) -> None:
    labels = torch.full((SIDE, SIDE, 1), WHOLE, dtype=torch.uint8)
    case = ScoredCase("1607", partial(torch.rand, 1, SIDE, SIDE, 1), labels, labels, (1.0, 1.0, 6.0))
    module, callback = Scoring(), OverlayPictures()
    module.scores.update(labels[None], labels[None], spacing_mm=torch.ones(1, 3), cases=["1607"])
    preprocessing = SimpleNamespace(modalities=("t1c",))
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(preprocessing=preprocessing))
    callback.on_test_batch_end(trainer, module, {"scored": [case]})
    callback.on_test_epoch_end(trainer, module)
    callback.draw(tmp_path, title="run")
    assert names(tmp_path) == {"1607.png"}
    (figure,) = saved_figures
    assert [axes.get_title() for axes in figure.axes] == ["T1 contrast, image", "prediction", "reference"]
    assert not [text for axes in figure.axes for text in axes.texts]  # nobody knows which way it lies


def oblique(degrees: float) -> Grid:
    """A grid that is turned about the patient's long axis."""
    turn = np.radians(degrees)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    return Grid((SIDE,) * 3, affine)


def datamodule_of(folder: Path, grid: Grid) -> BratsDataModule:
    """Data of one case whose files lie on a grid."""
    file = folder / "case-05_t1c.nii.gz"
    write_volume(file, np.zeros(grid.shape, np.int16), grid)
    datamodule = BratsDataModule(folder, cache="none")
    images = dict.fromkeys(datamodule.preprocessing.modalities, file)
    datamodule._cases = {"case-05": Case("case-05", "case-05", "2021", images)}
    datamodule.parts = Parts(train=(), validation=(), test=("case-05",))
    return datamodule


@pytest.mark.parametrize(("degrees", "said"), [(0, False), (25, True)])
def test_an_oblique_grid_is_said_on_the_picture(
    tmp_path: Path, saved_figures: list[Figure], degrees: float, said: bool
) -> None:
    trainer: Any = SimpleNamespace(datamodule=datamodule_of(tmp_path, oblique(degrees)))
    assert scored_pictures.tilt_of(trainer, "case-05") == pytest.approx(degrees, abs=0.1)
    assert scored_pictures.tilt_of(trainer, "unknown") == 0
    module, callback = Scoring(), OverlayPictures()
    trainer.datamodule.preprocessing = SimpleNamespace(modalities=("t1c", "t2f"))
    callback.on_test_batch_end(trainer, module, module.test_step(torch.tensor([5]), 0))
    callback.draw(tmp_path / "figures", title="run")
    notes = saved_figures[0].texts[1].get_text().replace("\n", " ")
    assert ("grid tilted by 25°" in notes) == said


def test_the_scores_of_a_case_are_those_of_its_row() -> None:
    module = Scoring()
    module.test_step(torch.tensor([8]), 0)
    assert scored_pictures.dice_of(module, "case-08") == {"WT": pytest.approx(2 / 3)}
    assert scored_pictures.dice_of(module, "unknown") == {}
