"""Intensities of a case: clipped, constant or overflown images, and those that show less of the brain than others."""

from collections.abc import Mapping, Sequence

import numpy as np

from brats_lightning.data.case import Case
from brats_lightning.data.checking.findings import HeaderFacts, ImageNumbers, Remark
from brats_lightning.data.checking.voxels import digest
from brats_lightning.data.reading import CaseVolumes
from brats_lightning.errors import Problem
from brats_lightning.labels import Modality

SAMPLE = 100_000
"""Voxels of a brain that stand for its 1.5 million: the 99th percentile of so many is that of all within 1 %."""
CLIPPED = 0.001
"""A share of the brain that holds exactly the largest value: noise never gives one voxel in a thousand the same."""
LEAST_CLIPPED = 20
"""As many voxels at the largest value, too: in a small picture a thousandth is few."""
FEWEST_VALUES = 16
"""A brain with no more different values is a mask or a label map in an image's place; 8-bit images have over 100."""
LEAST_COVERED = 0.9
"""An image shows this share of the brain that others show: skull-stripping by another mask loses less."""


def measure_images(
    volumes: CaseVolumes, modalities: Sequence[Modality], *, whole_head: bool = False
) -> dict[Modality, ImageNumbers]:
    """Numbers of each channel of a case.

    Args:
        volumes: Read and accepted.
        modalities: Of its channels.
        whole_head: The images show skull and air: a voxel of 0 is none of a background.
    """
    brain = int(np.count_nonzero(volumes.brain))
    measured: dict[Modality, ImageNumbers] = {}
    for modality, image in zip(modalities, volumes.image, strict=True):
        own = volumes.brain if whole_head else image != 0
        # x runs fastest in memory: transposed, no voxel is moved to be looked at.
        values = image.T[own.T]
        largest = float(image.max())
        sample = values[:: max(values.size // SAMPLE, 1)]
        measured[modality] = ImageNumbers(
            digest=digest(image),
            smallest=float(image.min()),
            largest=largest,
            median=float(np.median(sample)),
            high=float(np.percentile(sample, 99)),
            at_largest=int(np.count_nonzero(values == largest)) / values.size,
            covered=values.size / max(brain, 1),
            values=len(np.unique(sample)),
        )
    return measured


def judge_images(
    case: Case,
    images: Mapping[Modality, ImageNumbers],
    headers: Mapping[str, HeaderFacts],
    *,
    brain_voxels: int,
) -> tuple[list[Problem], list[Remark]]:
    """What is wrong and what is odd about a case's images.

    Args:
        case: Whose they are.
        images: From `measure_images`.
        headers: Of their files, as far as they have one.
        brain_voxels: That any modality shows.
    """
    problems, remarks = _twice(case, images), []
    for modality, image in images.items():
        name = name_of(case, modality)
        at_largest = round(image.at_largest * image.covered * brain_voxels)
        if image.values == 1:
            what = f"constant inside the brain: every voxel of {modality} is background or {image.median:.4g}"
            problems.append(Problem(case.id, name, what, "replace the file: it is a mask, no image"))
        elif image.values <= FEWEST_VALUES:
            remarks.append(Remark(case.id, "intensity", f"only {image.values} different values: a mask?", name))
        elif said := _limit(image, headers.get(modality), at_largest):
            remarks.append(Remark(case.id, "intensity", said, name))
        elif image.at_largest >= CLIPPED and at_largest >= LEAST_CLIPPED:
            what = f"{image.at_largest:.2%} of its brain has the largest value, {image.largest:.5g}: clipped"
            remarks.append(Remark(case.id, "intensity", what, name))
        if image.covered < LEAST_COVERED:
            what = f"shows {image.covered:.0%} of the brain that the modalities show together"
            remarks.append(Remark(case.id, "intensity", what, name))
    return problems, remarks


def name_of(case: Case, modality: Modality) -> str:
    """Name of the file of a modality."""
    file = case.images[modality]
    return file.name if hasattr(file, "name") else file.path.name


def _limit(image: ImageNumbers, header: HeaderFacts | None, voxels: int) -> str:
    """Whether an image of 16 bits or more reaches the end of its type; 8-bit images are stretched to theirs."""
    if header is None or header.limits is None or header.limits[1] - header.limits[0] < 2**15:
        return ""
    low, high = header.limits
    if image.largest >= high:
        return f"{max(voxels, 1)} voxels reach the largest value of {header.stored_as}: clipped or overflown"
    if low < 0 and image.smallest <= low:
        return f"reaches the smallest value of {header.stored_as}: clipped or overflown"
    return ""


def _twice(case: Case, images: Mapping[Modality, ImageNumbers]) -> list[Problem]:
    first: dict[str, Modality] = {}
    problems = []
    for modality, image in images.items():
        other = first.setdefault(image.digest, modality)
        if other != modality:
            what = f"{modality} has exactly the voxels of {other}"
            cure = "one of the two images is missing: download the case again"
            problems.append(Problem(case.id, name_of(case, modality), what, cure))
    return problems
