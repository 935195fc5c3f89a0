"""MetaImage files (`.mha`), header and voxels in one file, as ITK writes them.

ITK itself believes what such a header says: told of a billion voxels, of a type that does not exist or of another file
it takes the memory, reads that file or crashes.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

LONGEST_HEADER = 65536
_LARGEST = 1e9
_LAST = "ElementDataFile"
_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_PLACE = ("Offset", "Position", "Origin")
_AXES = ("TransformMatrix", "Rotation", "Orientation")
_SPACING = ("ElementSpacing", "ElementSize")
_ORDER = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")


def read_metaimage(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """The voxels (X, Y, Z) of a file, and the (4, 4) matrix from their indices to millimetres in LPS+, ITK's world.

    Raises:
        OSError: It cannot be read.
        EOFError, zlib.error, ValueError: It is cut short, damaged, or of another form than one volume of numbers.
    """
    content = path.read_bytes()
    tags, start = _header(content)
    shape = tuple(int(size) for size in _numbers(tags, ("DimSize",), 3, whole=True))
    if min(shape) < 1:
        raise ValueError(f"expected voxels along each axis, found {shape}")
    kind = _TYPES.get(tags.get("ElementType", ""))
    if kind is None or tags.get("ElementNumberOfChannels", "1") != "1":
        raise ValueError(f"expected one number a voxel, found {tags.get('ElementType')}")
    dtype = np.dtype(kind).newbyteorder(">" if _says(tags, _ORDER) else "<")
    size = math.prod(shape) * dtype.itemsize
    if _says(tags, ("CompressedData",)):
        voxels = zlib.decompressobj().decompress(content[start:], size)
    else:
        voxels = content[start : start + size]
    if len(voxels) < size:
        raise EOFError(f"its header tells of {size} bytes of voxels, the file has {len(voxels)}")
    array = np.frombuffer(voxels, dtype).astype(dtype.newbyteorder("="), copy=True).reshape(shape, order="F")
    return array, _affine(tags)


def _header(content: bytes) -> tuple[dict[str, str], int]:
    """Values by name, and where the voxels begin."""
    tags: dict[str, str] = {}
    at = 0
    while at < LONGEST_HEADER and (end := content.find(b"\n", at, LONGEST_HEADER)) >= 0:
        line, at = content[at:end], end + 1
        name, _, value = line.decode("latin-1").partition("=")
        tags[name.strip()] = value.strip()
        if name.strip() == _LAST:
            break
    else:
        raise ValueError("no header of a MetaImage")
    if tags[_LAST] != "LOCAL":
        raise ValueError("expected the voxels in the same file, behind ElementDataFile = LOCAL")
    if tags.get("NDims") != "3" or "DimSize" not in tags:
        raise ValueError(f"expected three dimensions, found {tags.get('NDims')}")
    if tags.get("HeaderSize", "0") != "0" or tags.get("BinaryData", "True") != "True":
        raise ValueError("expected binary voxels right behind the header")
    return tags, at


def _says(tags: Mapping[str, str], names: Sequence[str]) -> bool:
    return next((tags[name].lower() for name in names if name in tags), "false").startswith(("t", "y", "1"))


def _numbers(tags: Mapping[str, str], names: Sequence[str], count: int, *, whole: bool = False) -> list[float]:
    """Numbers of the first name that the header has."""
    name = next(name for name in names if name in tags)
    words = tags[name].split()
    if len(words) != count:
        raise ValueError(f"expected {count} numbers as {name}, found {len(words)}")
    if whole and not all(word.isdecimal() and len(word) < 10 for word in words):
        raise ValueError(f"expected whole numbers as {name}, found {tags[name]}")
    numbers = [float(word) for word in words]
    if not all(abs(number) < _LARGEST for number in numbers):
        raise ValueError(f"expected numbers of a place in space as {name}, found {tags[name]}")
    return numbers


def _affine(tags: Mapping[str, str]) -> npt.NDArray[np.float64]:
    """As ITK has it: each three numbers of the matrix are the direction of one axis."""
    affine = np.eye(4)
    has = [any(name in tags for name in names) for names in (_AXES, _SPACING, _PLACE)]
    axes = np.reshape(_numbers(tags, _AXES, 9), (3, 3)).T if has[0] else np.eye(3)
    spacing = np.array(_numbers(tags, _SPACING, 3)) if has[1] else np.ones(3)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = _numbers(tags, _PLACE, 3) if has[2] else 0.0
    return affine
