"""Each fault is planted in a small phantom, and found; without it nothing is said."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.data.cases import find_cases
from brats_lightning.data.checking.findings import CaseChecked
from brats_lightning.data.checking.one_case import check_case
from brats_lightning.data.checking.voxels import digest
from brats_lightning.labels import MODALITIES
from brats_lightning.phantom.folder import phantom

Array = npt.NDArray[Any]
CASE = "BraTS2021_90000"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantoms") / "cases"
    (folder,) = phantom(root, cases=1, seed=5, size=(60, 60, 40), workers=1)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / CASE))


def checked(folder: Path) -> CaseChecked:
    (case,) = find_cases(folder).cases
    return check_case(case, modalities=MODALITIES)


def edit(folder: Path, kind: str, change: Callable[[Array], Array]) -> None:
    path = folder / f"{CASE}_{kind}.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(change(np.asanyarray(image.dataobj).copy()), image.affine), path)


def only_below(array: Array) -> Array:
    array[:, :, 22:] = 0
    return array


def corner(array: Array) -> Array:
    array[:] = 0
    array[:9, :9, :3] = 2
    return array


def overflown(array: Array) -> Array:
    larger: Array = np.minimum(array.astype(int) * 60, 32767).astype(np.int16)
    return larger


def test_a_good_case_is_measured_and_nothing_is_said(folder: Path) -> None:
    found = checked(folder)
    assert (found.problems, found.remarks) == ((), ())
    numbers = found.numbers
    truth = np.asanyarray(nibabel.load(folder / f"{CASE}_seg.nii.gz").dataobj)
    assert numbers.label is not None
    assert numbers.label.voxels["ET"] == np.count_nonzero(truth == 4)
    assert numbers.label.voxels["WT"] == np.count_nonzero(truth)
    assert numbers.voxel_ml == pytest.approx(4 * 4 * 155 / 40 / 1000)
    image = np.asanyarray(nibabel.load(folder / f"{CASE}_t1.nii.gz").dataobj)
    assert numbers.images["t1n"].largest == image.max()
    assert numbers.images["t1n"].median == np.median(image[image != 0])
    box = [np.ptp(places) + 1 for places in np.nonzero(image)]
    assert numbers.brain_box == tuple(box)


@pytest.mark.parametrize(
    ("kind", "change", "about", "said"),
    [
        ("t1", lambda array: array[::-1], "sides", "t1n agrees better"),
        ("seg", lambda array: array[::-1], "sides", "brighter at the mirrored place"),
        ("t2", overflown, "intensity", "the largest value of int16"),
        ("t1ce", lambda array: np.minimum(array, 500), "intensity", "clipped"),
        ("t1ce", lambda array: array // 200 * 200 + (array != 0), "intensity", "different values: a mask?"),
        ("t1ce", only_below, "intensity", "of the brain that the modalities show together"),
        ("seg", lambda array: ((array > 0) * 4).astype(np.uint8), "label", "touch no other tumour"),
    ],
)
def test_what_is_odd_is_remarked(
    *, folder: Path, kind: str, change: Callable[[Array], Array], about: str, said: str
) -> None:
    edit(folder, kind, change)
    found = checked(folder)
    assert found.problems == ()
    assert [said in remark.what for remark in found.remarks if remark.about == about].count(True) == 1
    assert all(remark.file.startswith(f"{CASE}_{kind}.") for remark in found.remarks if remark.about == about)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("flair", lambda array: (array != 0).astype(np.int16) * 100, "constant inside the brain"),
        ("seg", corner, "100% of the tumour lies where all images are background"),
    ],
)
def test_what_cannot_be_is_a_problem(*, folder: Path, kind: str, change: Callable[[Array], Array], said: str) -> None:
    edit(folder, kind, change)
    (problem,) = checked(folder).problems
    assert said in problem.what
    assert problem.file == f"{CASE}_{kind}.nii.gz"


def test_two_modalities_of_one_image_are_a_problem(folder: Path) -> None:
    shutil.copy(folder / f"{CASE}_t1.nii.gz", folder / f"{CASE}_t2.nii.gz")
    (problem,) = checked(folder).problems
    assert problem.what == "t2w has exactly the voxels of t1n"


def test_a_refused_case_keeps_the_hashes_of_what_can_be_read(folder: Path) -> None:
    whole = checked(folder).numbers.digests
    path = folder / f"{CASE}_t2.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])
    found = checked(folder)
    assert [problem.file for problem in found.problems] == [path.name]
    assert found.numbers.digests == {kind: held for kind, held in whole.items() if kind != "t2w"}


def test_a_hash_is_of_the_voxels_alone(folder: Path) -> None:
    """Another type, axis order, compression and a constant background change nothing."""
    before = checked(folder).numbers.digests
    for kind in ("t1", "seg"):
        path = folder / f"{CASE}_{kind}.nii.gz"
        image = nibabel.load(path)
        array = np.asanyarray(image.dataobj).astype(np.float32)
        turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(array - 5 * (kind == "t1"), image.affine))
        path.write_bytes(gzip.compress(turned.to_bytes(), compresslevel=1))
    assert checked(folder).numbers.digests == before


def test_hashes_differ_by_one_voxel_by_shape_and_by_side() -> None:
    array = np.random.default_rng(0).integers(0, 100, (4, 5, 6)).astype(np.float32)
    other = array.copy()
    other[3, 4, 5] += 1
    hashes = {digest(array), digest(other), digest(array.reshape(5, 4, 6)), digest(array[::-1])}
    assert len(hashes) == 4
    assert digest(-np.zeros((2, 2, 2), np.float32)) == digest(np.zeros((2, 2, 2), np.float32))
    assert digest(np.asfortranarray(array)) == digest(array)


def test_a_background_that_was_moved_makes_no_limit(folder: Path) -> None:
    """Reading moves a background of -1000 to 0: the largest value is then more than the file has."""
    edit(folder, "t1", lambda array: (np.minimum(array.astype(int), 600) * 55 - 1000).astype(np.int16))
    assert not [remark for remark in checked(folder).remarks if "int16" in remark.what]
