"""Results that are whole: moved to where the server finds them, with what later work must know of the mask."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from brats_lightning.errors import BratsError
from brats_lightning.web.records import Record
from brats_lightning.whole_files import whole_file

RECORD = "mask.json"


class SegmentedAs(Record):
    """What a mask's file does not say of itself."""

    edition: str

    def write(self, folder: Path) -> None:
        """Put it beside the mask."""
        with whole_file(folder / RECORD) as half:
            half.write_text(self.model_dump_json(), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "SegmentedAs":
        """Of the mask in a folder.

        Raises:
            BratsError: There is no mask, or it is half written.
        """
        try:
            return cls.model_validate_json((folder / RECORD).read_bytes())
        except (OSError, ValidationError) as error:
            raise BratsError("the case has no segmentation: start it again") from error


def keep(names: Sequence[str], scratch: Path, results: Path) -> None:
    """Move whole files to the results, each at once in place of an earlier one.

    Args:
        names: Of the files, below both folders.
        scratch: Where they were made.
        results: Of the case; it must be there.
    """
    for name in names:
        target = results / name
        if target.parent != results:
            target.parent.mkdir(exist_ok=True)
        (scratch / name).replace(target)


def discard_all(results: Path) -> None:
    """Empty a folder of results."""
    for path in results.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
