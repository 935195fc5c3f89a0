"""The columns of a table of radiomics, in order, with their units."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from brats_lightning.labels import Modality
from brats_lightning.radiomics import first_order, glcm, glrlm, glszm, shape
from brats_lightning.radiomics.position import INDEX, WORLD

Kind = Literal["text", "whole", "number"]


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        name: As in the file's first row.
        unit: Empty for words, counts, indices and ratios.
        kind: What its cells hold.
    """

    name: str
    unit: str = ""
    kind: Kind = "number"


def columns(modalities: Iterable[Modality]) -> list[Column]:
    """Every column of a table: the place, size and shape of a region, then the features of each modality."""
    return [
        Column("case", kind="text"),
        Column("region", kind="text"),
        Column("segmentation", kind="text"),
        Column("intensities", kind="text"),
        Column("bin_width", "intensity"),
        Column("voxels", kind="whole"),
        Column("volume_ml", "ml"),
        Column("share_of_brain"),
        *[Column(f"centroid_{axis}_mm", "mm") for axis in WORLD],
        *[Column(f"box_{axis}_{end}_mm", "mm") for axis in WORLD for end in ("low", "high")],
        *[Column(f"centroid_{axis}", "voxel") for axis in INDEX],
        *[Column(f"box_{axis}_{end}", "voxel", "whole") for axis in INDEX for end in ("first", "last")],
        Column("axial_diameter_mm", "mm"),
        Column("axial_perpendicular_mm", "mm"),
        Column("axial_product_mm2", "mm²"),
        Column("axial_slice", "voxel", "whole"),
        *[Column(f"shape_{name}", unit) for name, unit in shape.UNITS.items()],
        *[column for modality in modalities for column in _of_modality(modality)],
    ]


def _of_modality(modality: Modality) -> list[Column]:
    return [
        Column(f"{modality}_grey_levels", kind="whole"),
        *[Column(f"{modality}_firstorder_{name}", unit) for name, unit in first_order.UNITS.items()],
        *[Column(f"{modality}_glcm_{name}") for name in glcm.NAMES],
        *[Column(f"{modality}_glrlm_{name}") for name in glrlm.NAMES],
        *[Column(f"{modality}_glszm_{name}") for name in glszm.NAMES],
    ]
