"""Images out of a zip: nothing in it becomes a path, and nothing is taken for what it says of itself."""

import io
import stat
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from brats_lightning.web.files.contents import START, ending_of
from brats_lightning.web.limits import FULL, Limits, Refused

MOST_MEMBERS = 2000
_CHUNK = 1 << 20
_LONGEST_TABLE = MOST_MEMBERS * 1024
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError)


@dataclass(frozen=True)
class Unpacked:
    """What came out of a zip.

    Args:
        names: As the zip has them; the first image lies in the file `0`, the second in `1`, and so on.
        notes: What was passed over, in words.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def unpack(path: Path, *, into: Path, room: int, limits: Limits) -> Unpacked:
    """Write the images of a zip into a folder, named by numbers.

    Args:
        path: The zip.
        into: An empty folder.
        room: Bytes that they may take.
        limits: How many bytes and files.

    Raises:
        Refused: More than that, a password, a checkpoint, damaged, or no image at all.
        OSError: The disk is full.
    """
    left = min(room, limits.unpacked_bytes)
    names: list[str] = []
    passed: Counter[str] = Counter()
    try:
        with _Cautious(path) as file, zipfile.ZipFile(file) as archive:
            for member in _members(archive, passed):
                with archive.open(member) as stream:
                    start = stream.read(START)
                    if reason := _no_image(start):
                        passed[reason] += 1
                        continue
                    if len(names) == limits.files:
                        raise Refused(413, f"it holds more than {limits.files} images: send those of one case")
                    left -= _write(into / str(len(names)), start, stream, left, limits)
                names.append(member.filename)
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise Refused(422, "the zip is cut short or damaged: pack and send it again") from error
    notes = tuple(f"{count} passed over in the zip: {reason}" for reason, count in passed.items())
    if not names:
        raise Refused(415, "; ".join(["it holds no image that is taken here", *notes]))
    return Unpacked(tuple(names), notes)


class _Cautious(io.FileIO):
    """A file that is read in moderate pieces: a zip's table of contents comes in one, and may claim millions."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file.

        Raises:
            Refused: So much at once as only a table of far too many members is.
        """
        if size is not None and size > _LONGEST_TABLE:
            raise Refused(413, f"it holds far more than {MOST_MEMBERS} files: send those of one case")
        return super().read(size) or b""


def _members(archive: zipfile.ZipFile, passed: Counter[str]) -> list[zipfile.ZipInfo]:
    """Those that may be images, by what the zip says of them.

    Args:
        archive: Open.
        passed: Counts the others by why they are passed over; folders and hidden files are not worth a word.
    """
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise Refused(413, f"it holds {len(members)} files, expected at most {MOST_MEMBERS}: send those of one case")
    if any(member.filename.endswith("/data.pkl") for member in members):
        raise Refused(415, "it is a PyTorch checkpoint, which is never opened: send images")
    kept = []
    for member in members:
        parts = member.filename.replace("\\", "/").split("/")
        if not member.filename or member.is_dir():
            continue
        if ".." in parts or not parts[0] or parts[0].endswith(":"):
            passed["paths that lead out of it"] += 1
        elif stat.S_ISLNK(member.external_attr >> 16):
            passed["links"] += 1
        elif any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        elif member.flag_bits & 1:
            raise Refused(422, "the zip has a password: pack it without one")
        elif member.compress_type not in _PLAIN:
            passed["packed in another way than zip's usual one"] += 1
        else:
            kept.append(member)
    return kept


def _no_image(start: bytes) -> str:
    """Why a member is not taken, empty where it is."""
    if not start:
        return "empty files"
    try:
        return "zips inside of it" if ending_of(start) == ".zip" else ""
    except Refused:
        return "files that are no image known here"


def _write(path: Path, start: bytes, stream: IO[bytes], left: int, limits: Limits) -> int:
    """Write what a stream still holds, counted as it comes; the number of bytes."""
    size, chunk = 0, start
    with path.open("xb") as file:
        while chunk:
            size += len(chunk)
            if size > left:
                most = f"{limits.unpacked_mb:g} MB, or what is left of the case's {limits.case_mb:g} MB"
                raise Refused(413, f"it unpacks to more than {most}: send fewer or smaller images")
            file.write(chunk)
            chunk = stream.read(_CHUNK)
    return size
