import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from brats_lightning.data.cases import find_cases
from brats_lightning.data.checking.findings import CaseChecked
from brats_lightning.data.checking.headers import check_headers, read_facts
from brats_lightning.labels import MODALITIES
from brats_lightning.nifti import UnreadableVolumeError

Write = Callable[..., Path]


def headers_of(root: Path) -> CaseChecked:
    (case,) = find_cases(root).cases
    return check_headers(case, modalities=MODALITIES)


def change(path: Path, edit: Callable[[nibabel.Nifti1Image], None]) -> None:
    image = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asanyarray(image.dataobj), image.affine, image.header)
    edit(image)
    nibabel.save(image, path)


def test_a_good_case_has_facts_of_each_file_and_nothing_odd(write_case: Write) -> None:
    folder = write_case()
    checked = headers_of(folder)
    assert checked.problems == ()
    assert checked.remarks == ()
    assert set(checked.numbers.headers) == {*MODALITIES, "label"}
    facts = checked.numbers.headers["t1n"]
    assert (facts.shape, facts.stored_as, facts.limits) == ((20, 22, 18), "int16", (-32768.0, 32767.0))
    assert facts.bytes == (folder / facts.file).stat().st_size
    assert checked.numbers.voxel_ml == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda image: image.header.set_xyzt_units("meter"), "unit of length"),
        (lambda image: image.set_qform(np.diag([-1, -1, 1, 1]) + np.eye(4, k=3) * 7, code=1), "7 mm apart"),
        (lambda image: image.set_sform(np.diag([-2, -1, 1, 1]), code=1), "by pixdim"),
        (lambda image: image.set_sform(np.diag([-1, -1, 1, 1]) + np.eye(4, k=1) * 0.1, code=1), "right angles"),
    ],
)
def test_a_header_that_says_two_things_is_odd(
    write_case: Write, edit: Callable[[nibabel.Nifti1Image], None], said: str
) -> None:
    folder = write_case()
    path = folder / "BraTS2021_00001_t1.nii.gz"
    change(path, edit)
    assert any(said in what for what in read_facts(path)[2])


def test_files_on_other_grids_are_a_problem(write_case: Write) -> None:
    folder = write_case()
    path = folder / "BraTS2021_00001_t2.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((20, 22, 17), np.int16), np.diag([-1.0, -1, 1, 1])), path)
    (problem,) = headers_of(folder).problems
    assert problem.file == path.name
    assert "is not that of BraTS2021_00001_t1.nii.gz" in problem.what


def test_what_is_cut_short_is_told_without_reading_voxels(write_case: Write) -> None:
    packed = write_case("BraTS2021_00002") / "BraTS2021_00002_t1.nii.gz"
    packed.write_bytes(packed.read_bytes()[:-40])
    assert "cut short" in read_facts(packed)[2][0]
    plain = packed.with_name("plain.nii")
    plain.write_bytes(gzip.decompress((packed.parent / "BraTS2021_00002_t2.nii.gz").read_bytes())[:-1])
    with pytest.raises(UnreadableVolumeError, match="the file has"):
        read_facts(plain)


@pytest.mark.parametrize("content", [b"", b"no image", bytes(400), gzip.compress(b"x" * 400)])
def test_what_is_no_header_is_a_problem(write_case: Write, content: bytes) -> None:
    folder = write_case()
    (folder / "BraTS2021_00001_t1ce.nii.gz").write_bytes(content)
    checked = headers_of(folder)
    assert [problem.file for problem in checked.problems] == ["BraTS2021_00001_t1ce.nii.gz"]
    assert "t1c" not in checked.numbers.headers


def test_a_file_with_four_dimensions_needs_its_channel(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), np.int16), np.eye(4)), path)
    assert read_facts(path, channel=1)[0].shape == (4, 4, 4, 2)
    for channel in (None, 2):
        with pytest.raises(UnreadableVolumeError, match="expected"):
            read_facts(path, channel=channel)
