"""Which entries of a shared folder somebody is building just now, so that many processes share the work."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from brats_lightning.data.homes import CLAIM, ENDING


@contextmanager
def claim(folder: Path, name: str, *, anyway: bool = False) -> Iterator[bool]:
    """Mark an entry as being built until the end of the block.

    The mark is a file that only one process can have made, on a network's disk too. It is a hint, and no lock: a
    killed process leaves its marks behind, so whoever has nothing else to do builds what is missing `anyway`. The disk
    home sweeps a mark that is a day old.

    Args:
        folder: Of the entries.
        name: Of the entry.
        anyway: Do not mind another's mark, which goes with the block's end then.

    Yields:
        Whether to build it: nobody else is at it, or that is not minded.
    """
    path = folder / f".{name}{ENDING}.{CLAIM}"
    try:
        path.touch(exist_ok=anyway)
    except FileExistsError:
        yield False
        return
    except OSError:  # such as a full disk, of which saving tells
        yield True
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
