"""Callbacks that draw cases with reference and prediction, after tests and in training; the module draws nothing."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.states import TrainerFn

from brats_lightning.errors import ConfigError
from brats_lightning.labels import MODALITIES
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.model.agreement import gathered
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.reports.figures.overlay import overlay
from brats_lightning.reports.slice_figure import overlay_slices
from brats_lightning.reports.wandb_media import media, surfaces
from brats_lightning.reports.wandb_panel import Panel, panel_of
from brats_lightning.reports.wandb_sheet import InBackground, draw_panel, unless_disk_fails
from brats_lightning.reports.wandb_surfaces import Predicted, predicted, write_surfaces

FIGURES = "figures"
VALIDATION = "validation"
PICTURES_OF_A_RUN = 10
FRAME_VOXELS = 4
Array = npt.NDArray[Any]
Kept = TypeVar("Kept")


class OverlayPictures(Callback):
    """Draw the first test cases into the run's folder, as `figures/<case>.png`.

    Args:
        cases: How many; 0 draws none.
    """

    def __init__(self, *, cases: int = 4) -> None:
        self.cases = cases
        self._drawn = 0

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Begin to count."""
        self._drawn = 0

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        *_: Any,
    ) -> None:
        """Draw what is still missing of `outputs["scored"]`, a list of `model.scored_case.ScoredCase`."""
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir) / FIGURES
        for scored in outputs["scored"][: self.cases - self._drawn]:
            folder.mkdir(parents=True, exist_ok=True)
            _draw(trainer, scored, folder / f"{scored.case}.png")
            self._drawn += 1


class ValidationPictures(Callback):
    """Draw the first validation cases every few epochs, into the run's folder and for W&B.

    Each has a picture `figures/validation/<case>_epoch_<n>.png`, and when training ends the surfaces of its last one,
    `<case>.glb`. A W&B logger gets the same tiles with masks that can be switched on and off, a table with a row a
    case, and the surfaces. The cases are the first of the validation's order, whatever the number of processes: they
    stay the same when a run is gone on with.

    Args:
        cases: How many; 0 draws none.
        every_n_epochs: Between pictures, after those of the first validation; null draws about ten times a run.
        surfaces: Draw surfaces too.

    Raises:
        ConfigError: Numbers below these.
    """

    def __init__(self, *, cases: int = 3, every_n_epochs: int | None = None, surfaces: bool = True) -> None:
        if cases < 0 or (every_n_epochs is not None and every_n_epochs < 1):
            raise ConfigError(
                "ValidationPictures: expected cases from 0 and every_n_epochs from 1 on, "
                f"found {cases} and {every_n_epochs}"
            )
        self.cases = cases
        self.every_n_epochs = every_n_epochs
        self.surfaces = surfaces
        self._seen = 0
        self._drawing = InBackground()
        self._panels: dict[int, Panel] = {}
        self._predicted: dict[int, Predicted] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Forget another run's cases."""
        self._predicted = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Begin to count."""
        self._seen, self._panels = 0, {}

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Cut tiles out of those cases of `outputs["scored"]` that are drawn."""
        if not self._draws(trainer):
            return
        for scored in outputs["scored"]:
            place = self._seen * trainer.world_size + trainer.global_rank  # every process takes every n-th case
            self._seen += 1
            if place >= self.cases:
                continue
            plane = _plane(trainer)
            self._panels[place] = panel_of(
                scored,
                modalities=_modalities(trainer, len(scored.image())),
                dice=_dice(pl_module, scored.case),
                plane=plane,
            )
            if self.surfaces and plane is None and 1 not in scored.prediction.shape:
                self._predicted[place] = predicted(scored)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Have the first process draw the tiles of all."""
        if not self.cases or not self._draws(trainer):
            return
        panels, self._panels = _of_all(self._panels), {}
        if not panels or not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch
        self._drawing.begin(partial(_draw_panels, panels, folder=_folder(trainer), epoch=epoch))
        if _wandb(trainer):
            unless_disk_fails(lambda: _log(trainer, media(panels, epoch=epoch), step=_step(trainer)))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Have the first process make the surfaces of what was drawn last."""
        self._drawing.wait()
        if not self.cases or not self.surfaces:
            return
        cases = _of_all(self._predicted)
        if not cases or not trainer.is_global_zero:
            return
        unless_disk_fails(partial(_draw_surfaces, cases, trainer))

    def _draws(self, trainer: Trainer) -> bool:
        """Whether this validation is one that is drawn; all processes answer alike."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return False
        last = trainer.max_epochs or -1
        every = self.every_n_epochs or (math.ceil(last / PICTURES_OF_A_RUN) if last > 0 else PICTURES_OF_A_RUN)
        done, apart = trainer.current_epoch + 1, trainer.check_val_every_n_epoch or 1
        before = done - apart
        return before < 1 or done // every > before // every or done == last


def _draw_surfaces(cases: Sequence[Predicted], trainer: Trainer) -> None:
    folder = _folder(trainer)
    folder.mkdir(parents=True, exist_ok=True)
    files = write_surfaces(cases, folder)
    if files and _wandb(trainer):
        _log(trainer, surfaces(files), step=max(0, _step(trainer) - 1))  # the row of the last step


def _log(trainer: Trainer, shown: dict[str, Any], *, step: int) -> None:
    for logger in _wandb(trainer):
        logger.log_metrics(shown, step=step)


def _draw_panels(panels: Sequence[Panel], *, folder: Path, epoch: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for panel in panels:
        title = f"{panel.case} · {folder.parents[1].name} · epoch {epoch}"
        draw_panel(panel, folder / f"{panel.case}_epoch_{epoch:03}.png", title=title)


def _draw(trainer: Trainer, scored: ScoredCase, path: Path) -> None:
    image = scored.image()
    reference, prediction = (_framed(labels.cpu().numpy()) for labels in (scored.reference, scored.prediction))
    framed, spacing_mm = _with_dark_background(image), scored.spacing_mm
    modalities = _modalities(trainer, len(image))
    title = f"{scored.case} · {Path(trainer.default_root_dir).name}"
    if image.shape[-1] == 1:  # there is but one plane, and a picture's place in the world is not known
        sides = {"prediction": prediction, "reference": reference}
        overlay_slices(
            framed, sides, spacing_mm=spacing_mm, path=path, title=title, modalities=modalities, placed=False
        )
        return
    overlay(
        framed,
        reference,
        prediction=prediction,
        spacing_mm=spacing_mm,
        path=path,
        modalities=modalities,
        title=title,
    )


def _modalities(trainer: Trainer, channels: int) -> Sequence[str]:
    """Names of the image's channels, in the order the run's data module gives them."""
    preprocessing = getattr(getattr(trainer, "datamodule", None), "preprocessing", None)
    return preprocessing.modalities if preprocessing else MODALITIES[:channels]


def _with_dark_background(image: torch.Tensor) -> Array:
    """Preprocessed images are 0 outside the brain, which is not their lowest value."""
    array = _framed(image.float().cpu().numpy())
    array[:, (array == 0).all(axis=0)] = array.min()
    return array


def _framed(array: Array) -> Array:
    """Add background around the last three axes: a crop to the brain leaves no room for marks; a slice stays one."""
    frame = [FRAME_VOXELS, FRAME_VOXELS, 0 if array.shape[-1] == 1 else FRAME_VOXELS]
    return np.pad(array, [(0, 0)] * (array.ndim - 3) + [(voxels, voxels) for voxels in frame])


def _dice(pl_module: LightningModule, case: str) -> dict[str, float]:
    """Dice of each region, of a case that this process has just scored."""
    scores = getattr(pl_module, "scores", None)
    row = scores.rows.get(case, {}) if isinstance(scores, RegionScores) else {}
    return {name.removeprefix("dice_"): value for name, value in row.items() if name.startswith("dice_")}


def _plane(trainer: Trainer) -> str | None:
    """Of the slices that validation puts together, None where it looks at volumes."""
    slices = getattr(getattr(trainer, "datamodule", None), "slices", None)
    return None if slices is None or slices.validation == "volumes" else str(slices.planes[0])


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / FIGURES / VALIDATION


def _wandb(trainer: Trainer) -> list[WandbLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]


def _step(trainer: Trainer) -> int:
    """Under which Lightning logs what comes out of a validation: pictures and scores share a row."""
    return int(trainer.fit_loop.epoch_loop._batches_that_stepped)


def _of_all(own: dict[int, Kept]) -> list[Kept]:
    """What all processes have kept of cases, in the order of the cases; all must ask."""
    known: dict[int, Kept] = {}
    for part in cast("list[dict[int, Kept]]", gathered(own)):
        known |= part
    return [known[place] for place in sorted(known)]
