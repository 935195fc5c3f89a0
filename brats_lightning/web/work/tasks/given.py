"""A case on the server as the rest of this package knows cases: which file is what, and whose labels it has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.data.case import Case
from brats_lightning.data.naming import CaseFiles, recognise
from brats_lightning.data.pictures import is_picture
from brats_lightning.data.schemes import LabelSchemes
from brats_lightning.errors import BratsError, DatasetError
from brats_lightning.labels import MASK, MODALITIES, Modality
from brats_lightning.nifti import UnreadableVolumeError
from brats_lightning.web.records import CaseRecord
from brats_lightning.web.work.tasks.wording import cure_on_a_page

OTHERWISE = "2023"
"""Whose label values cases of no edition get, as with `brats predict`."""
_NO_NAME = re.compile(r"[^\w.-]+")


@dataclass(frozen=True)
class Given:
    """A case on the server.

    Args:
        case: Its images, all that were put; its id is fit for tables.
        images: The same by modality.
        folder: Of its results.
        reference: File of the reference segmentation, None where there is none.
        names: From the server's names of its files to those that the user knows.
        known: Whether its files are named as those of an edition.
    """

    case: Case
    images: Mapping[Modality, Path]
    folder: Path
    reference: Path | None
    names: Mapping[str, str]
    known: bool

    @property
    def is_picture(self) -> bool:
        """Whether any of its images is a picture, which has no place in the patient."""
        return any(is_picture(path) for path in self.case.files)

    def in_words(self, text: str) -> str:
        """A text with the user's names of files."""
        for own, shown in self.names.items():
            text = text.replace(own, shown)
        return text

    def sentence(self, error: BratsError) -> str:
        """An error as the user of a page can understand it: there is one case, and the files' names are theirs."""
        if not isinstance(error, DatasetError):
            return self.in_words(cure_on_a_page(str(error)))
        said = dict.fromkeys(
            cure_on_a_page(f"{problem.file}: " * bool(problem.file) + f"{problem.what}; {problem.cure}")
            for problem in error.problems
        )
        return self.in_words("; ".join(said))


def given(record: CaseRecord, folder: Path) -> Given:
    """Find the files of a case.

    Args:
        record: What is known of it.
        folder: Of the case, with `files` and `results`.
    """
    there = {path.name.partition(".")[0]: path for path in sorted((folder / "files").iterdir())}
    put = {file.kind: file for file in record.files if file.kind is not None and file.id in there}
    images: dict[Modality, Path] = {name: there[put[name].id] for name in MODALITIES if name in put}
    reference = there[put["seg"].id] if "seg" in put else None
    families = {_family(put[name].name) for name in images}
    family = families.pop() if len(families) == 1 else None
    edition = _edition(family, images, reference)
    name = table_name(record.name)
    return Given(
        Case(name, name, edition, images),
        images,
        folder / "results",
        reference,
        {there[file.id].name: file.name for file in record.files if file.id in there},
        family is not None,
    )


def table_name(name: str) -> str:
    """A name for tables and files: no spaces, no folders, and nothing that a spreadsheet would compute.

    >>> table_name("=cmd()|../Doe, Jane")
    'cmd_.._Doe_Jane'
    """
    return _NO_NAME.sub("_", name).strip("._-") or "case"


def _family(name: str) -> str | None:
    recognised = recognise(Path(), name)
    return recognised[0] if recognised else None


def _edition(family: str | None, images: Mapping[Modality, Path], reference: Path | None) -> str:
    """Whose label values the case's segmentation gets, as in `brats predict`."""
    if family is None:
        return MASK if images and all(is_picture(path) for path in images.values()) else OTHERWISE
    found: dict[str, list[Path]] = {name: [path] for name, path in images.items()}
    for beside in ({"seg": [reference]} if reference else {}, {}):
        group = CaseFiles("case", family, Path("case"), {**found, **beside})
        try:
            return LabelSchemes(None, [group]).of(group)
        except (LookupError, UnreadableVolumeError):
            continue  # what is wrong with a file will be told when it is read
    return OTHERWISE
