"""Measure the regions of one case, from its files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from brats_lightning.data.reading import CaseVolumes, read_case
from brats_lightning.errors import DatasetError, Problem
from brats_lightning.evaluation.label_files import read_label_map
from brats_lightning.labels import EDITIONS, WHOLE, Modality
from brats_lightning.nifti import SAME_GRID_MM, Grid, UnreadableVolumeError, Volume
from brats_lightning.radiomics.grey_levels import TooManyLevelsError
from brats_lightning.radiomics.region_features import measure_region
from brats_lightning.radiomics.sources import Source

Row = Mapping[str, str | float | None]
"""Cells by the names of `columns`; None, or left out, where a feature is not defined."""
NORMALISED_SD = 100.0
"""What a standard deviation becomes, as with pyradiomics' normalizeScale of 100: bins of 25 are quarters of it."""
AS_READ, NORMALISED = "as read", "z-score in the brain times 100"


@dataclass(frozen=True)
class Settings:
    """What is measured, and how.

    Args:
        modalities: Whose intensities.
        regions: Label values by name.
        bin_width: Of the grey levels, in the unit of the intensities.
        normalise: Whether intensities are z-scores of the brain times 100 instead of what the file holds.
    """

    modalities: tuple[Modality, ...]
    regions: Mapping[str, tuple[int, ...]]
    bin_width: float
    normalise: bool


def measure_case(job: tuple[Source, Settings]) -> tuple[Row, ...] | tuple[Problem, ...]:
    """Measure each region of a case, or say why that is impossible."""
    source, settings = job
    case = source.case.id
    if source.is_mask:
        told = {name: values for name, values in settings.regions.items() if WHOLE in values}
        if not told:
            what = f"a mask of the whole tumour, which has no region {', '.join(settings.regions)}"
            file = source.prediction or source.case.label
            return (Problem(case, file.name if file else "", what, "ask for --regions WT"),)
        settings = replace(settings, regions=told)
    try:
        volumes = read_case(source.case, modalities=settings.modalities)
        labels = (
            _reference(volumes) if source.prediction is None else _prediction(source, source.prediction, volumes.grid)
        )
        if settings.normalise:
            _normalise(case, volumes, settings.modalities)
        return tuple(_rows(source, settings, volumes, labels))
    except DatasetError as error:
        return error.problems
    except TooManyLevelsError as error:
        return (Problem(case, "", str(error), "give a larger --bin-width, or --normalise"),)


def _rows(source: Source, settings: Settings, volumes: CaseVolumes, labels: npt.NDArray[np.uint8]) -> Sequence[Row]:
    labels, image, grid = _cropped(labels, volumes)
    brain = np.count_nonzero(volumes.brain)
    rows: list[Row] = []
    for region, values in settings.regions.items():
        belongs = np.zeros(256, np.bool_)
        belongs[list(values)] = True
        measured = measure_region(
            belongs[labels],
            image,
            modalities=settings.modalities,
            grid=grid,
            native=volumes.native,
            bin_width=settings.bin_width,
        )
        rows.append(
            {
                "case": source.case.id,
                "region": region,
                "segmentation": "reference" if source.prediction is None else "prediction",
                "intensities": NORMALISED if settings.normalise else AS_READ,
                "bin_width": settings.bin_width,
                "share_of_brain": measured["voxels"] / brain,
                **{name: value if math.isfinite(value) else None for name, value in measured.items()},
            }
        )
    return rows


def _cropped(
    labels: npt.NDArray[np.uint8], volumes: CaseVolumes
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], Grid]:
    """Labels and image within the box of all labels, and the grid of that box."""
    labelled = labels > 0
    ends = [np.flatnonzero(labelled.any(tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3) if labelled.any()]
    low, high = np.array(ends).T if ends else (np.zeros(3, int), np.zeros(3, int))
    x, y, z = (slice(begin, end + 1) for begin, end in zip(low.tolist(), high.tolist(), strict=True))
    affine = volumes.grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    # The order in memory in which `argwhere` and masks walk through it.
    box = np.ascontiguousarray(labels[x, y, z])
    return box, np.ascontiguousarray(volumes.image[:, x, y, z]), Grid(box.shape, affine)


def _reference(volumes: CaseVolumes) -> npt.NDArray[np.uint8]:
    if volumes.label is None:
        raise ValueError("a source without a prediction is a case with a reference")
    return volumes.label


def _prediction(source: Source, path: Path, grid: Grid) -> npt.NDArray[np.uint8]:
    """Predicted labels as inside the program, in the case's RAS order.

    Raises:
        DatasetError: The file cannot be read, holds other labels or lies on another grid.
    """
    try:
        stored = read_label_map(path)
        decoded = Volume(EDITIONS[source.edition].decode(stored.array), stored.grid).ras()
    except UnreadableVolumeError as error:
        cure = "write it again as one 3-D map of whole-number labels"
        raise DatasetError(Problem(source.case.id, path.name, str(error), cure)) from error
    except ValueError as error:
        cure = "say with --prediction-edition which labels it holds"
        raise DatasetError(Problem(source.case.id, path.name, str(error), cure)) from error
    if decoded.grid.distance_mm(grid) > SAME_GRID_MM:
        what = f"its grid ({stored.grid}) is not that of the case ({grid})"
        raise DatasetError(Problem(source.case.id, path.name, what, "write the prediction on the case's grid"))
    labels: npt.NDArray[np.uint8] = decoded.array
    return labels


def _normalise(case: str, volumes: CaseVolumes, modalities: Sequence[Modality]) -> None:
    """Turn intensities into z-scores of the brain, in place.

    Raises:
        DatasetError: A modality is constant in the brain.
    """
    for modality, channel in zip(modalities, volumes.image, strict=True):
        values = channel[volumes.brain].astype(np.float64)
        deviation = values.std()
        if not deviation:
            what = f"{modality} is {values[0]:g} in the whole brain, it has no standard deviation"
            raise DatasetError(Problem(case, "", what, "leave the case out, or measure without --normalise"))
        np.subtract(channel, values.mean(), out=channel, casting="unsafe")
        np.multiply(channel, NORMALISED_SD / deviation, out=channel, casting="unsafe")
