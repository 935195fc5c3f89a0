"""What was measured of a case, and what is odd about it: plain numbers, small enough to keep of thousands of cases."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from brats_lightning.errors import Problem
from brats_lightning.labels import Modality

About = Literal["header", "intensity", "label", "sides", "duplicate", "outlier", "split"]


@dataclass(frozen=True)
class Remark:
    """Something odd that does not make a case unusable: somebody may want to look.

    Args:
        case: Its id.
        about: What kind of thing it is.
        what: In words.
        file: The file's name, empty where it concerns the whole case.
    """

    case: str
    about: About
    what: str
    file: str = ""

    def __str__(self) -> str:
        return f"{self.file}: {self.what}" if self.file else self.what


def in_digits(value: float) -> str:
    """A number in three digits, or in whole ones from a thousand.

    >>> in_digits(0.01234), in_digits(20100.4)
    ('0.0123', '20,100')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


@dataclass(frozen=True)
class HeaderFacts:
    """What the header of one file says.

    Args:
        file: Its name.
        shape: Voxels along each stored axis.
        spacing_mm: Along the first three axes.
        orientation: Direction in which each axis grows, such as `LPS`.
        stored_as: Type of the voxels in the file.
        limits: Smallest and largest value that this type has, scaled as the header says; None of floats.
        bytes: Size of the file.
    """

    file: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    orientation: str
    stored_as: str
    limits: tuple[float, float] | None
    bytes: int


@dataclass(frozen=True)
class ImageNumbers:
    """One modality, its background at 0.

    Args:
        digest: Of the voxels in RAS order, whatever the file is called and however it is compressed or stored.
        smallest: Value of all voxels.
        largest: Value of all voxels.
        median: Of its own brain, the voxels that are no background.
        high: The 99th percentile there, of a sample of the voxels.
        at_largest: Share of the brain's voxels that hold exactly the largest value.
        covered: Share of the brain, which any modality shows, that this one shows.
        values: Different values of a sample of its brain's voxels.
    """

    digest: str
    smallest: float
    largest: float
    median: float
    high: float
    at_largest: float
    covered: float
    values: int


@dataclass(frozen=True)
class LabelNumbers:
    """The expert's segmentation, in the labels inside the program.

    Args:
        digest: As of an image.
        voxels: By label name, and of `WT` and `TC`; labels that are not there have 0.
        lesions: Connected parts of the whole tumour.
        outside: Share of the tumour's voxels where all images are background.
        lone_et: Voxels of ET in parts of the tumour that hold nothing else.
        contrast: How much brighter T2-weighted images are in the tumour than at the mirrored place, in standard
            deviations of the brain; None where that cannot be told.
    """

    digest: str
    voxels: Mapping[str, int]
    lesions: int
    outside: float
    lone_et: int
    contrast: float | None


@dataclass(frozen=True)
class CaseNumbers:
    """All that was measured of a case.

    Args:
        headers: By modality, and `label`; files without a NIfTI header are absent.
        digests: Of each modality and `label` that could be read, of a refused case too.
        images: By modality; empty where only headers were read, or the case was refused.
        label: None for an unlabelled case too.
        shape: Voxels of the case's grid in RAS order, empty where no file could be read.
        voxel_ml: Volume of a voxel; of pictures, which have no place in the world, as of a cube of 1 mm.
        brain_voxels: That any modality shows.
        brain_box: Voxels along each axis of the box around them.
    """

    headers: Mapping[str, HeaderFacts] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[Modality, ImageNumbers] = field(default_factory=dict)
    label: LabelNumbers | None = None
    shape: tuple[int, ...] = ()
    voxel_ml: float = 0.001
    brain_voxels: int = 0
    brain_box: tuple[int, ...] = ()


@dataclass(frozen=True)
class CaseChecked:
    """What looking at one case gave.

    Args:
        problems: Why it cannot be used.
        notes: Harmless oddities that reading met.
        remarks: What else is odd.
        numbers: What was measured.
    """

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    remarks: tuple[Remark, ...]
    numbers: CaseNumbers
