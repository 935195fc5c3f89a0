"""Pictures of cases that a run has drawn, as many as its report can hold."""

import re
from collections.abc import Mapping
from pathlib import Path

from brats_lightning.reports.html.parts import Html, picture
from brats_lightning.reports.picture_files import FIGURES, VALIDATION

WIDEST_PIXELS = 1400
"""Of a case's picture on the page; the original stays where it is."""
MOST_BYTES = 14_000_000
"""Of all of them: a page shall stay below 25 MB, and plots take some."""
MOST_VALIDATED = 4
_OF_AN_EPOCH = re.compile(r"(?P<case>.+)_epoch_(?P<epoch>\d+)\.png")


class Album:
    """Pictures for one page.

    Args:
        most_bytes: Of all of them in the page's text.
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self._left = most_bytes
        self.crowded_out: list[Path] = []
        """Those that found no room."""

    def show(self, path: Path, *, description: str, caption: str) -> Html | None:
        """A picture for the page, None where it is not there, is damaged or finds no room.

        Args:
            path: PNG file.
            description: What it shows, for those who cannot see it.
            caption: Stands below it.
        """
        if not path.is_file():
            return None
        try:
            shown = picture(path, description=description, caption=caption, widest_pixels=WIDEST_PIXELS)
        except OSError:  # Pillow's word for a picture that was cut short, too
            return None
        if len(shown) > self._left:
            self.crowded_out.append(path)
            return None
        self._left -= len(shown)
        return shown


def validated_cases(run: Path) -> Mapping[str, tuple[int, Path]]:
    """Of each case that was drawn in training its last picture, with the epoch, counted from 1.

    Args:
        run: Its folder.
    """
    found: dict[str, tuple[int, Path]] = {}
    for path in sorted((run / FIGURES / VALIDATION).glob("*_epoch_*.png")):
        if told := _OF_AN_EPOCH.fullmatch(path.name):
            case, epoch = told["case"], int(told["epoch"])
            found[case] = max(found.get(case, (0, path)), (epoch, path), key=lambda pair: pair[0])
    return found
