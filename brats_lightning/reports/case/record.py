"""What a report of a case was made from: its files, how they were read, and the versions of what read them."""

import hashlib
import platform
from importlib import metadata
from pathlib import Path

from brats_lightning.data.case import Volume4D
from brats_lightning.inference.results import INTERNAL
from brats_lightning.labels import EDITIONS
from brats_lightning.reports.case.files import CaseFilesRead
from brats_lightning.reports.figures.canvas import TITLES
from brats_lightning.reports.html.page import Section
from brats_lightning.reports.html.parts import facts, joined, listing, paragraph, table
from brats_lightning.reports.viewer.section import niivue_version

DIGEST_DIGITS = 16
PACKAGES = ("brats-lightning", "numpy", "scipy", "nibabel", "matplotlib")


def provenance(read: CaseFilesRead) -> Section:
    """Files by name and contents, never by place: where they lie is nobody's business but the user's."""
    rows = [[name, path.name, f"{path.stat().st_size / 1e6:.3g}", _digest(path)] for name, path in _files(read).items()]
    versions = {name: metadata.version(name) for name in PACKAGES}
    versions |= {"NiiVue": niivue_version(), "Python": platform.python_version()}
    about = {
        "grid": _grid(read),
        **{f"labels of the {name}": _in_words(read.editions[name]) for name in read.segmentations},
        "made with": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }
    notes = [paragraph("Noted while reading:"), listing(read.volumes.notes)] if read.volumes.notes else []
    columns = ["", "file", "MB", f"SHA-256, first {DIGEST_DIGITS} digits"]
    return Section("Where this comes from", joined(table(columns, rows, words=2), facts(about), *notes))


def _grid(read: CaseFilesRead) -> str:
    """The grid of the files; where the report numbers voxels and slices in another direction, that is said."""
    native = read.volumes.native
    turned = read.placed and native.orientation != "RAS"
    return (
        f"{native}; voxels and slices are numbered here from 0 to the right, front and top" if turned else str(native)
    )


def _files(read: CaseFilesRead) -> dict[str, Path]:
    files = {}
    for name in read.modalities:
        image = read.case.images[name]
        files[TITLES.get(name, name)] = image.path if isinstance(image, Volume4D) else image
    files["prediction"] = read.predicted.path
    if read.reference_path is not None:
        files["reference"] = read.reference_path
    return files


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGEST_DIGITS]


def _in_words(edition: str) -> str:
    return "as inside the program" if edition == INTERNAL else str(EDITIONS[edition])
