"""Modalities, label values, regions, editions and batch keys: the only place that knows a label number.

Inside the program a label map always holds 0 background, 1 NCR, 2 ED, 3 ET, 4 RC, 5 CC, or 6 where all that is known is
that there is tumour. A file holds its edition's own values; `Edition.decode` and `Edition.encode` translate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Modality = Literal["t1n", "t1c", "t2w", "t2f"]
MODALITIES: tuple[Modality, ...] = ("t1n", "t1c", "t2w", "t2f")
"""Native T1, T1 with contrast agent, T2, T2-FLAIR: the order of an image's channels unless a run says otherwise."""

LABELS: Mapping[str, int] = {"NCR": 1, "ED": 2, "ET": 3, "RC": 4, "CC": 5}
"""Necrotic and non-enhancing core, oedema, enhancing tumour, resection cavity, cystic component."""

WHOLE = 6
"""Tumour of no stated tissue: all that a mask of the whole tumour says."""

REGIONS: Mapping[str, tuple[int, ...]] = {
    **{name: (value,) for name, value in LABELS.items()},
    "TC": (1, 3, 5),  # tumour core
    "WT": (1, 2, 3, 5, WHOLE),  # whole tumour; a resection cavity is in neither (BraTS 2024)
}
TISSUES = ("ET", "ED", "NCR")
CHALLENGE_REGIONS = ("WT", "TC", "ET")

Plane = Literal["sagittal", "coronal", "axial"]
PLANES: Mapping[Plane, int] = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Planes of slices, with the axis across them of a volume in RAS order."""

IMAGE, LABEL, CASE, SPACING, SEED = "image", "label", "case", "spacing_mm", "seed"
"""Keys of a sample and of a batch: (4, X, Y, Z) float, (1, X, Y, Z) integer, the case's id, (3,) millimetres, and the
32-bit seed of its augmentation, which training samples alone have."""


@dataclass(frozen=True)
class Edition:
    """One year's way of storing labels.

    Args:
        name: As the command line takes it.
        values: From the label values of a file to those inside the program, without the background.
        modality_names: How the edition's files name the four modalities, in the order of `MODALITIES`.
    """

    name: str
    values: Mapping[int, int]
    modality_names: tuple[str, str, str, str]

    def __str__(self) -> str:
        return "a mask" if self.name == MASK else f"BraTS {self.name}"

    def decode(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Translate a file's integer labels of any shape to those inside the program.

        Raises:
            ValueError: A value that the edition does not have.
        """
        found = label_values(labels)
        if foreign := sorted(found - {0, *self.values}):
            fitting = [name for name, edition in EDITIONS.items() if found <= {0, *edition.values}]
            hint = f" (they would fit {', '.join(fitting)})" if fitting else ""
            allowed = " ".join(str(value) for value in sorted({0, *self.values}))
            raise ValueError(f"label {' '.join(map(str, foreign))} found, {self} has {allowed}{hint}")
        table = np.zeros(max(self.values) + 1, np.uint8)
        for outside, inside in self.values.items():
            table[outside] = inside
        decoded: npt.NDArray[np.uint8] = table[labels]
        return decoded

    def encode(self, labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Translate labels from inside the program back to the edition's own values.

        Raises:
            ValueError: A label that the edition cannot express.
        """
        back = {inside: outside for outside, inside in reversed(list(self.values.items()))}
        if foreign := sorted(label_values(labels) - {0, *back}):
            names = [name for name, value in LABELS.items() if value in foreign]
            names += ["tumour of no stated tissue"] if WHOLE in foreign else []
            raise ValueError(f"{self} has no label for {', '.join(names) or foreign}")
        table = np.zeros(max(back) + 1, np.uint8)
        for inside, outside in back.items():
            table[inside] = outside
        encoded: npt.NDArray[np.uint8] = table[labels]
        return encoded


MASK = "mask"
"""Name of the edition whose files tell tumour from all else, and no tissues."""
_NCR, _ED, _ET, _RC, _CC = (LABELS[name] for name in ("NCR", "ED", "ET", "RC", "CC"))
_NAMES_2017 = ("t1", "t1ce", "t2", "flair")
_NAMES_2023 = ("t1n", "t1c", "t2w", "t2f")

EDITIONS: Mapping[str, Edition] = {
    edition.name: edition
    for edition in (
        # The non-enhancing tumour of 2012–2015 has joined the necrosis in every later year.
        Edition("2015", {1: _NCR, 2: _ED, 3: _NCR, 4: _ET}, ("MR_T1", "MR_T1c", "MR_T2", "MR_Flair")),
        *(Edition(year, {1: _NCR, 2: _ED, 4: _ET}, _NAMES_2017) for year in ("2017", "2018", "2019", "2020", "2021")),
        Edition("2023", {1: _NCR, 2: _ED, 3: _ET}, _NAMES_2023),
        Edition("2024-GLI", {1: _NCR, 2: _ED, 3: _ET, 4: _RC}, _NAMES_2023),
        Edition("2024-PED", {1: _ET, 2: _NCR, 3: _CC, 4: _ED}, _NAMES_2023),
        Edition("MSD", {1: _ED, 2: _NCR, 3: _ET}, ("T1w", "T1gd", "T2w", "FLAIR")),
        Edition(MASK, {1: WHOLE}, _NAMES_2023),
    )
}


def label_values(labels: npt.NDArray[Any]) -> set[int]:
    """The distinct values of an integer array of any shape."""
    if labels.size and labels.min() >= 0 and (largest := int(labels.max())) <= 255:
        small = labels.astype(np.uint8, copy=False)
        if largest < 16:
            return {value for value in range(largest + 1) if (small == value).any()}  # five times as fast as counting
        return set(np.flatnonzero(np.bincount(small.ravel(order="K"))).tolist())  # ten times as fast as sorting
    return set(np.unique(labels).tolist())


def region_labels(regions: Sequence[str] | Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Label values of each region.

    Args:
        regions: Names of `REGIONS`, or own names with their label values.

    Raises:
        ValueError: A name that `REGIONS` does not have.

    Example:
        >>> region_labels(["WT", "ET"])
        {'WT': (1, 2, 3, 5, 6), 'ET': (3,)}
    """
    if isinstance(regions, Mapping):
        return {name: tuple(values) for name, values in regions.items()}
    if unknown := [name for name in regions if name not in REGIONS]:
        raise ValueError(f"unknown region {', '.join(unknown)}: expected one of {', '.join(REGIONS)}")
    return {name: REGIONS[name] for name in regions}
