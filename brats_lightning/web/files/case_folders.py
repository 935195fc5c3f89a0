"""Folders of cases on disk: written so that a killed server leaves nothing half, read with distrust, removed."""

import logging
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from brats_lightning.web.records import CaseRecord

ENDINGS = (".nii.gz", ".nii", ".png", ".jpg", ".mat")
"""Of files that were put, by what they hold."""
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_RECORD = "case.json"
_TRIES = 3
_log = logging.getLogger(__name__)


def make(place: Path) -> None:
    """The folders of a new case.

    Raises:
        OSError: They cannot be made; nothing remains then.
    """
    try:
        for folder in (place, place / "files", place / "results"):
            folder.mkdir(mode=0o700)
    except OSError:
        shutil.rmtree(place, ignore_errors=True)
        raise


def read(place: Path) -> CaseRecord | None:
    """The case in a folder, without half-written files; None where there is none that can be used."""
    if not _ID.fullmatch(place.name) or place.is_symlink():
        return None
    try:
        record = CaseRecord.model_validate_json((place / _RECORD).read_bytes())
        known = {f"{file.id}{ending}" for file in record.files for ending in ENDINGS}
        found = {path.name for path in (place / "files").iterdir()}
        if record.id != place.name or len(found & known) != len(record.files) or not (place / "results").is_dir():
            return None
        for half in found - known:
            remove(place / "files" / half)
        (place / f"{_RECORD}.new").unlink(missing_ok=True)
    except (OSError, ValidationError):
        return None
    return record


def write(place: Path, record: CaseRecord) -> None:
    """Replace what is written of a case as a whole, or leave it as it was.

    Raises:
        OSError: The disk is full, or the folder is not there any more.
    """
    path = place / _RECORD
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(record.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        with suppress(OSError):
            new.unlink()
        raise


def remove(place: Path) -> None:
    """Remove a file, or a folder with all that is in it, while others may still be writing there."""
    for _ in range(_TRIES):
        try:
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
        except OSError as error:
            reason = error.strerror
        else:
            return
    _log.warning("something could not be erased yet (%s): it is tried again at the next start", reason)
