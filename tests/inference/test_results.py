import errno
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from brats_lightning.data.case import Case
from brats_lightning.errors import BratsError, ConfigError, DatasetError, Problem
from brats_lightning.inference import results as results_module
from brats_lightning.inference.restore import Placement
from brats_lightning.inference.results import ResultFolder, Wanted, require_other_folder
from brats_lightning.inference.segmenter import Segmentation
from brats_lightning.labels import MASK, WHOLE, region_labels
from brats_lightning.nifti import Grid

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
REGIONS = region_labels(["ET", "WT"])
SHAPE = (6, 7, 8)


@pytest.fixture
def like(tmp_path: Path) -> Path:
    path = tmp_path / "image.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.int16), LPS), path)
    return path


def case(name: str = "BraTS2021_00001", edition: str = "2021") -> Case:
    return Case(name, name, edition, {})


def segmentation(label: int = 3, channels: int = 4) -> Segmentation:
    """One voxel in the first corner of a box that begins one voxel from the edge, in RAS order."""
    native = Grid(SHAPE, LPS)
    probabilities = torch.zeros(channels, 5, 6, 7)
    probabilities[0] = 1
    probabilities[:, 0, 0, 0] = 1 / channels
    labels = np.zeros((5, 6, 7), np.uint8)
    labels[0, 0, 0] = label
    return Segmentation(labels, probabilities, Placement((1, 1, 1), SHAPE, native), {"network": 1.0})


def folder(path: Path, *, key: str = "a", overwrite: bool = False) -> ResultFolder:
    return ResultFolder(path / "predictions", key=key, overwrite=overwrite)


def write(results: ResultFolder, like: Path, *, of: Case | None = None, label: int = 3, **wanted: Any) -> None:
    results.write(
        of or case(),
        segmentation(label),
        Wanted(**wanted),
        like=like,
        regions=REGIONS,
        seconds={"network": 1.0},
        notes=(),
    )


def write_picture(results: ResultFolder, inside: Any, *, of: Case, **more: Any) -> None:
    """Labels (columns, rows, 1) in RAS order of a picture."""
    native = Grid(inside.shape, LPS)
    probabilities = torch.nn.functional.one_hot(torch.tensor(inside > 0).long(), 2).movedim(-1, 0).float()
    found = Segmentation(inside, probabilities, Placement((0, 0, 0), inside.shape, native))
    wanted = Wanted(**more)
    results.write(of, found, wanted, like=Path("slice.mat"), regions={"WT": (1, WHOLE)}, seconds={}, notes=())


def read(path: Path) -> Any:
    return np.asanyarray(nibabel.load(path).dataobj)


def test_labels_lie_in_the_files_own_axis_order_with_the_editions_values(tmp_path: Path, like: Path) -> None:
    results = folder(tmp_path)
    write(results, like)
    stored = read(results.folder / "BraTS2021_00001.nii.gz")
    expected = np.zeros(SHAPE, np.uint8)
    expected[4, 5, 1] = 4  # of files that grow left and posterior, the second voxel from the other end
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, expected)


@pytest.mark.parametrize(("labels", "value"), [("2023", 3), ("internal", 3), ("2015", 4), (None, 4)])
def test_label_values_can_be_chosen(tmp_path: Path, like: Path, labels: str | None, value: int) -> None:
    results = folder(tmp_path)
    write(results, like, labels=labels)
    assert read(results.folder / "BraTS2021_00001.nii.gz").max() == value


def test_a_label_the_edition_does_not_have_is_named_with_the_cure(tmp_path: Path, like: Path) -> None:
    results = folder(tmp_path)
    with pytest.raises(DatasetError, match=r"BraTS 2021 has no label for RC; .*--labels"):
        write(results, like, label=4)
    assert not results.is_finished(case())
    write(results, like, label=4, labels="2024-GLI")
    assert results.is_finished(case())


def test_probabilities_and_entropy_are_maps_on_the_same_grid(tmp_path: Path, like: Path) -> None:
    results = folder(tmp_path)
    write(results, like, probabilities=True, uncertainty=True)
    whole = read(results.folder / "BraTS2021_00001_WT_probability.nii.gz")
    enhancing = read(results.folder / "BraTS2021_00001_ET_probability.nii.gz")
    entropy = read(results.folder / "BraTS2021_00001_entropy.nii.gz")
    assert whole[4, 5, 1] == pytest.approx(0.75, abs=1e-4)
    assert enhancing[4, 5, 1] == pytest.approx(0.25, abs=1e-4)
    assert entropy[4, 5, 1] == pytest.approx(1, abs=1e-4)  # all labels are as likely: as uncertain as can be
    for array in (whole, enhancing, entropy):
        assert np.count_nonzero(array) == 1


def test_the_record_has_volumes_and_times(tmp_path: Path, like: Path) -> None:
    results = folder(tmp_path)
    write(results, like)
    results.give_up([Problem("BraTS2021_00002", "", what, "download it again") for what in ("cut short", "empty")])
    summary = json.loads(results.summarise({"device": "cpu"}).read_text())
    record = summary["cases"]["BraTS2021_00001"]
    assert record["volumes_ml"] == {"ET": 0.001, "WT": 0.001}
    assert record["seconds"]["network"] == 1.0
    assert record["seconds"]["write"] > 0
    assert record["edition"] == "2021"
    assert list(summary["failed"]) == ["BraTS2021_00002"]
    assert "cut short" in summary["failed"]["BraTS2021_00002"]
    assert "empty" in summary["failed"]["BraTS2021_00002"]
    assert not results.is_finished(case("BraTS2021_00002"))
    assert summary["device"] == "cpu"


def test_a_finished_case_is_known_and_one_whose_file_is_gone_is_not(tmp_path: Path, like: Path) -> None:
    write(folder(tmp_path), like)
    again = folder(tmp_path)
    assert again.is_finished(case())
    assert not again.is_finished(case("BraTS2021_00002"))
    assert not folder(tmp_path, overwrite=True).is_finished(case())
    (again.folder / "BraTS2021_00001.nii.gz").unlink()
    assert not again.is_finished(case())


def test_other_files_of_the_same_name_are_not_taken_for_finished_ones(tmp_path: Path, like: Path) -> None:
    results, image = folder(tmp_path), tmp_path / "t1.nii.gz"
    image.write_bytes(b"one patient")
    anna = Case("case", "case", "2021", {"t1n": image})
    write(results, like, of=anna)
    assert results.is_finished(anna)
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "t1.nii.gz"
    other.write_bytes(b"another patient")
    with pytest.raises(DatasetError, match="holds the result of other files"):
        results.is_finished(Case("case", "case", "2021", {"t1n": other}))


def test_what_is_given_up_leaves_no_earlier_result_under_its_name(tmp_path: Path, like: Path) -> None:
    write(folder(tmp_path, key="a"), like, probabilities=True)
    again = folder(tmp_path, key="b", overwrite=True)
    again.give_up([Problem("BraTS2021_00001", "", "cut short", "download it again")])
    assert not list(again.folder.glob("*.nii.gz"))
    assert list(json.loads(again.summarise({}).read_text())["failed"]) == ["BraTS2021_00001"]


def test_a_new_result_leaves_no_maps_of_the_old_one(tmp_path: Path, like: Path) -> None:
    write(folder(tmp_path, key="a"), like, probabilities=True)
    again = folder(tmp_path, key="b", overwrite=True)
    write(again, like)
    assert [path.name for path in again.folder.glob("*.nii.gz")] == ["BraTS2021_00001.nii.gz"]


def test_a_cut_record_is_no_record(tmp_path: Path, like: Path) -> None:
    results = folder(tmp_path)
    write(results, like)
    record = results.folder / ".predictions" / "BraTS2021_00001.json"
    record.write_text(record.read_text()[:20])
    assert not folder(tmp_path).is_finished(case())


def test_results_of_another_checkpoint_are_neither_kept_nor_overwritten_unasked(tmp_path: Path, like: Path) -> None:
    write(folder(tmp_path, key="a"), like)
    with pytest.raises(ConfigError, match="BraTS2021_00001 as another checkpoint or other options predicted it"):
        folder(tmp_path, key="b")
    results = folder(tmp_path, key="b", overwrite=True)
    assert json.loads(results.summarise({}).read_text())["cases"] == {}
    write(results, like)
    assert set(json.loads(results.summarise({}).read_text())["cases"]) == {"BraTS2021_00001"}


def test_several_processes_share_a_folder(tmp_path: Path, like: Path) -> None:
    first, second = folder(tmp_path), folder(tmp_path)
    write(first, like)
    write(second, like, of=case("BraTS2021_00002"))
    assert set(json.loads(first.summarise({}).read_text())["cases"]) == {"BraTS2021_00001", "BraTS2021_00002"}


def test_a_full_disk_ends_in_words_and_leaves_nothing_half_written(
    tmp_path: Path, like: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = folder(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results_module, "write_volume", full)
    with pytest.raises(BratsError, match=r"No space left on device.*what is finished stays"):
        write(results, like)
    assert not results.is_finished(case())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"):
        folder(tmp_path)


def test_unknown_label_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="labels '2050': expected internal or one of"):
        Wanted(labels="2050")


def test_a_picture_gets_a_mask_of_its_own_pixels_too(tmp_path: Path) -> None:
    results, slice_ = folder(tmp_path), case("17", MASK)
    labels = np.zeros((5, 4, 1), np.uint8)
    labels[0, 1] = WHOLE  # in RAS order, which turns the columns and rows of a picture around
    write_picture(results, labels, of=slice_, probabilities=True)
    pixels = np.asarray(Image.open(results.folder / "17.png"))
    assert pixels.shape == (4, 5)
    assert pixels.dtype == np.uint8
    assert pixels[2, 4] == 255
    assert np.count_nonzero(pixels) == 1
    written = nibabel.load(results.folder / "17.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj)[..., 0].T * 255, pixels)
    np.testing.assert_array_equal(written.affine, LPS)
    np.testing.assert_array_equal(read(results.folder / "17_WT_probability.nii.gz")[..., 0].T * 255, pixels)
    record = results.records()["17"]
    assert record["files"] == ["17.nii.gz", "17_WT_probability.nii.gz", "17.png"]
    assert record["labels"] == MASK
    assert record["volumes_ml"] == {"WT": 0.001}
    assert results.is_finished(slice_)
    (results.folder / "17.png").unlink()
    assert not results.is_finished(slice_)


def test_tissues_in_a_picture_have_the_values_of_2023_and_others_if_asked(tmp_path: Path) -> None:
    results, slice_ = folder(tmp_path), case("17", MASK)
    labels = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    for wanted, values in ((None, {0, 1, 2, 3}), ("2021", {0, 1, 2, 4}), ("internal", {0, 1, 2, 3})):
        write_picture(results, labels, of=slice_, labels=wanted)
        assert set(read(results.folder / "17.nii.gz").ravel().tolist()) == values
        assert set(np.asarray(Image.open(results.folder / "17.png")).ravel().tolist()) == values
        assert results.records()["17"]["labels"] == (wanted or "2023")
    with pytest.raises(DatasetError, match=r"a mask has no label for .*--labels"):
        write_picture(results, labels, of=slice_, labels=MASK)


def test_tumour_of_no_tissue_is_written_as_a_mask_whatever_the_case(tmp_path: Path, like: Path) -> None:
    results = folder(tmp_path)
    write(results, like, label=WHOLE)
    assert read(results.folder / "BraTS2021_00001.nii.gz").max() == 1
    assert results.records()["BraTS2021_00001"]["labels"] == MASK
    assert not list(results.folder.glob("*.png"))


def test_what_is_given_up_leaves_no_mask_of_a_picture(tmp_path: Path) -> None:
    results, slice_ = folder(tmp_path), case("17", MASK)
    write_picture(results, np.ones((2, 2, 1), np.uint8), of=slice_)
    results.give_up([Problem("17", "", "cut short", "download it again")])
    assert not list(results.folder.glob("17*"))


def test_a_full_disk_is_told_of_the_mask_of_a_picture_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, slice_ = folder(tmp_path), case("17", MASK)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results_module, "write_picture_mask", full)
    with pytest.raises(BratsError, match=r"17.png could not be written \(No space left on device\)"):
        write_picture(results, np.ones((2, 2, 1), np.uint8), of=slice_)
    assert not results.is_finished(slice_)


def test_no_result_is_written_over_the_file_it_was_made_from(tmp_path: Path) -> None:
    for name in ("a.png", "b.PNG", "c.nii.gz"):
        own = Case(name.partition(".")[0], "", MASK, {"t1c": tmp_path / name})
        with pytest.raises(ConfigError, match=f"{name} would be overwritten by its own result: give another --output"):
            require_other_folder([own], tmp_path / "." / "")
        require_other_folder([own], tmp_path / "out")
    for name in ("a.jpg", "1.mat", "other.png"):
        require_other_folder([Case("a", "", MASK, {"t1c": tmp_path / name})], tmp_path)
