"""Cases that are unlike the others of their edition, by the median and the median absolute deviation.

Volumes and intensities vary by factors rather than by differences, so their logarithms are compared. Mean and standard
deviation would be moved by the very cases that are looked for.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from brats_lightning.data.case import Case
from brats_lightning.data.checking.findings import CaseNumbers, Remark, in_digits
from brats_lightning.labels import LABELS

LEAST_CASES = 20
"""Fewer cases say little about what is usual."""
FAR = 3.5
"""Robust deviations that make an outlier: Iglewicz and Hoaglin, How to Detect and Handle Outliers (1993)."""
NORMAL = 1.4826
"""Median absolute deviations of a normal distribution in its standard deviation."""
MAIN = 0.9
"""Share of an edition with one shape, voxel size or type of file that makes another one odd."""
TUMOUR = ("WT", "TC", *LABELS)


def find_outliers(cases: Sequence[Case], measured: Mapping[str, CaseNumbers]) -> list[Remark]:
    """Volumes, intensities and headers that are unlike those of the edition's other cases.

    Args:
        cases: All that were found.
        measured: Numbers of those that were read, by id.
    """
    editions: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if case.id in measured:
            editions[case.edition].append(case.id)
    remarks: list[Remark] = []
    for names in editions.values():
        if len(names) < LEAST_CASES:
            continue
        values: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        for name in names:
            for key, value in measures(measured[name]).items():
                values[key][name] = value
        for (what, unit), by_case in values.items():
            remarks += _far_ones(by_case, what=what, unit=unit)
        remarks += _odd_ones(names, measured)
    return remarks


def measures(numbers: CaseNumbers) -> dict[tuple[str, str], float]:
    """What is compared of a case: name and unit with the value, positive ones alone."""
    found: dict[tuple[str, str], float] = {}
    if numbers.label:
        for name in TUMOUR:
            found[f"volume of {name}", "ml"] = numbers.label.voxels[name] * numbers.voxel_ml
    found["volume of the brain", "ml"] = numbers.brain_voxels * numbers.voxel_ml
    for modality, image in numbers.images.items():
        found[f"median of {modality}", ""] = image.median
        if image.median > 0:
            found[f"99th percentile over median of {modality}", ""] = image.high / image.median
        if image.high > 0:
            found[f"largest value over 99th percentile of {modality}", ""] = image.largest / image.high
    return {key: value for key, value in found.items() if value > 0 and np.isfinite(value)}


def robust_deviations(values: Sequence[float]) -> list[float]:
    """Distance of each value from the median, in deviations that half of the values decide; 0 where these are equal.

    Example:
        >>> [round(far, 1) for far in robust_deviations([1, 2, 3, 4, 100])]
        [-1.3, -0.7, 0.0, 0.7, 65.4]
    """
    array = np.asarray(values, np.float64)
    away = array - np.median(array)
    deviation = NORMAL * float(np.median(np.abs(away)))
    return [float(far) for far in away / deviation] if deviation else [0.0] * len(array)


def _far_ones(by_case: Mapping[str, float], *, what: str, unit: str) -> list[Remark]:
    if len(by_case) < LEAST_CASES:
        return []
    values = list(by_case.values())
    usual = in_digits(float(np.median(values)))
    unit = f" {unit}" if unit else ""
    return [
        Remark(
            case, "outlier", f"{what} {in_digits(by_case[case])}{unit}, {far:+.1f} robust deviations from {usual}{unit}"
        )
        for case, far in zip(by_case, robust_deviations(np.log(values).tolist()), strict=True)
        if abs(far) > FAR
    ]


def _odd_ones(names: Sequence[str], measured: Mapping[str, CaseNumbers]) -> list[Remark]:
    """Headers that say something else than nearly all others of the edition."""
    told: dict[str, dict[str, str]] = defaultdict(dict)
    for name in names:
        numbers = measured[name]
        if numbers.shape:
            told["shape"][name] = "×".join(map(str, numbers.shape))
        for kind, header in numbers.headers.items():
            told[f"type of {kind}"][name] = header.stored_as
            told[f"voxel size of {kind} in mm"][name] = "×".join(f"{size:.3g}" for size in header.spacing_mm)
            told[f"orientation of {kind}"][name] = header.orientation
    remarks = []
    for what, by_case in told.items():
        (usual, count), *_ = Counter(by_case.values()).most_common()
        if len(by_case) >= LEAST_CASES and count >= MAIN * len(by_case):
            remarks += [
                Remark(case, "header", f"{what} {value}, {count} of {len(by_case)} cases have {usual}")
                for case, value in by_case.items()
                if value != usual
            ]
    return remarks
