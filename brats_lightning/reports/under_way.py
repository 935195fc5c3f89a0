"""Files that nobody ever opens half of: written under another name, then moved into place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def under_way(path: Path) -> Iterator[Path]:
    """The name to write a file under; when that is done it takes its own.

    Args:
        path: The file's own name; its folder must exist. What stands there stays where the writing fails.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
