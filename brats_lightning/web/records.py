"""What is known of a case on the server: stored as `case.json`, and what the API answers with."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["collecting", "queued", "running", "done", "failed", "cancelled"]
"""collecting: files may be put and removed. queued, running: the network's turn comes or is there. The others are ends;
from `failed` and `cancelled` a case may be changed and started again."""
Kind = Literal["t1n", "t1c", "t2w", "t2f", "seg"]
"""A modality, or a reference segmentation."""
Work = Literal["segment", "compare", "report", "radiomics"]
"""What a worker does for a case: `segment` makes it done; the others add to it afterwards."""


class Record(BaseModel):
    """Plain data that knows its fields."""

    model_config = ConfigDict(extra="forbid")


class FileRecord(Record):
    """A file that was put."""

    id: str = Field(description="Within its case; the server's own name of it.")
    name: str = Field(description="What the user calls it: shown, and never a path.")
    kind: Kind | None = Field(description="Recognised by its name, or chosen; null where neither has been.")
    bytes: int
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]


class Size(Record):
    """How large a region is, in mm and ml or, where these are not known, in pixels."""

    voxels: int
    volume_ml: float
    longest_mm: float | None = Field(description="Between two points of its outline; null in a single slice.")
    axial_mm: float = Field(description="The longest diameter of a lesion in a slice.")
    across_mm: float = Field(description="At a right angle to that.")


class Scores(Record):
    """Agreement of a region with the reference."""

    dice: float | None
    iou: float | None
    sensitivity: float | None
    hd95_mm: float | None


class Tissue(Record):
    """A label of the result, as the page draws it."""

    name: str
    title: str
    value: int = Field(description="In `prediction.nii.gz` and `reference.nii.gz` of the view.")
    colour: str = Field(description="#rrggbb")


class View(Record):
    """Volumes for the page, all on one grid in RAS order: names of results that `volumes/` holds."""

    images: list[Kind]
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: list[list[float]] = Field(description="3×4, voxel to mm; the volumes themselves carry the spacing alone.")
    centre: tuple[int, int, int] = Field(description="Voxel in the largest lesion, where looking begins.")
    tissues: list[Tissue]
    placed: bool = Field(description="Whether directions and mm are those of the patient, which pictures do not know.")


class CaseRecord(Record):
    """A case on the server."""

    id: str
    name: str = Field(description="What its files' names have in common, for titles and downloads.")
    state: State = "collecting"
    created: float = Field(description="Seconds since 1970.")
    expires: float = Field(description="When it will be erased.")
    example: bool = Field(default=False, description="A synthetic phantom.")
    files: list[FileRecord] = []
    networks: list[str] = Field(default=[], description="That segment it, several as an ensemble.")
    needs: list[Kind] = Field(default=[], description="Modalities of these networks.")
    missing: list[Kind] = Field(default=[], description="Those among them that no file has been put for.")
    position: int | None = Field(default=None, description="In the queue: 1 comes next.")
    stage: str = Field(default="", description="What is being done, in words.")
    percent: float = 0
    error: str | None = Field(default=None, description="Why it failed, in a sentence.")
    notes: list[str] = Field(default=[], description="What was odd about its files.")
    working: list[Work] = Field(default=[], description="What is still being made, besides the segmentation.")
    failed: dict[str, str] = Field(default={}, description="Which of these could not be made, and why.")
    results: list[str] = Field(default=[], description="Names below `results/`.")
    sizes: dict[str, dict[str, Size | None]] = Field(default={}, description="By segmentation and region.")
    scores: dict[str, Scores] = Field(default={}, description="By region, where there is a reference.")
    view: View | None = None


class Network(Record):
    """A checkpoint that is offered."""

    name: str
    modalities: list[Kind]
    regions: list[str]
    slices: bool = Field(description="Takes pictures of a single slice.")
