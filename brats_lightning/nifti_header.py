"""NIfTI headers as they stand in a file, before any reader has put them right."""

import math
import re
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

GZIP = b"\x1f\x8b"
LARGEST_HEADER, LARGEST_COMPRESSED_HEADER = 1024, 65536
MOST_STREAMS = 1 << 16
"""One behind the other in a file: bgzip makes one of each 64 KB, who means harm as many as fit."""
_PIECE = 1 << 16
_ZEROS = re.compile(rb"\0*")
GEOMETRY = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units",
)  # fmt: skip
"""Fields that say where the voxels lie."""


def read_header(path: Path, *, check: bool = True) -> Any:
    """Read the header of a `.nii` or `.nii.gz` file as nibabel's NIfTI-1 or NIfTI-2 header.

    Args:
        path: Of the file; no more than its start is read.
        check: Refuse or repair fields that no header may have.

    Raises:
        OSError, EOFError, zlib.error, ValueError: Of the file or of nibabel.
    """
    with path.open("rb") as file:
        start = file.read(LARGEST_COMPRESSED_HEADER)
    if start[:2] == GZIP:
        start = unpacked(start, most=LARGEST_HEADER)[0]
    return header_of(start, check=check)


def header_of(start: bytes, *, check: bool = True) -> Any:
    """The header with which a file begins, see `read_header`."""
    kind = image_kind(start).header_class
    with np.errstate(all="ignore"):  # numbers without sense are refused, and not worth a warning
        return kind(start[: kind.sizeof_hdr], check=check)


def unpacked(content: bytes, *, most: int) -> tuple[bytes, bool]:
    """What a gzip stream holds, and whether that is all of it.

    Args:
        content: One stream or several, one behind the other, and perhaps zeros between and behind them.
        most: Bytes that are wanted; of a stream with more there may be one more.

    Raises:
        zlib.error: It is damaged.
        ValueError: It is in far too many parts.
    """
    parts: list[bytes] = []
    size, at, streams = 0, 0, 0
    stream = zlib.decompressobj(wbits=31)
    while at < len(content) and size <= most:
        if stream.eof:
            stream = zlib.decompressobj(wbits=31)
        piece = content[at : at + _PIECE]
        parts.append(stream.decompress(piece, most - size + 1))
        size += len(parts[-1])
        at += len(piece) - len(stream.unused_data) - len(stream.unconsumed_tail)
        if stream.eof:
            streams += 1
            if streams > MOST_STREAMS:
                raise ValueError(f"its compressed data are in more than {MOST_STREAMS} parts")
            at = _zeros_end(content, at)
    return b"".join(parts), stream.eof and at == len(content)


def _zeros_end(content: bytes, at: int) -> int:
    found = _ZEROS.match(content, at)
    return found.end() if found else at


def image_kind(content: bytes) -> Any:
    """Nibabel's class for NIfTI-1 or NIfTI-2, which the first number of a file tells."""
    if len(content) < 352:
        raise ValueError("shorter than a NIfTI header")
    size_of_header = int.from_bytes(content[:4], "little")
    return nibabel.Nifti2Image if size_of_header in (540, 0x1C020000) else nibabel.Nifti1Image


def geometry(header: Any) -> dict[str, Any]:
    """The fields of a header that say where its voxels lie, of the three axes in space alone.

    Those of a NIfTI-2 file may have to be rounded to single precision, which is what NIfTI-1 has.
    """
    fields = {name: header[name] for name in GEOMETRY}
    if header["dim"][0] > 3:
        fields["pixdim"] = fields["pixdim"].copy()
        fields["pixdim"][4:] = 1  # the repetition time of a series
    return fields


def quirks(header: Any) -> tuple[str, ...]:
    """Oddities of a header as it stands in the file (nibabel blanks the slope of the header of an image)."""
    qform, sform = int(header["qform_code"]), int(header["sform_code"])
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    found = []
    if not sform:
        found.append("qform only" if qform else "neither sform nor qform: orientation assumed")
    elif not qform:
        found.append("sform only")
    if slope == 0:
        found.append("slope 0 (means: not scaled)")
    elif math.isfinite(slope) and (slope, intercept) != (1, 0):
        found.append(f"values scaled by {slope:.3g} + {intercept:.3g}")
    return tuple(found)
