"""A callback that draws test cases with reference and prediction; the module itself draws nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from brats_lightning.labels import MODALITIES
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.reports.figures import overlay
from brats_lightning.reports.slice_figure import overlay_slices

FIGURES = "figures"
FRAME_VOXELS = 4
Array = npt.NDArray[Any]


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
