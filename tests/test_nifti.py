import gzip
from pathlib import Path

import itk
import nibabel
import numpy as np
import pytest

from brats_lightning.nifti import Grid, UnreadableVolumeError, read_grid, read_labels, read_volume, write_volume

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
