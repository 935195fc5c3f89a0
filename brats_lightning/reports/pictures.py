"""Callbacks that draw cases with reference and prediction, after tests and in training; the module draws nothing."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.states import TrainerFn

from brats_lightning.errors import ConfigError
from brats_lightning.model.agreement import gathered
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.reports.figures.case_picture import CasePicture, draw_case
from brats_lightning.reports.picture_files import FIGURES, VALIDATION, remove_pictures
from brats_lightning.reports.ranking import ENDS, ends, mean_dice
from brats_lightning.reports.scored_pictures import dice_of, modalities_of, picture_of, tilt_of
from brats_lightning.reports.validation.panel import Panel, panel_of
from brats_lightning.reports.validation.sheet import InBackground, draw_panel, unless_disk_fails
from brats_lightning.reports.validation.times import is_drawn
from brats_lightning.reports.wandb_media.images import media, surfaces
from brats_lightning.reports.wandb_media.surfaces import Predicted, predicted, write_surfaces

Key = TypeVar("Key", int, str)
Kept = TypeVar("Kept")


class OverlayPictures(Callback):
    """Draw the cases at both ends of the ranking, once `brats test` or `brats validate` has scored all.

    They are ranked as in the run's report, which shows the pictures: by mean Dice, see `ranking`. They lie in
    `figures/<file of scores>/<case>.png`. Of each case no more is kept than is drawn of it.

    Args:
        ends: How many of the worst, and of the best; 0 draws none.

    Raises:
        ConfigError: A number below 0.
    """

    def __init__(self, *, ends: int = ENDS) -> None:
        if ends < 0:
            raise ConfigError(f"OverlayPictures: expected ends from 0 on, found {ends}")
        self.ends = ends
        self._means: dict[str, float] = {}
        self._kept: dict[str, CasePicture] = {}

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Forget what was scored before."""
        self._means, self._kept = {}, {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget what was scored before."""
        self.on_test_epoch_start(trainer, pl_module)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """Keep what is drawn of those of `outputs["scored"]` that are at an end of the ranking so far."""
        if self.ends:
            for scored in outputs["scored"]:
                self._rank(trainer, pl_module, scored)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        """The same, unless it is training that is validated."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self.on_test_batch_end(trainer, pl_module, outputs)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Bring together the ends of the cases of all processes."""
        if not self.ends:
            return
        self._means = _of_all(self._means)
        chosen = self._chosen
        self._kept = _of_all({case: picture for case, picture in self._kept.items() if case in chosen})

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same, unless it is training that is validated."""
        if trainer.state.fn == TrainerFn.VALIDATING:
            self.on_test_epoch_end(trainer, pl_module)

    def draw(self, folder: Path, *, title: str) -> None:
        """Draw what was kept, in place of what the folder held; a disk that takes nothing is no reason to fail.

        Args:
            folder: For the pictures, `<case>.png` each.
            title: What they are of, beside the case.
        """
        unless_disk_fails(partial(self._draw, folder, title=title))

    def _draw(self, folder: Path, *, title: str) -> None:
        remove_pictures(folder)
        for case in filter(self._kept.get, self._chosen):
            folder.mkdir(parents=True, exist_ok=True)
            draw_case(self._kept[case], path=folder / f"{case}.png", title=f"{case} · {title}")

    @property
    def _chosen(self) -> list[str]:
        worst, best = ends(self._means, count=self.ends)
        return worst + best

    def _rank(self, trainer: Trainer, pl_module: LightningModule, scored: ScoredCase) -> None:
        """A case that further ones have driven from the ends cannot come back: what was kept of it may go."""
        self._means[scored.case] = mean_dice(dice_of(pl_module, scored.case))
        chosen = self._chosen
        if scored.case in chosen:
            self._kept[scored.case] = picture_of(trainer, pl_module, scored)
        self._kept = {case: picture for case, picture in self._kept.items() if case in chosen}


class ValidationPictures(Callback):
    """Draw the first validation cases every few epochs, into the run's folder and for W&B.

    Each has a picture `figures/validation/<case>_epoch_<n>.png`, the first epoch being 1, and when training ends the
    surfaces of its last one, `<case>.glb`. A W&B logger gets the same tiles with masks that can be switched on and off,
    a table with a row a case, and the surfaces. The cases are the first of the validation's order, whatever the number
    of processes: they stay the same when a run is gone on with. Of several validations in an epoch the last is drawn.

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
        if not is_drawn(trainer, every_n_epochs=self.every_n_epochs):
            return
        for scored in outputs["scored"]:
            place = self._seen * trainer.world_size + trainer.global_rank  # every process takes every n-th case
            self._seen += 1
            if place >= self.cases:
                continue
            plane = _plane(trainer)
            self._panels[place] = panel_of(
                scored,
                modalities=modalities_of(trainer, len(scored.image())),
                dice=dice_of(pl_module, scored.case),
                plane=plane,
                tilt_degrees=tilt_of(trainer, scored.case),
            )
            if self.surfaces and plane is None and 1 not in scored.prediction.shape:
                self._predicted[place] = predicted(scored)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Have the first process draw the tiles of all."""
        if not self.cases or not is_drawn(trainer, every_n_epochs=self.every_n_epochs):
            return
        panels, self._panels = list(_of_all(self._panels).values()), {}
        if not panels or not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1  # as people count
        self._drawing.begin(partial(_draw_panels, panels, folder=_folder(trainer), epoch=epoch))
        if _wandb(trainer):
            unless_disk_fails(lambda: _log(trainer, media(panels, epoch=epoch), step=_step(trainer)))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Have the first process make the surfaces of what was drawn last."""
        self._drawing.wait()
        if not self.cases or not self.surfaces:
            return
        cases = list(_of_all(self._predicted).values())
        if not cases or not trainer.is_global_zero:
            return
        unless_disk_fails(partial(_draw_surfaces, cases, trainer))


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


def _of_all(own: dict[Key, Kept]) -> dict[Key, Kept]:
    """What all processes have kept, in order; of a case that several have, what the first has. All must ask."""
    known: dict[Key, Kept] = {}
    for part in reversed(cast("list[dict[Key, Kept]]", gathered(own))):
        known |= part
    return {key: known[key] for key in sorted(known)}
