"""Small files as people send them, and as attackers do."""

import gzip
import io
import zipfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import h5py
import nibabel
import numpy as np
from PIL import Image

SHAPE = (5, 6, 7)


def nifti(shape: tuple[int, ...] = SHAPE, *, dtype: str = "int16", affine: bool = True) -> bytes:
    """A NIfTI-1 file of 2 mm, without its place in the world if so wished."""
    image = nibabel.Nifti1Image(np.arange(np.prod(shape)).reshape(shape).astype(dtype), np.diag([2, 2, 2, 1]))
    if not affine:
        image.set_sform(None, code=0)
        image.set_qform(None, code=0)
    return bytes(image.to_bytes())


def claiming(*shape: int, bytes_a_voxel: int = 2, offset: float = 352) -> bytes:
    """A NIfTI file whose header tells of this shape, whatever follows."""
    content = bytearray(nifti())
    sizes = np.array([len(shape), *shape, *[1] * (7 - len(shape))], "<i2")
    content[40:56] = sizes.tobytes()
    content[70:74] = np.array([{1: 2, 2: 4, 8: 64}[bytes_a_voxel], 8 * bytes_a_voxel], "<i2").tobytes()
    content[108:112] = np.float32(offset).tobytes()
    return bytes(content)


def picture(mode: str = "L", kind: str = "PNG") -> bytes:
    """A picture of 9 columns and 4 rows."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(4, 9)).convert(mode).save(buffer, kind)
    return buffer.getvalue()


def matlab(path: Path) -> bytes:
    """A slice of 8 × 6 pixels as figshare has them."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["cjdata/image"] = np.arange(48, dtype=np.int16).reshape(8, 6)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    return path.read_bytes()


def packed(members: Mapping[str, bytes]) -> bytes:
    """A zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def bomb(megabytes: int) -> bytes:
    """A small gzip file that begins as an image and goes on with zeros."""
    return gzip.compress(nifti() + bytes(megabytes * 1_000_000))


async def stream(content: bytes, *, size: int = 1000) -> AsyncIterator[bytes]:
    """As a server receives it."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
