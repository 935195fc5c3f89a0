"""The segmentation of a case: how large it is, and whether it belongs to its images."""

import re

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from brats_lightning.data.case import Case
from brats_lightning.data.checking.findings import CaseNumbers, LabelNumbers, Remark
from brats_lightning.data.checking.sides import LEAST_CONTRAST
from brats_lightning.data.checking.voxels import digest
from brats_lightning.errors import Problem
from brats_lightning.labels import LABELS, MASK, REGIONS

MOST_OUTSIDE = 0.25
"""Share of the tumour where all images are background that no skull-stripping explains: it takes some of the rim."""
ODD_OUTSIDE = 0.01
LONE_ET_ML = 0.1
"""ET with no other tumour around it, of all such parts together: less is a speck of a few voxels."""
LARGEST_SHARE = 0.4
"""Of the brain: more tumour than this is hardly survived."""
SMALLEST_ML = 0.1
"""A whole tumour of less is a few voxels of 1 mm."""
NO_OEDEMA = re.compile(r"^brats-(men|met)-", re.IGNORECASE)
"""Meningiomas and metastases, where ET alone is the rule."""


def measure_label(
    label: npt.NDArray[np.uint8], brain: npt.NDArray[np.bool_], *, contrast: float | None
) -> LabelNumbers:
    """Numbers of a segmentation (X, Y, Z) with the labels inside the program.

    Args:
        label: The segmentation.
        brain: (X, Y, Z), where any image is not background.
        contrast: From `sides.label_contrast`.
    """
    counts = np.bincount(label.ravel(order="K"), minlength=7)
    voxels = {name: int(counts[value]) for name, value in LABELS.items()}
    voxels |= {name: int(sum(counts[value] for value in REGIONS[name])) for name in ("WT", "TC")}
    lesions, lone = _parts(label)
    tumour = np.isin(label.T, REGIONS["WT"])
    outside = int(np.count_nonzero(tumour & ~brain.T)) / max(voxels["WT"], 1)
    return LabelNumbers(digest(label), voxels, lesions, outside, lone, contrast)


def _parts(label: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Connected parts of the whole tumour, and the voxels of ET in parts that hold nothing else."""
    box = ndimage.find_objects((label != 0).view(np.uint8))
    if not box:
        return 0, 0
    # Of the box alone: the rest is background.
    inside = np.ascontiguousarray(label[box[0]])
    parts, count = ndimage.label(np.isin(inside, REGIONS["WT"]) | (inside == LABELS["RC"]), np.ones((3, 3, 3)))
    of_et = np.bincount(parts[inside == LABELS["ET"]], minlength=count + 1)
    of_all = np.bincount(parts.ravel(), minlength=count + 1)
    alone = (of_et == of_all) & (of_et > 0)
    alone[0] = False
    return int(count), int(of_et[alone].sum())


def judge_label(case: Case, numbers: CaseNumbers) -> tuple[list[Problem], list[Remark]]:
    """What is wrong and what is odd about a case's segmentation.

    Args:
        case: Whose it is.
        numbers: Measured of the case.
    """
    label = numbers.label
    if label is None or case.label is None or not label.voxels["WT"]:
        return [], []
    name, problems, remarks = case.label.name, [], []
    whole_ml = label.voxels["WT"] * numbers.voxel_ml
    if label.outside >= MOST_OUTSIDE:
        what = f"{label.outside:.0%} of the tumour lies where all images are background"
        problems.append(Problem(case.id, name, what, "replace the file: it belongs to other images, or is mirrored"))
    elif label.outside >= ODD_OUTSIDE:
        what = f"{label.outside:.1%} of the tumour lies where all images are background"
        remarks.append(Remark(case.id, "label", what, name))
    if case.edition == MASK:
        return problems, remarks
    if (share := label.voxels["WT"] / max(numbers.brain_voxels, 1)) > LARGEST_SHARE:
        remarks.append(Remark(case.id, "label", f"{share:.0%} of the brain is tumour", name))
    if whole_ml < SMALLEST_ML:
        remarks.append(Remark(case.id, "label", f"a tumour of {whole_ml:.2g} ml in all", name))
    lone_ml = label.lone_et * numbers.voxel_ml
    if lone_ml > LONE_ET_ML and not NO_OEDEMA.match(case.id):
        what = f"{lone_ml:.3g} ml of enhancing tumour touch no other tumour"
        remarks.append(Remark(case.id, "label", what, name))
    if label.contrast is not None and label.contrast < -LEAST_CONTRAST:
        brighter = f"{-label.contrast:.1f} deviations brighter at the mirrored place than in the tumour"
        what = f"T2-weighted images are {brighter}: is it mirrored?"
        remarks.append(Remark(case.id, "sides", what, name))
    return problems, remarks
