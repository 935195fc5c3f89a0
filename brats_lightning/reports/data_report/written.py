"""The report of a folder of cases as files: a page, and all numbers as JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path

from brats_lightning.data.check import Checked
from brats_lightning.data.checking.needs import Needs, needs
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.splits import PARTS
from brats_lightning.errors import ConfigError
from brats_lightning.reports.data_report.page import data_page
from brats_lightning.reports.data_report.training import training_bytes
from brats_lightning.reports.html.page import Json
from brats_lightning.reports.html.written import write_page
from brats_lightning.reports.run.settings import read_settings, value_of
from brats_lightning.runs import CONFIG

FORMAT = 1
"""Raised whenever a key of the JSON is dropped or means something else."""


def write_report(checked: Checked, output: Path, *, root: Path, headers: bool, run: Path | None = None) -> list[Path]:
    """Write the page and, beside it, the JSON of the same name.

    Args:
        checked: What was found.
        output: The HTML file.
        root: The folder of cases.
        headers: Only headers were read.
        run: Folder of a run whose image size decides what the cases need, if it is one.

    Returns:
        The two files.

    Raises:
        ConfigError: They cannot be written.
    """
    size = size_of_run(run)
    usable = {name: checked.numbers[name] for name in checked.notes if name in checked.numbers}
    needed = needs(usable, channels=len(checked.modalities), size=size)
    training = training_bytes(size, channels=len(checked.modalities))
    beside = output.with_suffix(".json")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record(checked, needed, root=root, size=size, training=training), indent=1, allow_nan=False)
        write_page(beside, text + "\n")
        write_page(output, data_page(checked, needed, root=root, headers=headers, size=size, training=training))
    except OSError as error:
        raise ConfigError(f"the report {output} cannot be written ({error.strerror}): give another --output") from error
    return [output, beside]


def size_of_run(run: Path | None) -> tuple[int, int, int]:
    """Voxels an axis to which a run resamples its cases; where none says so, those of the defaults."""
    default = Preprocessing().fixed_size
    assert default is not None  # noqa: S101 - it is 128 voxels an axis
    if run is None or not (run / CONFIG).is_file():
        return default
    size = value_of(read_settings(run / CONFIG), "data.preprocessing.size")
    if not isinstance(size, list) or len(size) != 3 or not all(isinstance(edge, int) for edge in size):
        return default
    return int(size[0]), int(size[1]), int(size[2])


def record(
    checked: Checked, needed: Needs, *, root: Path, size: tuple[int, int, int], training: int | None
) -> dict[str, Json]:
    """All that was found, as JSON has it; numbers that are not finite are null."""
    part_of = {name: part for part in PARTS for name in getattr(checked.parts, part, ())}
    cases: list[Json] = [
        {
            "case": case.id,
            "patient": case.patient,
            "edition": case.edition,
            "labelled": case.label is not None,
            "part": part_of.get(case.id),
            "files": [str(path) for path in case.files],
            "usable": case.id in checked.notes,
            "notes": list(checked.notes.get(case.id, ())),
            "remarks": [plain(remark) for remark in checked.remarks if remark.case == case.id],
            "numbers": plain(checked.numbers.get(case.id)),
        }
        for case in checked.cases
    ]
    return {
        "format": FORMAT,
        "root": str(root),
        "modalities": list(checked.modalities),
        "problems": [plain(problem) for problem in checked.problems],
        "needs": {**asdict(needed), "size": list(size), "training_bytes": training},
        "cases": cases,
    }


def plain(value: object) -> Json:
    """A value of dataclasses, mappings, sequences and numbers as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(held) for held in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else str(value)
