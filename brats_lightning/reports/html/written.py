"""Pages as files, and the files that were made with them."""

import html
import json
import re
from pathlib import Path

from brats_lightning.reports.html.page import BESIDE
from brats_lightning.whole_files import whole_file

_NAMED = re.compile(f'<meta name="{BESIDE}" content="([^"]*)">')
_BYTES_TO_LOOK_AT = 1 << 16


def write_page(path: Path, text: str) -> None:
    """Write a page under another name and then move it into place: nobody opens half of one.

    Args:
        path: HTML file; its folder must exist.
        text: From `page`.

    Raises:
        OSError: It cannot be written; then what stood there before still stands.
    """
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def remove_files_of(path: Path, *, folder: Path) -> None:
    """Remove what was made with an earlier page: of what a picture shows there may be nothing any more.

    Args:
        path: HTML file, which says what was made with it; where there is none, nothing was.
        folder: In which these files lie; others stay.

    Raises:
        OSError: One cannot be removed.
    """
    for name in _files_of(path):
        if Path(name).name == name and (folder / name).is_file():
            (folder / name).unlink()


def _files_of(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            found = _NAMED.search(file.read(_BYTES_TO_LOOK_AT).decode("utf-8", errors="replace"))
        return [str(name) for name in json.loads(html.unescape(found[1]))] if found else []
    except (OSError, ValueError, TypeError):  # none yet, or somebody else's
        return []
