"""PNG and JPEG pictures of one grey channel, and what they share with other pictures: a place, a limit, an error."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from brats_lightning.nifti import Grid, UnreadableVolumeError, Volume
from brats_lightning.whole_files import flush, whole_file

MOST_PIXELS = 1 << 26
"""A picture that claims more, such as 8192 × 8193, is refused before memory is taken for it."""
AGAIN = "download the file again or leave the case out"
_SINGLE_CHANNEL = {"L", "I", "I;16", "I;16L", "I;16B", "I;16N"}


class UnreadablePictureError(UnreadableVolumeError):
    """A picture that cannot be used, with the cure.

    Args:
        what: Was found.
        cure: What to do about it.
    """

    def __init__(self, what: str, *, cure: str = AGAIN) -> None:
        super().__init__(what)
        self.cure = cure


def flat_grid(columns: int, rows: int, *, pixel_mm: float, thickness_mm: float) -> Grid:
    """Grid (columns, rows, 1) of a picture: columns grow to the patient's left and rows to the back.

    That is how radiologists look at an axial slice. Nothing in the file says how the slice lay in the patient.
    """
    return Grid((columns, rows, 1), np.diag([-pixel_mm, -pixel_mm, thickness_mm, 1.0]))


def require_few_pixels(columns: int, rows: int) -> None:
    """Refuse what no slice of a patient is.

    Raises:
        UnreadablePictureError: More than `MOST_PIXELS`, or none.
    """
    if not 0 < columns * rows <= MOST_PIXELS:
        what = f"expected 1 to {MOST_PIXELS} pixels, found {columns} columns and {rows} rows"
        raise UnreadablePictureError(what)


def read_grey(path: Path) -> Volume:
    """Read a PNG or JPEG file as a volume (columns, rows, 1) of 8 or 16 bits.

    Pixels come as they are stored: transparency and the orientation tag of cameras count for nothing.

    Raises:
        UnreadablePictureError: Absent, damaged, far too large, or in colour.
    """
    from PIL import Image  # noqa: PLC0415 - few runs need it

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of large pictures: the limit here is lower
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                require_few_pixels(*image.size)
                pixels, quirks = _single_channel(image)
    except FileNotFoundError as error:
        raise UnreadablePictureError("the file is not there") from error
    except PermissionError as error:
        raise UnreadablePictureError("no permission to read it", cure="make it readable") from error
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError(f"more than {MOST_PIXELS} pixels by its header") from error
    except UnreadablePictureError:
        raise
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise UnreadablePictureError("no readable PNG or JPEG picture: it is cut short or damaged") from error
    array = pixels.T[..., None]
    grid = flat_grid(array.shape[0], array.shape[1], pixel_mm=1, thickness_mm=1)
    return Volume(array, grid, ("no pixel size in the file, 1 mm taken", *quirks))


def write_grey(path: Path, array: npt.NDArray[np.uint8]) -> None:
    """Write a PNG of 8 bits under a temporary name, read it back, and move it into place.

    Args:
        path: Ends in `.png`.
        array: (columns, rows, 1), stored as it is.

    Raises:
        OSError: The folder cannot be written, or is full; nothing remains there.
        UnreadableVolumeError: What is read back is not what was written.
    """
    from PIL import Image  # noqa: PLC0415 - few runs need it

    with whole_file(path) as half:
        Image.fromarray(np.ascontiguousarray(array[..., 0].T)).save(half, format="PNG")
        flush(half)
        if not np.array_equal(read_grey(half).array, array):
            raise UnreadableVolumeError("read back, its pixels are not those that were written")


def _single_channel(image: Any) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """Pixels (rows, columns), and what had to be left out to have one channel.

    Raises:
        UnreadablePictureError: Its colours differ.
    """
    if image.mode in _SINGLE_CHANNEL:
        pixels = np.asarray(image)
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False), ()
    colours = np.asarray(image.convert("RGB"))
    if (colours != colours[..., :1]).any():
        what = "three colours where one channel is expected"
        raise UnreadablePictureError(what, cure="convert it to grey")
    return colours[..., 0].copy(), (f"stored as {image.mode}, its colours all equal: read as grey",)
