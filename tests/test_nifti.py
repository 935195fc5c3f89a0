import errno
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import nibabel
import numpy as np
import pytest

from brats_lightning.nifti import (
    Grid,
    UnreadableVolumeError,
    read_grid,
    read_labels,
    read_volume,
    verify_volume,
    write_probability,
    write_volume,
)

GENERATOR = np.random.default_rng(0)
ARRAY = GENERATOR.integers(0, 1000, (5, 6, 7)).astype(np.int16)
COS, SIN = np.cos(0.2), np.sin(0.2)
# Axes grow posterior, left and superior, turned by 0.2 about the second, with spacings 0.9, 1.2 and 5.5 mm.
OBLIQUE = np.array([[0, -1.2, 0, 9], [-0.9 * COS, 0, 5.5 * SIN, -3], [0.9 * SIN, 0, 5.5 * COS, 40], [0, 0, 0, 1]])


def save(path: Path, array: np.typing.NDArray[np.generic], affine: np.typing.NDArray[np.floating]) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def set_header(path: Path, *, at: int, value: bytes) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_what_is_written_is_read_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"volume{ending}"
    write_volume(path, ARRAY, Grid((5, 6, 7), OBLIQUE), description="synthetic")
    volume = read_volume(path)
    assert np.array_equal(volume.array, ARRAY)
    assert volume.array.dtype == np.int16
    assert np.allclose(volume.grid.affine, OBLIQUE, atol=1e-5)
    assert volume.quirks == ()
    assert np.allclose(nibabel.load(path).get_qform(), OBLIQUE, atol=1e-5)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_slope_of_zero_means_not_scaled(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", ARRAY, np.eye(4))
    set_header(path, at=112, value=np.float32(0).tobytes())
    volume = read_volume(path)
    assert np.array_equal(volume.array, ARRAY)
    assert volume.quirks == ("sform only", "slope 0 (means: not scaled)")


def test_a_slope_is_applied(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", ARRAY, np.eye(4))
    set_header(path, at=112, value=np.array([0.5, 3], np.float32).tobytes())
    volume = read_volume(path)
    assert np.allclose(volume.array, ARRAY * 0.5 + 3)
    assert volume.quirks == ("sform only", "values scaled by 0.5 + 3")


def test_without_an_sform_the_qform_counts(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(ARRAY, None)
    image.set_qform(np.diag([-2.0, -2.0, 3.0, 1.0]), code=1)
    image.set_sform(None, code=0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.grid.spacing_mm == (2, 2, 3)
    assert volume.grid.orientation == "LPS"
    assert volume.quirks == ("qform only",)


def test_ras_is_a_view_with_every_voxel_at_its_place(tmp_path: Path) -> None:
    volume = read_volume(save(tmp_path / "a.nii", ARRAY, OBLIQUE))
    turned = volume.ras()
    assert turned.grid.orientation == "RAS"
    assert np.shares_memory(turned.array, volume.array)
    index = np.array([1, 2, 3])
    world = volume.grid.affine @ [*index, 1]
    there = np.rint(np.linalg.solve(turned.grid.affine, world)[:3]).astype(int)
    assert turned.array[tuple(there)] == volume.array[tuple(index)]


def test_grids_differ_by_their_farthest_corner() -> None:
    grid = Grid((11, 11, 11), np.eye(4))
    stretched = np.diag([1.01, 1, 1, 1])
    assert grid.distance_mm(Grid((11, 11, 11), stretched)) == pytest.approx(0.1)
    assert grid.distance_mm(Grid((11, 11, 12), np.eye(4))) == np.inf


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_labels_of_any_type_become_integers(tmp_path: Path, kind: type[np.generic]) -> None:
    stored = (ARRAY % 5).astype(kind)
    labels = read_labels(save(tmp_path / "seg.nii.gz", stored, np.eye(4)))
    assert labels.array.dtype == np.int32
    assert np.array_equal(labels.array, ARRAY % 5)
    mentioned = f"labels stored as {np.dtype(kind).name}" in labels.quirks
    assert mentioned == (kind in (np.uint16, np.float32, np.float64))


@pytest.mark.parametrize(
    ("value", "sentence"), [(0.5, "no whole numbers"), (np.nan, "NaN or infinite"), (1e12, "beyond 32 bits")]
)
def test_labels_that_are_none_are_refused(tmp_path: Path, value: float, sentence: str) -> None:
    stored = np.zeros((4, 4, 4), np.float64)
    stored[1, 2, 3] = value
    with pytest.raises(UnreadableVolumeError, match=sentence):
        read_labels(save(tmp_path / "seg.nii", stored, np.eye(4)))


def test_broken_files_are_refused_in_words(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.nii.gz", ARRAY, np.eye(4)).read_bytes()
    broken = {
        "cut.nii.gz": (whole[: len(whole) // 2], "cut short"),
        "text.nii": (b"not an image at all", "shorter than a NIfTI header"),
        "text.nii.gz": (b"not an image at all", "not a readable volume"),
        "noise.nii": (bytes(range(256)) * 4, "not a readable volume"),
        "header_only.nii": (gzip.decompress(whole)[:352], "not a readable volume"),
        "empty.nii.gz": (b"", "shorter than"),
    }
    for name, (content, sentence) in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableVolumeError, match=sentence):
            read_volume(tmp_path / name)
    with pytest.raises(UnreadableVolumeError, match="not there"):
        read_volume(tmp_path / "absent.nii")
    with pytest.raises(UnreadableVolumeError, match="header"):
        read_grid(tmp_path / "text.nii")


def test_a_degenerate_affine_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", ARRAY, np.eye(4))
    set_header(path, at=280, value=np.zeros(12, np.float32).tobytes())
    with pytest.raises(UnreadableVolumeError, match="affine is degenerate"):
        read_volume(path)


def test_metaimage_lies_where_nifti_lies(tmp_path: Path) -> None:
    """ITK itself is the oracle: it writes one image in both formats."""
    image = itk.image_from_array(np.ascontiguousarray(ARRAY.transpose()))
    image.SetSpacing([1.0, 1.5, 2.0])
    image.SetOrigin([10.0, -20.0, 5.0])
    itk.imwrite(image, str(tmp_path / "a.mha"))
    itk.imwrite(image, str(tmp_path / "a.nii.gz"))
    meta, nifti = read_volume(tmp_path / "a.mha"), read_volume(tmp_path / "a.nii.gz")
    assert np.array_equal(meta.array, nifti.array)
    assert meta.grid.distance_mm(nifti.grid) < 1e-4
    assert read_grid(tmp_path / "a.mha").shape == (5, 6, 7)


PLACE = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units",
)  # fmt: skip
LABELS = (ARRAY % 4).astype(np.uint8)


def header_of(path: Path) -> Any:
    """As it stands in the file: loading an image would put it right."""
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    return nibabel.Nifti1Header(content[:348], check=False)


def image_with(qform: int, sform: int, *, kind: Any = nibabel.Nifti1Image, array: Any = ARRAY) -> Any:
    """An image whose qform and sform do not agree to the last bit, with an odd unit."""
    image = kind(array, None)
    image.header.set_xyzt_units("micron", "msec")
    image.set_qform(OBLIQUE, code=qform)
    image.set_sform(OBLIQUE + 1e-5 if sform else None, code=sform)
    return image


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("qform", "sform"), [(1, 1), (2, 0), (0, 4), (3, 2), (0, 0)])
def test_a_volume_like_another_has_its_geometry_bit_for_bit(
    tmp_path: Path, ending: str, qform: int, sform: int
) -> None:
    like = tmp_path / f"like{ending}"
    nibabel.save(image_with(qform, sform), like)
    path = tmp_path / "labels.nii.gz"
    write_volume(path, LABELS, read_grid(like), like=like, verify=True)
    here, there = header_of(path), header_of(like)
    assert [here[name].tobytes() for name in PLACE] == [there[name].tobytes() for name in PLACE]
    assert here["dim"].tolist() == [3, 5, 6, 7, 1, 1, 1, 1]
    assert (float(here["scl_slope"]), float(here["scl_inter"])) == (1, 0)
    volume = read_volume(path)
    assert volume.array.dtype == np.uint8
    assert np.array_equal(volume.array, LABELS)
    assert np.array_equal(volume.grid.affine, read_grid(like).affine)
    verify_volume(path, LABELS, read_grid(like), like=like)


def test_what_a_reader_would_put_right_is_taken_over_as_it_stands(tmp_path: Path) -> None:
    nibabel.save(image_with(1, 1), tmp_path / "like.nii")
    set_header(tmp_path / "like.nii", at=76, value=np.float32(0).tobytes())  # the qform's handedness: 0 means 1
    write_volume(tmp_path / "a.nii", LABELS, read_grid(tmp_path / "like.nii"), like=tmp_path / "like.nii", verify=True)
    assert header_of(tmp_path / "a.nii")["pixdim"][0] == 0


def test_itk_sees_a_volume_where_it_sees_the_one_it_is_like(tmp_path: Path) -> None:
    nibabel.save(image_with(1, 1), tmp_path / "like.nii")
    write_volume(tmp_path / "a.nii.gz", LABELS, read_grid(tmp_path / "like.nii"), like=tmp_path / "like.nii")
    one, other = (itk.imread(str(tmp_path / name)) for name in ("like.nii", "a.nii.gz"))
    for field in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert np.array_equal(np.asarray(getattr(one, field)()), np.asarray(getattr(other, field)()))
    assert np.array_equal(itk.array_from_image(other).transpose(), LABELS)


def test_of_a_four_dimensional_file_the_geometry_in_space_counts(tmp_path: Path) -> None:
    image = image_with(1, 1, array=np.stack([ARRAY] * 4, axis=-1))
    image.header["pixdim"][4] = 2.5
    nibabel.save(image, tmp_path / "like.nii.gz")
    path = tmp_path / "a.nii"
    write_volume(path, LABELS, read_grid(tmp_path / "like.nii.gz"), like=tmp_path / "like.nii.gz", verify=True)
    here, there = header_of(path), header_of(tmp_path / "like.nii.gz")
    assert here["dim"].tolist() == [3, 5, 6, 7, 1, 1, 1, 1]
    assert here["pixdim"].tolist() == [*there["pixdim"][:4].tolist(), 1, 1, 1, 1]
    assert np.array_equal(here["srow_x"], there["srow_x"])


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_other_byte_order_and_nifti_2_become_nifti_1(tmp_path: Path, kind: Any, endianness: str) -> None:
    made = image_with(1, 1, kind=kind)
    header = made.header.as_byteswapped(endianness)
    nibabel.save(kind(ARRAY, made.affine, header), tmp_path / "like.nii")
    grid = read_grid(tmp_path / "like.nii")
    write_volume(tmp_path / "a.nii", LABELS, grid, like=tmp_path / "like.nii", verify=True)
    assert type(nibabel.load(tmp_path / "a.nii")) is nibabel.Nifti1Image
    assert read_grid(tmp_path / "a.nii").distance_mm(grid) < 1e-5
    assert np.allclose(header_of(tmp_path / "a.nii")["srow_z"], made.get_sform()[2], rtol=1e-6)


def test_like_a_metaimage_the_grid_counts(tmp_path: Path) -> None:
    image = itk.image_from_array(np.ascontiguousarray(ARRAY.transpose()))
    image.SetSpacing([1.0, 1.5, 2.0])
    itk.imwrite(image, str(tmp_path / "like.mha"))
    grid = read_grid(tmp_path / "like.mha")
    write_volume(tmp_path / "a.nii.gz", LABELS, grid, like=tmp_path / "like.mha", verify=True)
    assert read_grid(tmp_path / "a.nii.gz").distance_mm(grid) < 1e-4


def test_a_volume_on_another_grid_is_not_written(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(ARRAY, np.eye(4)), tmp_path / "like.nii")
    with pytest.raises(ValueError, match="does not lie on the grid"):
        write_volume(tmp_path / "a.nii", LABELS, Grid((5, 6, 7), np.diag([2.0, 1, 1, 1])), like=tmp_path / "like.nii")
    with pytest.raises(ValueError, match=r"shape \(5, 6, 7\), found \(5, 6, 6\)"):
        write_volume(tmp_path / "a.nii", LABELS[..., 1:], Grid((5, 6, 7), np.eye(4)))
    assert [entry.name for entry in tmp_path.iterdir()] == ["like.nii"]


def test_a_full_disk_leaves_nothing_behind_and_the_file_before_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, grid = tmp_path / "a.nii.gz", Grid((5, 6, 7), np.eye(4))
    write_volume(path, LABELS, grid)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for name in ("a.nii.gz", "b.nii.gz"):
        with pytest.raises(OSError, match="No space left"):
            write_volume(tmp_path / name, LABELS + 1, grid)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.nii.gz"]
    assert path.read_bytes() == before


def damaged_voxel(content: bytearray) -> None:
    content[-1] ^= 1


def damaged_place(content: bytearray) -> None:
    content[268:272] = np.float32(1.5).tobytes()  # qoffset_x


def cut_short(content: bytearray) -> None:
    del content[-8:]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [(damaged_voxel, "its voxels"), (damaged_place, "its place"), (cut_short, "not a readable volume")],
)
@pytest.mark.parametrize("with_like", [True, False])
def test_what_does_not_come_back_as_written_is_told_and_does_not_stay(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[bytearray], None],
    sentence: str,
    with_like: bool,
) -> None:
    grid = Grid((5, 6, 7), OBLIQUE)
    write_volume(tmp_path / "like.nii", ARRAY, grid)
    like = tmp_path / "like.nii" if with_like else None

    def failing(_: int) -> None:
        (unfinished,) = tmp_path.glob(".a.nii.*")
        content = bytearray(unfinished.read_bytes())
        damage(content)
        unfinished.write_bytes(content)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(UnreadableVolumeError, match=sentence):
        write_volume(tmp_path / "a.nii", LABELS, grid, like=like, verify=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["like.nii"]


def test_a_file_of_another_type_is_not_what_was_written(tmp_path: Path) -> None:
    grid = Grid((5, 6, 7), np.eye(4))
    write_volume(tmp_path / "a.nii", LABELS.astype(np.int16), grid)
    with pytest.raises(UnreadableVolumeError, match="its voxels"):
        verify_volume(tmp_path / "a.nii", LABELS, grid)


def test_probabilities_are_readable_by_everybody(tmp_path: Path) -> None:
    """By a reader that knows nothing of slopes, too."""
    probability = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    probability[0, 0, :2] = 0, 1
    write_probability(tmp_path / "a.nii", probability, Grid((5, 6, 7), OBLIQUE), verify=True)
    image = nibabel.load(tmp_path / "a.nii")
    assert image.get_data_dtype() == np.float32
    unscaled = np.asarray(image.dataobj.get_unscaled())
    assert np.abs(unscaled - probability).max() <= 0.5 / 1024
    assert unscaled[0, 0, :2].tolist() == [0, 1]
