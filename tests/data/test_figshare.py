from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from brats_lightning.data.case import Case
from brats_lightning.data.cases import Found, find_cases
from brats_lightning.data.pictures import read_picture
from brats_lightning.data.reading import read_case, read_reference, reference_file
from brats_lightning.errors import DatasetError, Problem
from brats_lightning.labels import MASK, WHOLE, Modality
from brats_lightning.nifti import UnreadableVolumeError

Write = Callable[..., Path]
T1C: tuple[Modality, ...] = ("t1c",)


def found_in(folder: Path) -> Found:
    return find_cases(folder, modalities=T1C)


def only_case(file: Path) -> Case:
    (case,) = found_in(file.parent).cases
    return case


def only_problem(file: Path) -> Problem:
    """Found by name or, at the latest, when the case is read."""
    found = found_in(file.parent)
    if found.cases:
        with pytest.raises(DatasetError) as caught:
            read_case(found.cases[0], modalities=T1C)
        problems = caught.value.problems
    else:
        problems = found.problems
    (problem,) = problems
    return problem


def drop(name: str) -> Callable[[Any], None]:
    return lambda content: content.pop(name)


def put(name: str, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        content.pop(name, None)
        content[name] = value

    return change


def test_a_file_is_a_case_with_its_patient_and_its_mask(write_figshare: Write) -> None:
    file = write_figshare("17.mat", patient="MR048994B")
    case = only_case(file)
    assert case == Case("17", "MR048994B", MASK, {"t1c": file}, file)
    assert case.files == [file]
    assert reference_file(case, modalities=T1C) == file
    assert list(find_cases(file.parent, modalities=("t2f",)).cases[0].images) == ["t2f"]


def test_columns_lie_along_x_to_the_left_and_rows_along_y_to_the_back(write_figshare: Write) -> None:
    image = np.arange(24 * 20, dtype=np.int16).reshape(24, 20)
    case = only_case(write_figshare(image=image))
    volume = read_picture(case.files[0])
    assert volume.array[7, 2, 0] == image[2, 7]
    assert volume.grid.shape == (20, 24, 1)
    assert volume.grid.orientation == "LPS"
    volumes = read_case(case, modalities=T1C)
    assert volumes.image.shape == (1, 20, 24, 1)
    assert volumes.grid.orientation == "RAS"
    np.testing.assert_array_equal(volumes.image[0, ::-1, ::-1, 0].T, image)
    assert volumes.native.shape == (20, 24, 1)
    np.testing.assert_array_equal(volumes.native.affine, volume.grid.affine)


def test_the_mask_lies_where_the_image_has_its_tumour(write_figshare: Write) -> None:
    case = only_case(write_figshare())
    volumes = read_case(case, modalities=T1C)
    assert volumes.label is not None
    assert set(np.unique(volumes.label).tolist()) == {0, WHOLE}
    np.testing.assert_array_equal(volumes.label == WHOLE, volumes.image[0] >= 1000)
    np.testing.assert_array_equal(read_reference(case), volumes.label)


def test_the_whole_picture_counts_as_brain_and_the_notes_say_what_is_not_known(write_figshare: Write) -> None:
    image = np.zeros((24, 20), np.int16)
    image[5:9, 5:9] = np.arange(16).reshape(4, 4)
    volumes = read_case(only_case(write_figshare(image=image)), modalities=T1C)
    assert volumes.brain.all()
    assert volumes.notes == ("no pixel size in the file, 10.5 mm taken as published",)


@pytest.mark.parametrize(("shape", "pixel_mm"), [((512, 512), 0.49), ((256, 256), 0.98), ((128, 512), 0.49)])
def test_pixels_are_as_large_as_published_and_pictures_of_other_sizes_show_as_much(
    write_figshare: Write, shape: tuple[int, int], pixel_mm: float
) -> None:
    grid = read_picture(write_figshare(shape=shape)).grid
    assert grid.spacing_mm == pytest.approx((pixel_mm, pixel_mm, 6.0))


@pytest.mark.parametrize(
    ("change", "patient"),
    [
        (put("PID", np.array([[100360.0]])), "100360"),
        (put("PID", np.array([list(b"MR1")], np.uint16)), "MR1"),
        (put("PID", np.zeros((2, 0), np.uint16)), "1"),
        (put("PID", "MR1"), "1"),
        (put("PID", np.dtype(np.uint16)), "1"),
        (drop("PID"), "1"),
    ],
)
def test_a_patient_is_told_from_codes_and_a_file_without_one_is_of_its_own(
    write_figshare: Write, change: Callable[[Any], None], patient: str
) -> None:
    case = only_case(write_figshare(change=change))
    assert case.patient == patient
    assert bool(case.notes) == (patient == "1")


def test_an_empty_matrix_of_matlab_is_no_patient(write_figshare: Write) -> None:
    """It stores the size, 0×0, in place of the characters."""

    def empty(content: Any) -> None:
        put("PID", np.zeros(2, np.uint64))(content)
        content["PID"].attrs["MATLAB_empty"] = 1

    assert only_case(write_figshare(change=empty)).patient == "1"


def test_without_a_mask_it_is_a_case_without_a_label(write_figshare: Write) -> None:
    assert only_case(write_figshare(change=drop("tumorMask"))).label is None


def test_masks_of_any_type_of_number_are_read(write_figshare: Write) -> None:
    plain = read_reference(only_case(write_figshare()))
    for dtype in (np.float64, np.bool_, np.int32):
        mask = np.zeros((24, 20), dtype)
        mask[12:17, 3:7] = 1
        case = only_case(write_figshare(mask=mask))
        np.testing.assert_array_equal(read_reference(case), plain)


@pytest.mark.parametrize(
    ("options", "what", "cure"),
    [
        ({"change": drop("image")}, "no matrix `image` in its struct `cjdata`, found PID, label", "replace the file"),
        ({"change": put("image", np.zeros((3, 20, 24)))}, "its image has 24×20×3 pixels where two", "one slice a file"),
        ({"change": put("image", np.full((4, 4), b"x"))}, "holds |S1 where numbers are expected", "replace the file"),
        ({"change": put("tumorMask", np.zeros((9, 8)))}, "tumorMask has 8×9 pixels, its image 24×20", "the same size"),
        ({"mask": np.ones((24, 20))}, "every voxel is labelled as tumour", "it is no segmentation"),
        ({"mask": np.eye(24, 20) * 0.5}, "labels that are no whole numbers", "download the file again"),
        ({"mask": np.eye(24, 20) * 3}, "label 3 found", "check the file"),
        ({"image": np.full((24, 20), 9)}, "an empty image: every voxel is 9", "download the file again"),
        ({"image": np.full((24, 20), np.nan)}, "480 voxels are NaN or infinite", "download the file again"),
        ({"image": np.zeros((0, 20))}, "expected 1 to 67108864 pixels, found 20 columns and 0 rows", "download"),
    ],
)
def test_contents_that_are_no_slice_are_refused_with_the_cure(
    write_figshare: Write, options: dict[str, Any], what: str, cure: str
) -> None:
    problem = only_problem(write_figshare(**options))
    assert (problem.case, problem.file) == ("1", "1.mat")
    assert what in problem.what
    assert cure in problem.cure
    assert "\n" not in str(problem)


def test_a_file_that_claims_to_be_huge_is_refused_before_memory_is_taken(write_figshare: Write) -> None:
    def huge(content: Any) -> None:
        del content["image"]
        content.create_dataset("image", shape=(1 << 30, 1 << 20), dtype=np.int16, chunks=(1, 64))

    problem = only_problem(write_figshare(change=huge))
    assert "found 1073741824 columns and 1048576 rows" in problem.what


def test_a_file_of_other_contents_or_another_version_is_refused_with_the_cure(tmp_path: Path) -> None:
    other = tmp_path / "1.mat"
    with h5py.File(other, "w") as file:
        file["volume"] = np.zeros((4, 4))
    assert str(only_problem(other)) == (
        "1, 1.mat: expected the struct `cjdata` of figshare 1512427, found volume; "
        "replace the file or take it out of the folder"
    )
    scipy.io.savemat(other, {"cjdata": {"image": np.zeros((4, 4))}}, format="5")
    problem = only_problem(other)
    assert problem.what == "a file of MATLAB's version 7 or older where 7.3 is expected"
    assert problem.cure == "save it with -v7.3"
    for version_4_or_none in (b"", b"no MATLAB at all"):
        other.write_bytes(version_4_or_none)
        assert only_problem(other).what == "no MATLAB file of version 7.3"


def test_a_file_cut_short_anywhere_is_refused(write_figshare: Write) -> None:
    file = write_figshare()
    whole = file.read_bytes()
    for part in (0.02, 0.1, 0.3, 0.6, 0.99):
        file.write_bytes(whole[: int(len(whole) * part)])
        problem = only_problem(file)
        assert "the HDF5 data are cut short or damaged" in problem.what
        assert problem.cure == "download the file again or leave the case out"


def test_no_damage_ends_in_anything_but_an_error_in_words(write_figshare: Write) -> None:
    file = write_figshare()
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        bytes_of = whole.copy()
        at = generator.integers(0, len(whole), 40)
        bytes_of[at] = generator.integers(0, 256, 40)
        file.write_bytes(bytes_of.tobytes())
        if not (found := found_in(file.parent)).cases:
            assert len(found.problems) == 1
            refused += 1
            continue
        try:
            read_case(found.cases[0], modalities=T1C)
        except DatasetError:
            refused += 1
    assert refused > 30


def test_a_file_that_is_gone_is_told_so(write_figshare: Write) -> None:
    file = write_figshare()
    case = only_case(file)
    file.unlink()
    with pytest.raises(DatasetError, match="the file is not there"):
        read_case(case, modalities=T1C)
    with pytest.raises(UnreadableVolumeError):
        read_picture(file)


def test_the_real_files_are_eleven_cases_of_eleven_patients(shared: Path) -> None:
    found = found_in(shared / "data" / "figshare")
    assert found.problems == ()
    assert len(found.cases) == 11
    assert {case.id: case.patient for case in found.cases if case.id in {"1", "1607", "1887"}} == {
        "1": "100360",
        "1607": "98652",
        "1887": "MR048994B",
    }
    assert len({case.patient for case in found.cases}) == 11


def test_real_images_and_masks_lie_as_the_file_itself_says(shared: Path) -> None:
    """Its border was drawn by hand on the picture: points x, y in pixels to the right and downwards, from 1."""
    for case in found_in(shared / "data" / "figshare").cases:
        with h5py.File(case.files[0]) as file:
            points = file["cjdata/tumorBorder"][()].reshape(-1, 2)
            rows_and_columns = file["cjdata/image"][()].T
        volumes = read_case(case, modalities=T1C)
        assert volumes.label is not None
        x, y, _ = (np.mean(index) for index in np.nonzero(volumes.label))
        columns, rows, _ = volumes.grid.shape  # in RAS order, which turns both around
        assert columns - x == pytest.approx(points[:, 0].mean(), abs=12)
        assert rows - y == pytest.approx(points[:, 1].mean(), abs=12)
        np.testing.assert_array_equal(volumes.image[0, ::-1, ::-1, 0], rows_and_columns.T)
