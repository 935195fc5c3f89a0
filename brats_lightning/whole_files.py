"""Files that nobody ever finds half written: made under another name, flushed to the disk, then given their own.

Neither a killed process nor a power cut leaves half of one: some file systems store a name before what it stands for.
"""

import contextlib
import os
import platform
import time
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from brats_lightning.machine import is_running

MINUTE, DAY = 60, 24 * 60 * 60


def half_name(path: Path) -> Path:
    """The name under which this process writes a file: machines that share a disk share process numbers."""
    return path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The name to write a file under; when that is done, and on the disk, it takes its own.

    Args:
        path: The file's own name; its folder must exist. What stands there stays where the writing fails.
    """
    half = half_name(path)
    try:
        yield half
        flush(half)
        _put_in_place(half, path)
    finally:
        with contextlib.suppress(OSError):  # of a folder that has gone, which has been told already
            half.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have what was written to a file on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _put_in_place(half: Path, path: Path) -> None:
    """Give a file that has been flushed its own name, which is flushed as well."""
    half.replace(path)
    with contextlib.suppress(OSError):  # not every file system flushes folders
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sweep_halves(folder: Path, names: str, *, marks: Collection[str] = ()) -> None:
    """Remove half files that killed processes have left.

    That is what a process of this machine wrote that no longer runs; whether one on another machine does cannot be
    asked, but none takes a day to write a file. Nor is a file of the last minute touched: containers may share a
    machine's name, and not its process numbers.

    Args:
        folder: Where files were written by `half_name`.
        names: Pattern of their own names.
        marks: What ends the names of other files beside them that count for a day, in place of a process number.
    """
    for path in folder.glob(f".{names}.*"):
        with contextlib.suppress(OSError):  # another process sweeps too
            age = time.time() - path.stat().st_mtime
            before, _, process = path.name.rpartition(".")
            ended = before.endswith(f".{platform.node()}") and process.isdecimal() and not is_running(int(process))
            known = process.isdecimal() or process in marks
            if (age > DAY and known) or (age > MINUTE and ended):
                path.unlink()


def damaged_part(path: Path) -> str | None:
    """The first part of a zip archive that is not as it was written, None where all are; PyTorch does not look.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no zip archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, UnicodeError) as error:
        raise ValueError(f"no readable zip archive ({error})") from error
