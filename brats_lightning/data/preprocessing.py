"""What is done to every case once, as settings of a run, and the sample that comes out."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from monai.transforms import Compose, CropForegroundd, Transform

from brats_lightning.data.bias_field import N4, BiasFieldCorrectiond
from brats_lightning.data.case import Case
from brats_lightning.data.denoising import Denoised, Denoising
from brats_lightning.data.transforms import (
    BRAIN,
    NATIVE,
    NOTES,
    LoadCased,
    Normalisation,
    NormaliseBraind,
    Resampled,
)
from brats_lightning.errors import BratsError, ConfigError, DatasetError, Problem
from brats_lightning.labels import CASE, IMAGE, LABEL, MODALITIES, Modality
from brats_lightning.nifti import Grid

PIPELINE_VERSION = 2
"""Part of every cache key: raise it when the same settings give other numbers."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One preprocessed case.

    Args:
        case: Its id.
        edition: Whose label values its files have.
        image: (C, X, Y, Z) float16.
        label: (1, X, Y, Z) uint8 with the labels of `labels.LABELS`, None for an unlabelled case.
        grid: Of `image`, in RAS axis order.
        native: Of the case's files. With `grid` it is all that undoing crop, resampling and orientation needs.
        notes: Harmless oddities that reading met, in words.
    """

    case: str
    edition: str
    image: torch.Tensor
    label: torch.Tensor | None
    grid: Grid
    native: Grid
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preprocessing:
    """The deterministic pipeline: load → orient to RAS → N4 → denoise → crop → resample → normalise.

    Args:
        modalities: Channels of the image, in this order.
        bias_field: N4 bias-field correction: of every modality (true), of those listed, or none (false).
        n4: Settings of N4.
        crop: Crop to the brain.
        crop_margin: Voxels to keep around it.
        size: Resample to this many voxels an axis; null keeps the voxels as they are, of one axis or of all.
        spacing_mm: Resample to cubes of this edge instead; needs `size: null`.
        normalisation: Of each modality inside the brain: `zscore` (mean 0, deviation 1), `minmax` (to 0–1) or
            `percentile` (0.5th to 99.5th percentile to 0–1, clipped).
        denoise: Reduce the noise of every modality; null does not.

    Raises:
        ConfigError: Settings that contradict each other.
    """

    modalities: tuple[Modality, ...] = MODALITIES
    bias_field: bool | tuple[Modality, ...] = False
    n4: N4 = field(default_factory=N4)
    crop: bool = True
    crop_margin: int = 0
    size: tuple[int | None, int | None, int | None] | None = (128, 128, 128)
    spacing_mm: float | None = None
    normalisation: Normalisation = "zscore"
    denoise: Denoising | None = None

    def __post_init__(self) -> None:
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ConfigError(f"modalities must be distinct and at least one, found {list(self.modalities)}")
        if unknown := [name for name in self.modalities if name not in MODALITIES]:
            raise ConfigError(f"modalities are {', '.join(MODALITIES)}, found {', '.join(unknown)}")
        if self.normalisation not in get_args(Normalisation):
            expected = ", ".join(get_args(Normalisation))
            raise ConfigError(f"normalisation must be one of {expected}, found {self.normalisation!r}")
        if self.size is not None and self.spacing_mm is not None:
            raise ConfigError("size and spacing_mm exclude each other: set one of them to null")
        if self.size is not None and any(edge is not None and edge < 1 for edge in self.size):
            raise ConfigError(f"size must be positive, found {list(self.size)}")
        if self.spacing_mm is not None and self.spacing_mm <= 0:
            raise ConfigError(f"spacing_mm must be positive, found {self.spacing_mm}")
        if self.crop_margin < 0:
            raise ConfigError(f"crop_margin must not be negative, found {self.crop_margin}")
        if foreign := [name for name in self._corrected if name not in self.modalities]:
            raise ConfigError(f"bias_field names {', '.join(foreign)}, which modalities does not")

    @property
    def _corrected(self) -> tuple[Modality, ...]:
        if isinstance(self.bias_field, bool):
            return self.modalities if self.bias_field else ()
        return self.bias_field

    @property
    def fixed_size(self) -> tuple[int, int, int] | None:
        """Voxels along each axis of every case, None where cases differ."""
        if self.size is None or None in self.size:
            return None
        x, y, z = (edge or 0 for edge in self.size)
        return x, y, z

    @property
    def fingerprint(self) -> str:
        """Text that differs between any two pipelines that give different samples."""
        settings: dict[str, Any] = {
            "version": PIPELINE_VERSION,
            **asdict(self),
            "bias_field": self._corrected,
        }
        del settings["n4"]["threads"]  # by which a sample changes less than its half precision shows
        if not self._corrected:
            del settings["n4"]
        if not self.crop:
            del settings["crop_margin"]
        if self.denoise is None:
            del settings["denoise"]
        else:
            settings["denoise"] = self.denoise.used
        return json.dumps(settings, sort_keys=True)

    def compose(self, *, align: bool = False) -> Compose:
        """The steps as MONAI dictionary transforms, for `{"case": Case}`.

        Args:
            align: See `__call__`.
        """
        steps: list[Transform] = [LoadCased(self.modalities, align=align)]
        if self._corrected:
            channels = [self.modalities.index(name) for name in self._corrected]
            steps.append(BiasFieldCorrectiond(IMAGE, mask_key=BRAIN, channels=channels, options=self.n4))
        if self.denoise is not None:
            steps.append(Denoised(IMAGE, mask_key=BRAIN, options=self.denoise))
        if self.crop:
            keys = [IMAGE, LABEL, BRAIN]
            crop = CropForegroundd(
                keys, BRAIN, margin=self.crop_margin, allow_smaller=True, allow_missing_keys=True,
                start_coord_key=None, end_coord_key=None,
            )  # fmt: skip
            steps.append(crop)
        if any(self.size or ()) or self.spacing_mm:
            steps.append(Resampled(IMAGE, label_keys=(LABEL, BRAIN), size=self.size, spacing_mm=self.spacing_mm))
        steps.append(NormaliseBraind(IMAGE, mask_key=BRAIN, method=self.normalisation))
        return Compose(steps)

    def _run(self, case: Case, *, align: bool) -> dict[str, Any]:
        try:
            data: dict[str, Any] = self.compose(align=align)({CASE: case})
        except RuntimeError as error:
            # MONAI puts an error of its own before the one that a step raised.
            if isinstance(error.__cause__, BratsError):
                raise error.__cause__ from None
            if self._corrected and isinstance(error.__cause__, ValueError):  # N4's words for an image it cannot fit
                cure = "leave the case out, or change bias_field or n4"
                raise DatasetError(Problem(case.id, "", str(error.__cause__), cure)) from error
            raise
        return data

    def __call__(self, case: Case, *, align: bool = False) -> Sample:
        """Preprocess one case.

        Args:
            case: From `find_cases`.
            align: Resample images that lie on other grids by their headers, as `read_case` does: a way to read files
                that are not as they should be, and no setting of a run.

        Raises:
            DatasetError: Everything that is wrong with its files.
        """
        data = self._run(case, align=align)
        image = data[IMAGE]
        x, y, z = image.shape[1:]
        grid = Grid((x, y, z), np.asarray(image.affine, np.float64))
        label = data[LABEL].as_tensor().contiguous() if LABEL in data else None
        half = image.as_tensor().half().contiguous()
        return Sample(case.id, case.edition, half, label, grid, data[NATIVE], data[NOTES])
