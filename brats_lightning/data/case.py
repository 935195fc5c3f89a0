"""A case: one patient at one time, as files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.labels import Modality


@dataclass(frozen=True)
class Volume4D:
    """One channel of a 4-D file.

    Args:
        path: The file.
        channel: Index along its last axis.
    """

    path: Path
    channel: int


@dataclass(frozen=True)
class Case:
    """One patient at one time.

    Args:
        id: As the edition names it.
        patient: Shared by all time points of one patient.
        edition: A name of `labels.EDITIONS`.
        images: File of each modality, or the channel of a 4-D file.
        label: File of the expert's segmentation, None where there is none. Figshare's files hold it beside the image.
        notes: Oddities of names that were read rightly, in words.
    """

    id: str
    patient: str
    edition: str
    images: Mapping[Modality, Path | Volume4D]
    label: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Every file of the case, once."""
        images = [image.path if isinstance(image, Volume4D) else image for image in self.images.values()]
        return list(dict.fromkeys([*images, *([self.label] if self.label else [])]))
