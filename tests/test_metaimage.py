"""MetaImage files against ITK, which wrote them, and against headers that ITK believes."""

import zlib
from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest

from brats_lightning.metaimage import read_metaimage
from brats_lightning.nifti import UnreadableVolumeError, read_volume

ARRAY = np.arange(5 * 6 * 7).reshape(5, 6, 7)
VOXELS = ARRAY.astype("<i2").tobytes("F")
ANGLE = 0.3
OBLIQUE = np.array([[np.cos(ANGLE), -np.sin(ANGLE), 0], [np.sin(ANGLE), np.cos(ANGLE), 0], [0, 0, -1]])
HEADER = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "DimSize": "5 6 7",
    "ElementType": "MET_SHORT",
    "ElementDataFile": "LOCAL",
}


def metaimage(path: Path, voxels: bytes, **tags: str) -> Path:
    header = {name: value for name, value in (HEADER | tags).items() if name != "ElementDataFile"}
    header["ElementDataFile"] = tags.get("ElementDataFile", "LOCAL")  # which comes last
    path.write_bytes("".join(f"{name} = {value}\n" for name, value in header.items()).encode() + voxels)
    return path


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_and_place_are_those_that_itk_finds(tmp_path: Path, kind: str, compressed: bool) -> None:
    image = itk.image_from_array(np.ascontiguousarray(ARRAY.astype(kind).transpose()))
    image.SetSpacing([0.5, 2.0, 3.0])
    image.SetOrigin([-7.5, 11.0, 4.25])
    image.SetDirection(OBLIQUE)
    path = tmp_path / "a.mha"
    itk.imwrite(image, str(path), compression=compressed)
    array, affine = read_metaimage(path)
    found: Any = itk.imread(str(path))
    assert array.dtype == kind
    assert np.array_equal(array, itk.array_from_image(found).transpose())
    for index in ((0, 0, 0), (4, 0, 0), (0, 5, 0), (1, 2, 6)):
        np.testing.assert_allclose((affine @ [*index, 1])[:3], found.TransformIndexToPhysicalPoint(index), atol=1e-5)


def test_other_names_and_orders_of_bytes_are_read(tmp_path: Path) -> None:
    tags = {
        "Position": "1 2 3",
        "Orientation": "1 0 0 0 1 0 0 0 1",
        "ElementSize": "2 2 2",
        "ElementByteOrderMSB": "True",
    }
    tags["BinaryDataByteOrderMSB"] = "True"
    array, affine = read_metaimage(metaimage(tmp_path / "a.mha", ARRAY.astype(">i2").tobytes("F"), **tags))
    assert np.array_equal(array, ARRAY)
    assert affine.tolist() == [[2, 0, 0, 1], [0, 2, 0, 2], [0, 0, 2, 3], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        ({"ElementType": "MET_OTHER"}, "expected one number a voxel"),  # a KeyError of ITK's Python
        ({"ElementNumberOfChannels": "3"}, "expected one number a voxel"),
        ({"DimSize": "2000000000 6 7"}, "expected whole numbers"),
        ({"DimSize": "200000000 6 7"}, "cut short or damaged"),  # ITK took that memory
        ({"DimSize": "-5 6 7"}, "expected whole numbers"),
        ({"DimSize": "5 0 7"}, "expected voxels along each axis"),
        ({"DimSize": "5 6"}, "expected 3 numbers as DimSize"),
        ({"NDims": "1000000"}, "expected three dimensions"),  # ITK crashed
        ({"NDims": "2"}, "expected three dimensions"),
        ({"ElementDataFile": "/etc/hostname"}, "expected the voxels in the same file"),
        ({"ElementDataFile": "LIST"}, "expected the voxels in the same file"),
        ({"HeaderSize": "-1"}, "right behind the header"),
        ({"CompressedData": "True"}, "cut short or damaged"),
        ({"ElementSpacing": "nan 1 1"}, "numbers of a place in space"),
        ({"ElementSpacing": "1 0 1"}, "degenerate"),
        ({"Offset": "1e400 0 0"}, "numbers of a place in space"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 x"}, "could not convert"),
    ],
)
def test_headers_that_tell_nonsense_are_refused(tmp_path: Path, tags: dict[str, str], sentence: str) -> None:
    with pytest.raises(UnreadableVolumeError, match=sentence):
        read_volume(metaimage(tmp_path / "a.mha", VOXELS, **tags))


def test_files_that_end_too_early_are_refused(tmp_path: Path) -> None:
    whole = metaimage(tmp_path / "a.mha", VOXELS).read_bytes()
    packed = metaimage(tmp_path / "b.mha", zlib.compress(VOXELS), CompressedData="True")
    assert np.array_equal(read_volume(packed).array, ARRAY)
    for content in (b"", whole[:40], whole[:-1], packed.read_bytes()[:-60]):
        (tmp_path / "cut.mha").write_bytes(content)
        with pytest.raises(UnreadableVolumeError):
            read_volume(tmp_path / "cut.mha")


def test_of_a_bomb_no_more_is_unpacked_than_the_header_tells_of(tmp_path: Path) -> None:
    bomb = metaimage(tmp_path / "a.mha", zlib.compress(bytes(100 << 20), 1), CompressedData="True")
    assert not read_volume(bomb).array.any()
