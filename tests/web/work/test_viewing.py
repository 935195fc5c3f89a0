from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.data.case import Case
from brats_lightning.labels import Modality
from brats_lightning.nifti import read_grid
from brats_lightning.web.work.tasks.given import Given
from brats_lightning.web.work.tasks.viewing import tissues_of, write_entropy, write_images

AFFINE = np.diag([-1.0, 2.0, 3.0, 1.0])
SHAPE = (4, 5, 6)


def given(folder: Path, arrays: dict[Modality, npt.NDArray[Any]], affine: npt.NDArray[np.float64] = AFFINE) -> Given:
    images = {kind: folder / f"{kind}.nii.gz" for kind in arrays}
    for kind, array in arrays.items():
        nibabel.save(nibabel.Nifti1Image(array, affine if array.shape == SHAPE else np.eye(4)), images[kind])
    return Given(Case("p", "p", "2023", images), images, folder, None, {}, known=False)


def shown(tmp_path: Path, array: npt.NDArray[Any]) -> Any:
    case = given(tmp_path, {"t1n": array})
    labels = np.zeros(SHAPE, np.uint8)
    native = read_grid(case.images["t1n"])
    write_images(case, tmp_path, native=native, labels=labels, align=False, tell=lambda _: None)
    return nibabel.load(tmp_path / "volumes" / "t1n.nii.gz")


@pytest.mark.parametrize(
    ("low", "high", "dtype", "stored"),
    [
        (0, 255, np.int16, np.uint8),
        (-1024, 3000, np.int16, np.uint16),
        (0, 65535, np.float32, np.uint16),
        (-32768, 32767, np.int16, np.uint16),
        (7, 7, np.int16, np.uint8),
    ],
)
def test_whole_numbers_are_shown_as_they_are(tmp_path: Path, low: int, high: int, dtype: type, stored: type) -> None:
    array: npt.NDArray[Any] = np.linspace(low, high, np.prod(SHAPE)).round().reshape(SHAPE).astype(dtype)
    volume = shown(tmp_path, array)
    assert volume.get_data_dtype() == stored
    assert np.array_equal(volume.get_fdata(), array[::-1])


@pytest.mark.parametrize(("low", "high"), [(-2.5, 7.25), (0.0, 1e6), (-1e-3, 1e-3)])
def test_other_numbers_are_shown_to_a_part_of_their_range(tmp_path: Path, low: float, high: float) -> None:
    array = np.random.default_rng(0).uniform(low, high, SHAPE).astype(np.float32)
    volume = shown(tmp_path, array)
    assert np.abs(volume.get_fdata() - array[::-1]).max() <= (high - low) / 65535


def test_images_elsewhere_or_unreadable_are_left_out_and_named(tmp_path: Path) -> None:
    good = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    broken = np.full(SHAPE, np.nan, np.float32)
    case = given(tmp_path, {"t1n": good, "t1c": broken, "t2w": good[:2]})
    native, labels = read_grid(case.images["t1n"]), np.zeros(SHAPE, np.uint8)
    labels[1:3, 2:4, 3] = 3

    view, notes = write_images(case, tmp_path, native=native, labels=labels, align=False, tell=lambda _: None)

    assert view.images == ["t1n"]
    assert [note.partition(":")[0] for note in notes] == ["t1c.nii.gz", "t2w.nii.gz"]
    assert labels[view.centre] == 3
    assert [tissue.name for tissue in view.tissues] == ["ET"]
    assert sorted(path.name for path in (tmp_path / "volumes").iterdir()) == ["t1n.nii.gz"]


def test_images_elsewhere_are_resampled_where_that_is_asked_for(tmp_path: Path) -> None:
    case = given(tmp_path, {"t1n": np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)})
    moved = nibabel.Nifti1Image(np.full((8, 10, 12), 5, np.int16), np.diag([-0.5, 1.0, 1.5, 1.0]))
    nibabel.save(moved, tmp_path / "t1c.nii.gz")
    case = given(tmp_path, {"t1n": np.ones(SHAPE, np.int16)})
    images: dict[Modality, Path] = {"t1n": tmp_path / "t1n.nii.gz", "t1c": tmp_path / "t1c.nii.gz"}
    case = Given(Case("p", "p", "2023", images), images, tmp_path, None, {}, known=False)
    native = read_grid(images["t1n"])

    view, notes = write_images(
        case, tmp_path, native=native, labels=np.zeros(SHAPE, np.uint8), align=True, tell=lambda _: None
    )

    assert (view.images, notes) == (["t1n", "t1c"], [])
    resampled = nibabel.load(tmp_path / "volumes" / "t1c.nii.gz").get_fdata()
    assert resampled.shape == SHAPE
    assert np.all(resampled[1:] == 5)


def test_an_entropy_is_shown_to_a_hundredth(tmp_path: Path) -> None:
    entropy = np.random.default_rng(0).random(SHAPE, np.float32)
    name = write_entropy(tmp_path, entropy, spacing_mm=(1, 2, 3))
    stored = nibabel.load(tmp_path / name)
    assert np.abs(stored.get_fdata() - entropy).max() < 0.003
    assert np.array_equal(stored.affine, np.diag([1, 2, 3, 1]))


def test_tissues_are_those_that_occur_anywhere_innermost_first() -> None:
    one, other = np.array([0, 2], np.uint8), np.array([1, 3], np.uint8)
    assert [tissue.name for tissue in tissues_of([one, other])] == ["NCR", "ET", "ED"]
    assert tissues_of([np.zeros(3, np.uint8)]) == []
