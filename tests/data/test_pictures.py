import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from brats_lightning.data.cases import find_cases
from brats_lightning.data.check import check_cases, print_checked
from brats_lightning.data.pictures import is_picture, stem, write_picture_mask
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.reading import read_case
from brats_lightning.errors import ConfigError, DatasetError
from brats_lightning.labels import MASK, WHOLE, Modality
from brats_lightning.nifti import UnreadableVolumeError, read_grid, read_volume, write_volume

Write = Callable[..., Path]
T1C: tuple[Modality, ...] = ("t1c",)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
RANDOM = np.random.default_rng(0).integers(0, 255, (9, 7)).astype(np.uint8)


def save_picture(path: Path, pixels: Any = RANDOM) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_nifti(path: Path, array: Any = RANDOM.T[..., None], affine: Any = LPS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def ids_in(folder: Path, modalities: Any = T1C) -> list[str]:
    found = find_cases(folder, modalities=modalities)
    assert found.problems == ()
    return [case.id for case in found.cases]


def test_a_slice_of_any_plane_is_a_case(tmp_path: Path) -> None:
    for axis, name in enumerate(("sagittal", "coronal", "axial")):
        save_nifti(tmp_path / f"{name}.nii.gz", np.expand_dims(RANDOM, axis))
    assert ids_in(tmp_path) == ["axial", "coronal", "sagittal"]


def test_png_jpeg_and_slices_of_any_name_are_cases_of_the_one_modality(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    save_picture(tmp_path / "deep" / "b (2).JPG")
    save_picture(tmp_path / "c.v2.jpeg")
    save_nifti(tmp_path / "d.nii.gz")
    save_nifti(tmp_path / "e.nii", RANDOM.T)
    save_nifti(tmp_path / "volume.nii.gz", np.zeros((9, 7, 5), np.int16))
    (tmp_path / "notes.txt").touch()
    found = find_cases(tmp_path, modalities=("t2f",))
    assert found.problems == ()
    assert [case.id for case in found.cases] == ["a", "b (2)", "c.v2", "d", "e"]
    for case in found.cases:
        assert (case.patient, case.edition, case.label) == (case.id, MASK, None)
        assert read_case(case, modalities=("t2f",)).image.shape == (1, 7, 9, 1)
    assert {case.edition for case in find_cases(tmp_path, modalities=T1C, edition="2021").cases} == {"2021"}


def test_hidden_files_shadows_and_indices_of_folds_are_no_cases(write_figshare: Write) -> None:
    folder = write_figshare("1.mat").parent
    for name in ("._1.mat", ".2.mat", "cvind.mat"):
        (folder / name).write_bytes(b"no HDF5")
    assert ids_in(folder) == ["1"]


def test_pictures_beside_other_cases_are_figures(write_figshare: Write, write_case: Write, tmp_path: Path) -> None:
    save_picture(write_figshare("1.mat").parent / "figure.png")
    save_nifti(tmp_path / "slices" / "map.nii.gz")
    assert ids_in(tmp_path) == ["1"]
    save_picture(write_case("BraTS2021_00001") / "figure.png")
    assert ids_in(tmp_path) == ["1", "BraTS2021_00001"]
    assert ids_in(tmp_path, ("t1n", "t1c")) == ["BraTS2021_00001"]


def test_other_matlab_files_matter_only_where_there_is_nothing_of_brats(
    write_figshare: Write, write_case: Write, tmp_path: Path
) -> None:
    folder = write_figshare("1.mat").parent
    (folder / "results.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    (problem,) = find_cases(tmp_path, modalities=T1C).problems
    assert (problem.case, problem.file) == ("results", "results.mat")
    write_case("BraTS2021_00001")
    assert ids_in(tmp_path) == ["1", "BraTS2021_00001"]


def test_results_of_a_prediction_among_pictures_are_no_cases(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.jpg")
    for folder in (tmp_path, tmp_path / "out"):
        save_picture(folder / "a.png")
        save_nifti(folder / "a.nii.gz")
        (folder / ".predictions").mkdir()
    assert ids_in(tmp_path) == ["a"]
    assert find_cases(tmp_path, modalities=T1C).cases[0].files == [tmp_path / "a.jpg"]


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    save_picture(tmp_path / "a.jpg")
    save_picture(tmp_path / "b.png")
    found = find_cases(tmp_path, modalities=T1C)
    assert [case.id for case in found.cases] == ["b"]
    assert {(problem.what, problem.cure) for problem in found.problems} == {("two cases of one name", "rename one")}
    assert {Path(problem.file).name for problem in found.problems} == {"a.png", "a.jpg"}


def test_a_slice_with_an_unreadable_header_is_a_problem(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").write_bytes(b"")
    found = find_cases(tmp_path, modalities=T1C)
    assert len(found.cases) == 1
    assert [(problem.case, problem.file) for problem in found.problems] == [("b", "b.nii.gz")]


def test_with_several_modalities_the_error_names_the_pictures_and_with_one_what_they_may_be(
    write_figshare: Write, tmp_path: Path
) -> None:
    folder = write_figshare("1.mat").parent
    with pytest.raises(
        DatasetError, match=r"dataset.json; pictures such as 1.mat are cases where exactly one modality is asked for"
    ):
        find_cases(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="or single slices of one modality"):
        find_cases(tmp_path / "empty", modalities=T1C)
    with pytest.raises(DatasetError) as caught:
        find_cases(tmp_path / "empty")
    assert "picture" not in str(caught.value)


def test_a_picture_in_colour_is_refused_when_it_is_read(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", np.stack([RANDOM, RANDOM, RANDOM + 1], axis=-1))
    (case,) = find_cases(tmp_path, modalities=T1C).cases
    with pytest.raises(DatasetError) as caught:
        read_case(case, modalities=T1C)
    assert str(caught.value) == "a, a.png: three colours where one channel is expected; convert it to grey"


def test_names_end_where_the_ending_begins() -> None:
    assert [stem(name) for name in ("a.b.nii.gz", "a.NII", "1.mat", "x.JPEG", "noending")] == [
        "a.b",
        "a",
        "1",
        "x",
        "noending",
    ]
    assert is_picture(Path("a.PNG"))
    assert not is_picture(Path("a.nii.gz"))


def test_a_mask_is_white_where_there_is_tumour_and_has_the_values_of_tissues(tmp_path: Path) -> None:
    labels = np.zeros((7, 9, 1), np.uint8)
    labels[1, 2], labels[3, 4] = WHOLE, 3
    values = np.where(labels == 3, 4, labels).astype(np.uint8)
    write_picture_mask(tmp_path / "a.png", labels, values)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    assert pixels.shape == (9, 7)
    assert (pixels[2, 1], pixels[4, 3]) == (255, 4)
    assert np.count_nonzero(pixels) == 2


def test_a_nifti_file_of_two_dimensions_is_read_and_written_as_such(tmp_path: Path) -> None:
    affine = np.diag([-0.5, -0.75, 5.0, 1.0])
    path = save_nifti(tmp_path / "a.nii.gz", RANDOM.T, affine)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array[..., 0], RANDOM.T)
    assert volume.grid.shape == read_grid(path).shape == (7, 9, 1)
    np.testing.assert_array_equal(volume.grid.affine, affine)
    for array in (volume.array, volume.array.astype(np.float32)):
        write_volume(tmp_path / "out.nii.gz", array, volume.grid, like=path, verify=True)
        written = nibabel.load(tmp_path / "out.nii.gz")
        assert written.shape == (7, 9)
        np.testing.assert_array_equal(written.affine, nibabel.load(path).affine)
        np.testing.assert_array_equal(np.asarray(written.dataobj), RANDOM.T)


def test_a_nifti_header_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(RANDOM, LPS)
    image.header.set_data_shape((32767, 32767, 32767))
    (tmp_path / "a.nii").write_bytes(image.header.binaryblock + bytes(100))
    with pytest.raises(
        UnreadableVolumeError, match=r"its header tells of \d+ bytes of voxels, the file has 448 in all"
    ):
        read_volume(tmp_path / "a.nii")


@pytest.mark.parametrize("crop", [True, False])
def test_preprocessing_keeps_a_slice_a_slice(write_figshare: Write, *, crop: bool) -> None:
    (case,) = find_cases(write_figshare().parent, modalities=T1C).cases
    sample = Preprocessing(modalities=T1C, crop=crop, size=None)(case)
    assert sample.image.shape == (1, 20, 24, 1)
    assert sample.label is not None
    assert set(sample.label.unique().tolist()) == {0, WHOLE}
    assert sample.image.float().mean().item() == pytest.approx(0, abs=1e-2)


def test_a_folder_of_pictures_is_checked_with_one_modality(write_figshare: Write) -> None:
    for number in range(12):
        folder = write_figshare(f"{number}.mat", patient=str(number), seed=number).parent
    write_figshare("bad.mat", image=np.full((24, 20), 5))
    checked = check_cases(folder, workers=1)
    assert len(checked.cases) == 13
    assert [problem.case for problem in checked.problems] == ["bad"]
    console = Console(width=200, record=True, file=io.StringIO())
    print_checked(checked, console)
    lines = [" ".join(line.replace("│", " ").split()) for line in console.export_text().splitlines()]
    assert "pictures 13 0" in lines
    assert "0 and 11 more no pixel size in the file, 10.5 mm taken as published" in lines
    with pytest.raises(ConfigError, match="give at least one"):
        check_cases(folder, modalities=())
    with pytest.raises(DatasetError, match="exactly one modality"):
        check_cases(folder, modalities=("t1c", "t1n"))
