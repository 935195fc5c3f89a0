"""The picture of a validation case, drawn in hundredths of a second.

Matplotlib takes a second or two for such a picture, too long in the midst of training: this is NumPy and Pillow.
"""

import logging
import math
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from brats_lightning.reports.figures.canvas import SCALE_BAR_MM
from brats_lightning.reports.figures.colours import (
    BACKGROUND,
    FAINT,
    FILL_OPACITY,
    OUTSIDE_IN,
    REGION_COLOURS,
    REGION_TITLES,
    TEXT,
    regions_in_key,
)
from brats_lightning.reports.validation.panel import Bytes, Panel, Tile
from brats_lightning.whole_files import whole_file

LEFT, TOP, BOTTOM, GAP = 26, 56, 34, 4
"""Pixels beside, above and below the tiles of a picture, and between them."""
log = logging.getLogger("brats_lightning")


def painted(grey: Bytes, labels: Bytes) -> Bytes:
    """Grey values (H, W) as colours (H, W, 3), with labels (H, W) filled and outlined."""
    colours = np.repeat(grey[..., None], 3, axis=2).astype(np.float32)
    for name, value in OUTSIDE_IN.items():
        mask = labels == value
        if not mask.any():
            continue
        colour = 255 * np.array(to_rgb(REGION_COLOURS[name]), np.float32)
        colours[mask] += FILL_OPACITY * (colour - colours[mask])
        padded = np.pad(mask, 1)
        inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        colours[mask & ~inside] = colour
    return colours.round().astype(np.uint8)


def thumbnail(panel: Panel) -> Bytes:
    """Reference and prediction side by side on the tile that shows most, (H, W, 3)."""
    tile = panel.tiles[panel.best]
    return np.concatenate([painted(tile.grey, labels) for labels in (tile.reference, tile.prediction)], axis=1)


class InBackground:
    """Does one piece of work at a time beside the training; a disk that is full ends no run."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Begin, when what was begun before is done."""
        self.wait()
        self._thread = threading.Thread(target=unless_disk_fails, args=(work,), name="pictures")
        self._thread.start()

    def wait(self) -> None:
        """Wait until it is done."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def unless_disk_fails(work: Callable[[], None]) -> None:
    """Do what no run shall end for: where its files cannot be written, that is said."""
    try:
        work()
    except OSError as error:
        log.warning("a picture cannot be written: %s", error)


def draw_panel(panel: Panel, path: Path, *, title: str) -> None:
    """Write a picture: the bare images, with the reference, and with the prediction.

    Each is a row of tiles; of a case with one tile they stand beside each other.

    Args:
        panel: What is drawn.
        path: Of the PNG; its folder must exist.
        title: Stands above everything.
    """
    side = panel.side
    rows = _rows(panel)
    legend = _legend(panel)
    widest = max(_width(title, 15), _width(panel.in_words, 12), sum(_width(text, 12) + 34 for _, text in legend))
    width = LEFT + max(len(rows[0]) * (side + GAP), widest + GAP)
    bottom = TOP + len(rows) * (side + GAP)
    height = bottom + BOTTOM + (18 if panel.in_words else 0)
    picture = Image.new("RGB", (width, height), BACKGROUND)
    pen = ImageDraw.Draw(picture)
    pen.text((LEFT, 8), title, fill=TEXT, font=_font(15))
    for row, shown in enumerate(rows):
        top = TOP + row * (side + GAP)
        for column, (name, tile, labels) in enumerate(shown):
            left = LEFT + column * (side + GAP)
            picture.paste(Image.fromarray(painted(tile.grey, labels)), (left, top))
            if row == 0:
                heading = tile.name if len(rows) > 1 else f"{tile.name}, {name}"
                pen.text((left + side // 2, TOP - 6), heading, fill=TEXT, font=_font(12), anchor="ms")
                _mark(pen, tile.marks, left, side)
        if len(rows) > 1:
            picture.paste(_sideways(shown[0][0], side), (5, top))
    _scale_bar(pen, panel)
    _draw_legend(pen, legend, top=bottom + 8)
    pen.text((LEFT, height - 12), panel.in_words, fill=FAINT, font=_font(12), anchor="ls")
    with whole_file(path) as part:
        picture.save(part, "PNG", compress_level=1)  # twice as fast, and a tenth larger


def _rows(panel: Panel) -> list[list[tuple[str, Tile, Bytes]]]:
    """What stands where: kind of picture, tile, and the labels over it."""
    rows = [
        [("image", tile, np.zeros_like(tile.grey)) for tile in panel.tiles],
        [("reference", tile, tile.reference) for tile in panel.tiles],
        [("prediction", tile, tile.prediction) for tile in panel.tiles],
    ]
    return rows if len(panel.tiles) > 1 else [[shown for row in rows for shown in row]]


def _mark(pen: ImageDraw.ImageDraw, marks: str, left: int, side: int) -> None:
    """Name the directions at the four edges of a tile of the first row."""
    places = ((4, side // 2, "lm"), (side - 4, side // 2, "rm"), (side // 2, side - 2, "ms"), (side // 2, 2, "mt"))
    for letter, (x, y, anchor) in zip(marks, places, strict=False):
        pen.text((left + x, TOP + y), letter, fill=FAINT, font=_font(11), anchor=anchor)


def _legend(panel: Panel) -> list[tuple[str, str]]:
    """Colours and words."""
    return [(REGION_COLOURS[name], REGION_TITLES[name]) for name in regions_in_key(panel.values)]


def _draw_legend(pen: ImageDraw.ImageDraw, legend: Sequence[tuple[str, str]], *, top: int) -> None:
    left = LEFT
    for colour, words in legend:
        pen.rectangle((left, top, left + 14, top + 10), fill=colour)
        pen.text((left + 20, top + 10), words, fill=TEXT, font=_font(12), anchor="ls")
        left += _width(words, 12) + 34


def _scale_bar(pen: ImageDraw.ImageDraw, panel: Panel) -> None:
    """A bar at the right of the first tile's bottom, where its length is known and fits."""
    length = SCALE_BAR_MM * panel.pixels_per_mm
    if not 0 < length < panel.side / 2:
        return
    right, bottom = LEFT + panel.side - 4, TOP + panel.side - 5
    pen.line((right - length, bottom, right, bottom), fill=TEXT, width=2)
    pen.text((right - length / 2, bottom - 4), f"{SCALE_BAR_MM:g} mm", fill=TEXT, font=_font(10), anchor="ms")


def _sideways(words: str, side: int) -> Image.Image:
    strip = Image.new("RGB", (side, 16), BACKGROUND)
    ImageDraw.Draw(strip).text((side // 2, 12), words, fill=FAINT, font=_font(12), anchor="ms")
    return strip.rotate(90, expand=True)


def _width(words: str, size: int) -> int:
    return math.ceil(_font(size).getlength(words))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font of all other pictures, which Matplotlib brings along."""
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
