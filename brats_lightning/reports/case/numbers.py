"""The numbers of a case: how large each region is, and how well the prediction agrees with the reference."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from brats_lightning.inference.results import INTERNAL
from brats_lightning.labels import EDITIONS, REGIONS, TISSUES, label_values
from brats_lightning.metrics.case_scores import score_case
from brats_lightning.metrics.diameters import axial_diameters, longest_diameter, outline
from brats_lightning.metrics.empty import EMPTY_POLICIES
from brats_lightning.metrics.surface import Convention
from brats_lightning.reports.case.files import CaseFilesRead
from brats_lightning.reports.predicted import Labels

ORDER = ("WT", "TC", "ET", "NCR", "ED", "RC", "CC")
SCORES: Mapping[str, str] = {"dice": "Dice", "iou": "IoU", "sensitivity": "sensitivity", "hd95_mm": "HD95"}
DISTANCES: Convention = "directed"
EMPTY, EMPTY_OF_PICTURES = "brats", "brats-diagonal"


@dataclass(frozen=True)
class Size:
    """How large a region is, in mm and ml or, where these are not known, in pixels.

    Args:
        voxels: That it has.
        volume_ml: Of these.
        longest: Between two points of its outline anywhere; None in a single slice.
        axial: The longest one of a lesion in a slice.
        across: At a right angle to that.
        slice: Index of that slice.
    """

    voxels: int
    volume_ml: float
    longest: float | None
    axial: float
    across: float
    slice: int


@dataclass(frozen=True)
class CaseNumbers:
    """All that is measured of a case.

    Args:
        sizes: By segmentation and region, of the regions that the segmentation can tell; None for one that is absent.
        scores: By region and score, of the regions that both sides can tell; empty without a reference.
        empty: Name of the policy for empty masks.
    """

    sizes: Mapping[str, Mapping[str, Size | None]]
    scores: Mapping[str, Mapping[str, float]]
    empty: str

    def absent(self, segmentation: str) -> list[str]:
        """Tissues, the whole tumour and its core left aside, that a segmentation could have and has not."""
        return [name for name, size in self.sizes[segmentation].items() if size is None and len(REGIONS[name]) == 1]


def measure(read: CaseFilesRead) -> CaseNumbers:
    """Measure a case; what does not know its place in the world, in pixels."""
    spacing_mm = read.volumes.grid.spacing_mm if read.placed else (1.0, 1.0, 1.0)
    empty = EMPTY if read.placed else EMPTY_OF_PICTURES
    told = {name: told_by(read.editions[name], labels) for name, labels in read.segmentations.items()}
    found = {name: sizes(labels, told[name], spacing_mm=spacing_mm) for name, labels in read.segmentations.items()}
    if read.reference is None:
        return CaseNumbers(found, {}, empty)
    both = [region for region in told["prediction"] if region in told["reference"]]
    compared = scores(read.prediction, read.reference, both, spacing_mm=spacing_mm, empty=empty)
    return CaseNumbers(found, compared, empty)


def told_by(edition: str, labels: Labels) -> tuple[str, ...]:
    """Regions that a label map can tell: a mask of the whole tumour says nothing of an enhancing part.

    Args:
        edition: Whose labels its file holds, or `internal`.
        labels: What it holds, as inside the program.

    Example:
        >>> told_by("mask", np.zeros((1, 1, 1), np.uint8)), told_by("2021", np.zeros((1, 1, 1), np.uint8))
        (('WT',), ('WT', 'TC', 'ET', 'NCR', 'ED'))
    """
    if edition == INTERNAL:
        found = label_values(labels) - {0}
        values = found if found == set(REGIONS["WT"][-1:]) else found | {REGIONS[name][0] for name in TISSUES}
    else:
        values = set(EDITIONS[edition].values.values())
    return tuple(name for name in ORDER if values & set(REGIONS[name]))


def mask_of(labels: Labels, region: str) -> npt.NDArray[np.bool_]:
    """Where a region is."""
    return np.isin(labels, REGIONS[region])


def sizes(labels: Labels, regions: Iterable[str], *, spacing_mm: Sequence[float]) -> dict[str, Size | None]:
    """Size of each region by name, None for one that is absent.

    Args:
        labels: (X, Y, Z) as inside the program; in a volume of one slice along any axis, the diameters lie in it.
        regions: Names of `labels.REGIONS`.
        spacing_mm: Distance between voxels along each axis.
    """
    flat = [axis for axis, size in enumerate(labels.shape) if size == 1]
    across = flat[-1] if flat else 2
    steps = [float(step) for step in spacing_mm]
    turned = np.moveaxis(labels, across, 2)
    x, y, z = [step for axis, step in enumerate(steps) if axis != across] + [steps[across]]
    found: dict[str, Size | None] = {}
    for region in regions:
        mask = mask_of(turned, region)
        voxels = int(np.count_nonzero(mask))
        found[region] = None
        if voxels:
            box = tuple(slice(at.min(), at.max() + 1) for at in np.nonzero(mask))
            part = mask[box]
            axial, width, at = axial_diameters(part, spacing_mm=(x, y, z))
            longest = None if flat else longest_diameter(outline(part), spacing_mm=(x, y, z))
            found[region] = Size(voxels, voxels * math.prod(steps) / 1000, longest, axial, width, at + box[2].start)
    return found


def scores(
    prediction: Labels, reference: Labels, regions: Iterable[str], *, spacing_mm: Sequence[float], empty: str
) -> dict[str, dict[str, float]]:
    """The scores of `SCORES` by region.

    Args:
        prediction: (X, Y, Z) as inside the program.
        reference: The same.
        regions: Names of `labels.REGIONS`.
        spacing_mm: Distance between voxels along each axis.
        empty: Name of the policy for empty masks.
    """
    wanted = {region: REGIONS[region] for region in regions}
    row = score_case(
        prediction,
        reference,
        spacing_mm=spacing_mm,
        regions=wanted,
        empty=EMPTY_POLICIES[empty],
        scores=tuple(SCORES),
        convention=DISTANCES,
    )
    return {region: {score: row[f"{score}_{region}"] for score in SCORES} for region in wanted}
