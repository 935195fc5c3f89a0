import errno
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from brats_lightning.data.grey_pictures import MOST_PIXELS, UnreadablePictureError, read_grey, write_grey
from brats_lightning.nifti import UnreadableVolumeError

GREY = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9) * 3
"""(rows, columns)."""
NO_SIZE = "no pixel size in the file, 1 mm taken"


def colours(*channels: Any) -> Any:
    return Image.fromarray(np.stack(channels, axis=-1))


def png_that_claims(columns: int, rows: int) -> bytes:
    """A few bytes with the header of an enormous picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_pictures_of_8_and_16_bits_keep_their_values(tmp_path: Path, dtype: type) -> None:
    pixels: Any = GREY.astype(dtype) * (257 if dtype is np.uint16 else 1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    volume = read_grey(tmp_path / "a.png")
    assert volume.array.dtype.isnative
    assert volume.array.shape == volume.grid.shape == (9, 6, 1)
    np.testing.assert_array_equal(volume.array[..., 0].T, pixels)
    assert volume.grid.spacing_mm == (1, 1, 1)
    assert volume.grid.orientation == "LPS"
    assert volume.quirks == (NO_SIZE,)


def test_a_grey_jpeg_is_read_as_pillow_shows_it(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    np.testing.assert_array_equal(
        read_grey(tmp_path / "a.jpg").array[..., 0].T, np.asarray(Image.open(tmp_path / "a.jpg"))
    )


@pytest.mark.parametrize(
    ("image", "mode"),
    [
        (colours(GREY, GREY, GREY), "RGB"),
        (colours(GREY, GREY, GREY, GREY[::-1].copy()), "RGBA"),
        (colours(GREY, np.full_like(GREY, 7)), "LA"),
        (Image.fromarray(GREY).convert("P"), "P"),
    ],
)
def test_colours_that_are_all_equal_count_as_grey_and_are_noted(tmp_path: Path, image: Any, mode: str) -> None:
    image.save(tmp_path / "a.png")
    volume = read_grey(tmp_path / "a.png")
    np.testing.assert_array_equal(volume.array[..., 0].T, GREY)
    assert volume.quirks == (NO_SIZE, f"stored as {mode}, its colours all equal: read as grey")


def test_black_and_white_is_grey(tmp_path: Path) -> None:
    Image.fromarray(GREY > 50).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png").array[..., 0].T, (GREY > 50) * 255)


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_three_colours_are_refused_with_the_cure(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    colours(GREY, GREY[::-1], GREY).save(path)
    with pytest.raises(UnreadablePictureError, match="three colours where one channel is expected") as caught:
        read_grey(path)
    assert caught.value.cure == "convert it to grey"


@pytest.mark.parametrize("size", [(9000, 9000), (12000, 12000), (60000, 60000)])
def test_a_picture_that_claims_to_be_huge_is_refused_before_memory_is_taken(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "a.png").write_bytes(png_that_claims(*size))
    with pytest.raises(UnreadablePictureError, match=rf"{MOST_PIXELS} pixels"):
        read_grey(tmp_path / "a.png")


def test_damaged_files_are_refused_in_words(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    path = tmp_path / "a.png"
    for kind in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (40, 40)).astype(np.uint8)).save(buffer, format=kind)
        whole = np.frombuffer(buffer.getvalue(), np.uint8)
        for part in (0, 0.01, 0.3, 0.9):
            path.write_bytes(whole[: int(len(whole) * part)].tobytes())
            with pytest.raises(UnreadablePictureError, match="cut short or damaged"):
                read_grey(path)
        for _ in range(100):
            content = whole.copy()
            at = generator.integers(0, len(whole), 20)
            content[at] = generator.integers(0, 256, 20)
            path.write_bytes(content.tobytes())
            try:
                read_grey(path)
            except UnreadablePictureError as error:
                assert "\n" not in str(error)  # noqa: PT017 - a JPEG may bear it
    with pytest.raises(UnreadablePictureError, match="the file is not there"):
        read_grey(tmp_path / "absent.png")


def test_another_format_is_not_opened_whatever_its_name(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png", format="TIFF")
    with pytest.raises(UnreadablePictureError, match="no readable PNG or JPEG"):
        read_grey(tmp_path / "a.png")


def test_what_is_written_has_the_pixels_in_rows_and_columns(tmp_path: Path) -> None:
    write_grey(tmp_path / "a.png", np.ascontiguousarray(GREY.T)[..., None])
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.asarray(image), GREY)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    usual = Image.Image.save
    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write_grey(tmp_path / "a.png", GREY.T[..., None])
    monkeypatch.setattr(Image.Image, "save", lambda image, file, **more: usual(image.rotate(180), file, **more))
    with pytest.raises(UnreadableVolumeError, match="its pixels are not those that were written"):
        write_grey(tmp_path / "a.png", GREY.T[..., None])
    assert list(tmp_path.iterdir()) == []
