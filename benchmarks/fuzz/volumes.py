"""NIfTI, MetaImage, PNG and MATLAB files damaged field by field, from small volumes and from headers of real ones."""

import io
import random
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from benchmarks.fuzz.mutating import FLOATS, INTEGERS, damaged
from brats_lightning.nifti_header import read_header

SHAPE = (12, 14, 10)
_KINDS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 255, -1)
"""Codes of NIfTI's data types; complex numbers, colours and such as do not exist among them."""


def phantom_volume(*, labels: bool, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A ball of noise, or the nested labels 2, 3 and 1 in it."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing="ij")
    radius = np.sqrt(np.sum(np.square(axes), axis=0))
    if labels:
        return np.select([radius < 0.2, radius < 0.35, radius < 0.5], [1, 3, 2]).astype(np.int16)
    noise = np.random.default_rng(seed).integers(100, 1000, SHAPE)
    return np.where(radius < 0.8, noise, 0).astype(np.int16)


def niftis(*, labels: bool, real: Path | None = None) -> list[bytes]:
    """Whole small files: both versions of the format, several types of voxels, scaled ones, and real headers.

    Args:
        labels: Label maps rather than images.
        real: Folder of real cases, whose headers are taken, and no voxel.
    """
    array, affine = phantom_volume(labels=labels), np.diag([-1.0, -1.0, 1.0, 1.0])
    images: list[Any] = [nibabel.Nifti1Image(array.astype(kind), affine) for kind in ("<i2", "u1", "<f4", ">i2", "<f8")]
    images.append(nibabel.Nifti2Image(array, affine))
    images.append(nibabel.Nifti1Image(np.stack([array] * 4, axis=-1), affine))
    images.append(nibabel.Nifti1Image(array[..., 0], affine))
    files = [bytes(image.to_bytes()) for image in images]
    with_note = nibabel.Nifti1Image(array, affine)
    with_note.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"a phantom"))
    files.append(bytes(with_note.to_bytes()))
    for path in sorted(real.rglob("*.nii.gz")) if real else ():
        header = read_header(path, check=False)
        header["dim"][:4] = (3, *SHAPE)
        kind = header.get_data_dtype()
        files.append(
            bytes(header.binaryblock) + bytes(int(header["vox_offset"]) - 348) + array.astype(kind).tobytes("F")
        )
    return files


def of_nifti(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage of fields of the header, of its order of bytes, of the length of the voxels; else of bytes."""
    content = rng.choice(seeds)
    whole = len(content) > 600 and b"n+" in (content[344:346], content[4:6])
    if not whole or rng.random() < 0.25:
        return damaged(rng, content, seeds)
    second = int.from_bytes(content[:4], "little") in (540, 0x1C020000)
    kind: Any = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    header = kind(content[: kind.sizeof_hdr], check=False)
    fields = header.structarr.copy()
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        _change(rng, fields)
    start = fields.tobytes() if rng.random() < 0.95 else fields.byteswap().tobytes()
    voxels = content[kind.sizeof_hdr :]
    how = rng.random()
    if how < 0.1:
        voxels = voxels[: rng.randrange(len(voxels))]
    elif how < 0.2:
        voxels = voxels[:4] + np.array(rng.choice(FLOATS), "<f4").tobytes() * (len(voxels) // 4)
    elif how < 0.25:
        esize = rng.choice((0, 8, 15, 16, -16, 2**31 - 1, len(voxels)))
        voxels = b"\1\0\0\0" + struct.pack("<ii", esize, rng.choice((0, 2, 4, 6, 99))) + voxels[4:]
    return bytes(start) + bytes(voxels)


def _change(rng: random.Random, fields: Any) -> None:
    """One field of a header, the ones that matter more often than the others."""
    name = rng.choice((*fields.dtype.names, *["dim", "datatype", "pixdim", "vox_offset", "scl_slope", "srow_x"] * 3))
    field = fields[name]
    kind = field.dtype
    at = rng.randrange(field.size) if field.size > 1 else 0
    if name == "datatype":
        fields[name] = rng.choice(_KINDS)
    elif kind.kind in "iu":
        limits = np.iinfo(kind)
        values = (*range(-1, 9), *SHAPE, *(int(size) for size in np.ravel(field)), *INTEGERS)
        value = min(max(rng.choice(values), limits.min), limits.max)
        _put(fields, name, at, value)
    elif kind.kind == "f":
        with np.errstate(over="ignore"):
            _put(fields, name, at, kind.type(rng.choice((*FLOATS, rng.uniform(-3, 3), 352.0, 353.5, 1e9))))
    else:
        fields[name] = rng.choice((b"", b"ni1", b"n+1", b"n+2", b"\xff" * kind.itemsize, rng.randbytes(kind.itemsize)))


def _put(fields: Any, name: str, at: int, value: Any) -> None:
    if fields[name].size > 1:
        fields[name].flat[at] = value
    else:
        fields[name] = value


def metaimages() -> list[bytes]:
    """Whole small files, compressed and not."""
    array = phantom_volume(labels=False)
    tags = {
        "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0",
        "CenterOfRotation": "0 0 0", "AnatomicalOrientation": "RAI", "ElementSpacing": "1 1 1",
        "DimSize": " ".join(map(str, SHAPE)), "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
    }  # fmt: skip
    voxels = array.tobytes("F")
    packed = zlib.compress(voxels)
    squeezed = {**tags, "CompressedData": "True", "CompressedDataSize": str(len(packed)), "ElementDataFile": "LOCAL"}
    squeezed["ElementDataFile"] = squeezed.pop("ElementDataFile")
    return [_metaimage(tags) + voxels, _metaimage(squeezed) + packed]


def _metaimage(tags: dict[str, str]) -> bytes:
    return "".join(f"{name} = {value}\n" for name, value in tags.items()).encode()


def of_metaimage(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage of a value of the header, of its lines, or of bytes."""
    content = rng.choice(seeds)
    if rng.random() < 0.3:
        return damaged(rng, content, seeds)
    mark = b"ElementDataFile = LOCAL\n"
    start, _, voxels = content.partition(mark)
    lines = (start + mark).decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        name, _, value = lines[at].partition(" = ")
        words = value.split() or [""]
        values = [*map(str, INTEGERS), *map(str, FLOATS), "1e400", "True", "False", "MET_DOUBLE", "MET_UCHAR",
                  "MET_OTHER", "MET_UCHAR_ARRAY", "LIST", "LOCAL", "x.raw", "/etc/hostname", "../image.raw", "",
                  "a" * 9000, "0 0 0", "%s%s%n", "Slices%03d 1 3 1"]  # fmt: skip
        words[rng.randrange(len(words))] = rng.choice(values)
        choices = [f"{name} = {' '.join(words)}", f"{name} = {value} {value}", f"{name} {value}", "", f"{name} = "]
        lines[at] = rng.choice((choices[0], *choices))
    if rng.random() < 0.1:
        rng.shuffle(lines)
    return (
        "\n".join(lines).encode() + b"\n" + (voxels if rng.random() < 0.9 else voxels[: rng.randrange(len(voxels) + 1)])
    )


def of_png(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage of a chunk whose checksum is put right again; else of bytes."""
    content = rng.choice(seeds)
    if rng.random() < 0.35 or not content.startswith(b"\x89PNG"):
        return damaged(rng, content, seeds)
    chunks, at = [], 8
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    for _ in range(rng.choice((1, 1, 2))):
        which = rng.randrange(len(chunks))
        name, data = chunks[which]
        if name == b"IDAT" and rng.random() < 0.3:
            data = rng.choice((zlib.compress(bytes(rng.choice((1, 10_000, 1 << 28))), 1), zlib.compress(b""), data * 2))
        elif name == b"IHDR" and rng.random() < 0.6:
            size = [rng.choice((0, 1, 9, 8191, 8192, 8193, 2**16, 2**31 - 1, 2**32 - 1)) for _ in range(2)]
            data = (
                struct.pack(">II", *size) + bytes(rng.choice((1, 2, 4, 8, 16, 0, 3, 6)) for _ in range(2)) + data[10:]
            )
        else:
            data = damaged(rng, data)
        name = rng.choice((name, name, name, b"tEXt", b"zTXt", b"iCCP", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"eXIf"))
        chunks.insert(rng.randrange(len(chunks) + 1), (name, data)) if rng.random() < 0.3 else None
        chunks[which] = (name, data)
    parts = (
        struct.pack(">I", len(data)) + name + data + zlib.crc32(name + data).to_bytes(4, "big") for name, data in chunks
    )
    return content[:8] + b"".join(parts)


def pictures(kind: str) -> list[bytes]:
    """Whole small pictures in every form of grey and colour that the format has."""
    from PIL import Image  # noqa: PLC0415

    files = []
    modes = ("L", "1", "P", "LA", "RGB", "RGBA", "I;16") if kind == "PNG" else ("L", "RGB", "CMYK")
    for mode in modes:
        grey = Image.fromarray((np.arange(36 * 20).reshape(20, 36) % 256).astype(np.uint8))
        image = Image.fromarray(np.asarray(grey, np.uint16) * 200) if mode == "I;16" else grey.convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, kind)
        files.append(buffer.getvalue())
    return files


def matlabs(folder: Path) -> list[bytes]:
    """Whole small slices as figshare has them."""
    import h5py  # noqa: PLC0415

    files = []
    for number, options in enumerate(({}, {"chunks": (4, 6), "compression": "gzip"})):
        path = folder / f"{number}.mat"
        with h5py.File(path, "w", userblock_size=512) as file:
            group = file.create_group("cjdata")
            group.create_dataset("image", data=np.arange(480, dtype=np.int16).reshape(24, 20), **options)
            group.create_dataset(
                "tumorMask", data=(np.arange(480).reshape(24, 20) % 97 < 9).astype(np.uint8), **options
            )
            group["PID"] = np.array([[ord(letter)] for letter in "100360"], np.uint16)
            group["label"] = np.array([[1.0]])
        with path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file")
        files.append(path.read_bytes())
        path.unlink()
    return files


def of_matlab(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage of HDF5's own blocks, whose bytes stand behind 512 of MATLAB's."""
    content = rng.choice(seeds)
    if rng.random() < 0.3:
        return damaged(rng, content, seeds)
    found = bytearray(content)
    marks = [match.start() for match in re.finditer(rb"TREE|HEAP|SNOD|OHDR|OCHK|\x89HDF|[a-z]{4}[a-zA-Z]+", content)]
    for _ in range(rng.choice((1, 2, 4))):
        start = rng.choice(marks) + rng.randrange(-8, 200)
        piece = (rng.choice(INTEGERS) % 2**64).to_bytes(8, "little")[: rng.choice((1, 2, 4, 8))]
        found[start : start + len(piece)] = piece
    return bytes(found)
