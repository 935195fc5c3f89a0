"""What is drawn of a scored case, taken from the run that scores it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pytorch_lightning import LightningModule, Trainer

from brats_lightning.data.datamodule import BratsDataModule
from brats_lightning.data.pictures import is_picture
from brats_lightning.data.reading import reference_file
from brats_lightning.data.splits import PARTS
from brats_lightning.labels import MODALITIES
from brats_lightning.metrics.region_scores import RegionScores
from brats_lightning.model.scored_case import ScoredCase
from brats_lightning.nifti import UnreadableVolumeError, read_grid
from brats_lightning.reports.figures.case_picture import CasePicture
from brats_lightning.reports.figures.overlay import planes_of_case
from brats_lightning.reports.figures.planes import tilt_degrees
from brats_lightning.reports.figures.remarks import dice_in_words
from brats_lightning.reports.slice_figure import slices_of_case

FRAME_VOXELS = 4
Array = npt.NDArray[Any]


def picture_of(trainer: Trainer, pl_module: LightningModule, scored: ScoredCase) -> CasePicture:
    """Cut out of a case what is drawn of it, on whatever grid it was scored."""
    image = scored.image()
    reference, prediction = (_framed(labels.cpu().numpy()) for labels in (scored.reference, scored.prediction))
    framed, spacing_mm = _with_dark_background(image), scored.spacing_mm
    modalities = modalities_of(trainer, len(image))
    if image.shape[-1] == 1:  # there is but one plane, and a picture's place in the world is not known
        sides = {"prediction": prediction, "reference": reference}
        picture = slices_of_case(framed, sides, spacing_mm=spacing_mm, modalities=modalities, placed=False)
    else:
        picture = planes_of_case(
            framed,
            reference,
            prediction=prediction,
            spacing_mm=spacing_mm,
            modalities=modalities,
            tilt_degrees=tilt_of(trainer, scored.case),
        )
    return replace(picture, notes=[*dice_in_words(dice_of(pl_module, scored.case)), *picture.notes])


def modalities_of(trainer: Trainer, channels: int) -> Sequence[str]:
    """Names of the image's channels, in the order the run's data module gives them."""
    preprocessing = getattr(getattr(trainer, "datamodule", None), "preprocessing", None)
    return preprocessing.modalities if preprocessing else MODALITIES[:channels]


def dice_of(pl_module: LightningModule, case: str) -> dict[str, float]:
    """Dice of each region, of a case that this process has just scored."""
    scores = getattr(pl_module, "scores", None)
    row = scores.rows.get(case, {}) if isinstance(scores, RegionScores) else {}
    return {name.removeprefix("dice_"): value for name, value in row.items() if name.startswith("dice_")}


def tilt_of(trainer: Trainer, case: str) -> float:
    """How far a case's grid is tilted against the patient's axes, in degrees; preprocessing leaves that as it is."""
    datamodule = getattr(trainer, "datamodule", None)
    if not isinstance(datamodule, BratsDataModule):
        return 0.0
    known = next((each for part in PARTS for each in datamodule.cases_of(part) if each.id == case), None)
    file = None if known is None else reference_file(known, modalities=datamodule.preprocessing.modalities)
    if file is None or is_picture(file):
        return 0.0
    try:
        return tilt_degrees(read_grid(file).affine)
    except UnreadableVolumeError:  # it was moved since: the picture needs no more of it
        return 0.0


def _with_dark_background(image: torch.Tensor) -> Array:
    """Preprocessed images are 0 outside the brain, which is not their lowest value."""
    array = _framed(image.float().cpu().numpy())
    array[:, (array == 0).all(axis=0)] = array.min()
    return array


def _framed(array: Array) -> Array:
    """Add background around the last three axes: a crop to the brain leaves no room for marks; a slice stays one."""
    frame = [FRAME_VOXELS, FRAME_VOXELS, 0 if array.shape[-1] == 1 else FRAME_VOXELS]
    return np.pad(array, [(0, 0)] * (array.ndim - 3) + [(voxels, voxels) for voxels in frame])
