"""A report of a case: what it takes, what it says of it, and that it is one file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from brats_lightning.errors import BratsError, ConfigError, DatasetError
from brats_lightning.metrics.overlap import joint_histogram
from brats_lightning.nifti import read_labels
from brats_lightning.reports.case.files import CaseFilesRead, find_case, read_case_files
from brats_lightning.reports.case.numbers import measure, sizes, told_by
from brats_lightning.reports.case.record import provenance
from brats_lightning.reports.case.report import case_report
from brats_lightning.reports.case.sections import glance, missing, score_section, size_section

WriteCase = Callable[..., Path]
WriteFigshare = Callable[..., Path]
NAMES = ("_t1", "_t1ce", "_t2", "_flair")


def predict(case: Path, *, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = np.copy, name: str = "") -> Path:
    """A label map beside a case: its segmentation, changed."""
    stored = nibabel.load(case / f"{case.name}_seg.nii.gz")
    path = case.parent.parent / (name or f"{case.name}.nii.gz")
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(change(np.asarray(stored.dataobj)), stored.affine), path)
    return path


def read(case: Path, prediction: Path, **given: Any) -> CaseFilesRead:
    usual = {"reference": None, "edition": None, "prediction_edition": None}
    return read_case_files(case, prediction=prediction, **(usual | given))


def shifted(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.roll(labels, 1, axis=0)


def test_a_report_is_one_file_with_its_pictures_beside_it(write_case: WriteCase, tmp_path: Path) -> None:
    case = write_case()
    prediction = predict(case, change=shifted)
    path = case_report(case, prediction=prediction, output=tmp_path / "out" / "a.html")
    text = path.read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert text.count("<section") == 7
    assert "BraTS2021_00001_t1ce.nii.gz" in text
    assert path.stat().st_size < 4e6
    assert sorted(each.name for each in path.parent.iterdir()) == ["a", "a.html"]
    pictures = sorted((path.parent / "a").iterdir())
    assert [each.stem for each in pictures] == ["difference", "montage", "planes", "surfaces"]
    for each in pictures:
        with Image.open(each) as picture:
            assert min(picture.size) > 100
    # Without the reference there is nothing to subtract, and no picture of it stays.
    (path.parent / "a" / "mine.png").write_text("somebody's own")
    (case / f"{case.name}_seg.nii.gz").unlink()
    case_report(case, prediction=prediction, output=path)
    assert sorted(each.stem for each in (path.parent / "a").iterdir()) == ["mine", "montage", "planes", "surfaces"]


def test_numbers_are_those_of_the_label_maps(write_case: WriteCase) -> None:
    case = write_case()
    found = read(case, predict(case, change=shifted))
    numbers = measure(found)
    reference = read_labels(case / f"{case.name}_seg.nii.gz").array
    overlap = joint_histogram(shifted(reference), reference).overlap((4,))
    assert numbers.scores["ET"]["dice"] == overlap.dice
    enhancing = numbers.sizes["reference"]["ET"]
    assert enhancing is not None
    assert enhancing.voxels == np.count_nonzero(reference == 4)
    assert enhancing.volume_ml == pytest.approx(enhancing.voxels / 1000)
    shown = score_section(found, numbers).body
    assert f"<td>{overlap.dice:.3f}</td>" in shown
    assert "convention “directed”" in shown
    assert "policy “brats”" in shown
    assert f"<td>{enhancing.volume_ml:.2f}</td>" in size_section(found, numbers).body


def test_sizes_of_a_box_are_those_of_pencil_and_paper() -> None:
    labels = np.zeros((20, 20, 12), np.uint8)
    labels[2:6, 3:6, 4:9] = 3
    found = sizes(labels, ["ET", "NCR"], spacing_mm=(1, 2, 3))
    assert found["NCR"] is None
    box = found["ET"]
    assert box is not None
    assert box.voxels == 60
    assert box.volume_ml == pytest.approx(60 * 6 / 1000)
    assert box.slice in range(4, 9)
    assert max(4, 6) <= box.axial <= np.hypot(4, 6)
    assert box.longest is not None
    assert max(4, 6, 15) <= box.longest <= np.sqrt(4**2 + 6**2 + 15**2)
    # In one slice across any axis, the same section has the same diameters.
    for axis in range(3):
        slab = np.expand_dims(labels[:, :, 5], axis)
        flat = sizes(slab, ["ET"], spacing_mm=np.insert((1.0, 2.0), axis, 7.0).tolist())["ET"]
        assert flat is not None
        assert (flat.axial, flat.across) == pytest.approx((box.axial, box.across))
        assert flat.longest is None


@pytest.mark.parametrize(
    ("edition", "values", "told"),
    [
        ("mask", [6], "WT"),
        ("2021", [1], "WT TC ET NCR ED"),
        ("2024-GLI", [1], "WT TC ET NCR ED RC"),
        ("2024-PED", [], "WT TC ET NCR ED CC"),
        ("internal", [6], "WT"),
        ("internal", [], "WT TC ET NCR ED"),
        ("internal", [4], "WT TC ET NCR ED RC"),
    ],
)
def test_a_label_map_tells_what_its_edition_can(edition: str, values: list[int], told: str) -> None:
    assert " ".join(told_by(edition, np.array(values, np.uint8))) == told


def test_a_mask_is_compared_by_the_whole_tumour_alone(write_case: WriteCase) -> None:
    case = write_case()
    mask = predict(case, change=lambda labels: (labels > 0).astype(np.uint8))
    found = read(case, mask, prediction_edition="mask")
    numbers = measure(found)
    assert {region: scores["dice"] for region, scores in numbers.scores.items()} == {"WT": 1}
    assert "not told" in size_section(found, numbers).body
    assert missing(found, numbers) == []


def test_what_is_missing_is_said(write_case: WriteCase) -> None:
    case = write_case()
    for name in ("_t1", "_t2", "_flair"):
        (case / f"{case.name}{name}.nii.gz").unlink()
    prediction = predict(case, change=np.zeros_like)
    found = read(case, prediction)
    numbers = measure(found)
    assert found.modalities == ("t1c",)
    assert missing(found, numbers) == [
        "No T1, T2, FLAIR in this case: shown is what there is.",
        "The prediction is empty: it has no tumour.",
    ]
    assert "missed" in score_section(found, numbers).body
    (case / f"{case.name}_seg.nii.gz").unlink()
    alone = read(case, prediction)
    assert "This case has no reference: there is nothing to score the prediction against." in missing(
        alone, measure(alone)
    )
    assert measure(alone).scores == {}
    assert "no tumour" in glance(alone, measure(alone)).body


def test_an_absent_tissue_is_named_and_scored_by_the_policy(write_case: WriteCase) -> None:
    case = write_case(values=(2, 1))
    found = read(case, predict(case))
    numbers = measure(found)
    assert missing(found, numbers) == ["The prediction has no ET.", "The reference has no ET."]
    assert numbers.scores["ET"]["dice"] == 1
    assert "in neither" in score_section(found, numbers).body


def test_it_is_said_where_voxels_are_numbered_in_another_direction_than_in_the_files(write_case: WriteCase) -> None:
    numbered = "numbered here from 0 to the right, front and top"
    case = write_case("BraTS2021_00001", affine=np.diag([-1.0, -1.0, 1.0, 1.0]))
    said = provenance(read(case, predict(case))).body
    assert "LPS" in said
    assert numbered in said
    straight = write_case("BraTS2021_00002", affine=np.eye(4))
    assert numbered not in provenance(read(straight, predict(straight))).body


def test_a_tilted_grid_is_said_to_be_one(write_case: WriteCase) -> None:
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])
    turned[:2, :2] = [[-0.9, 0.436], [-0.436, -0.9]]
    case = write_case(affine=turned)
    found = read(case, predict(case))
    assert "tilted by 26°" in " ".join(missing(found, measure(found)))


def test_a_slice_of_figshare_is_a_case_in_pixels(write_figshare: WriteFigshare, tmp_path: Path) -> None:
    slices = [write_figshare("1.mat"), write_figshare("2.mat", seed=2)]
    mask = np.zeros((24, 20), np.uint8)
    mask[12:17, 3:7] = 255
    Image.fromarray(mask).save(tmp_path / "1.png")
    found = read(slices[0], tmp_path / "1.png")
    numbers = measure(found)
    assert found.case.id == "1"
    assert numbers.scores["WT"]["dice"] == 1
    assert not found.missing
    assert "lengths are in pixels" in missing(found, numbers)[0]
    assert "WT 20 pixels" in glance(found, numbers).body
    assert "mm" not in size_section(found, numbers).body
    with pytest.raises(ConfigError, match=r"has 2 cases, such as 1, 2: give the folder of one, or one of its files"):
        read(slices[0].parent, tmp_path / "1.png")


def test_a_file_leads_to_its_case(write_case: WriteCase, write_decathlon: Callable[[], Path]) -> None:
    first, second = write_case("BraTS2021_00001"), write_case("BraTS2021_00002", seed=2)
    flat = first.parent / "flat"
    flat.mkdir()
    for path in [*first.iterdir(), *second.iterdir()]:
        path.rename(flat / path.name)
    case, modalities = find_case(flat / "BraTS2021_00002_t2.nii.gz")
    assert (case.id, len(modalities)) == ("BraTS2021_00002", 4)
    root = write_decathlon()
    assert find_case(root / "imagesTr" / "BRATS_001.nii.gz")[0].id == "BRATS_001"
    with pytest.raises(ConfigError, match="has 2 cases"):
        find_case(root)


def test_a_reference_that_is_given_counts_instead_of_the_own_one(write_case: WriteCase) -> None:
    case = write_case()
    prediction, other = predict(case, change=shifted), predict(case, change=shifted, name="other.nii.gz")
    assert measure(read(case, prediction)).scores["WT"]["dice"] < 1
    (case / f"{case.name}_seg.nii.gz").write_bytes(b"broken")
    found = read(case, prediction, reference=other)
    assert measure(found).scores["WT"]["dice"] == 1
    assert "other.nii.gz" in provenance(found).body


def test_a_folder_of_predictions_says_whose_labels_they_are(write_case: WriteCase) -> None:
    case = write_case()
    inside = {1: 1, 2: 2, 4: 3}

    def internal(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        translated: npt.NDArray[Any] = np.array([inside.get(value, 0) for value in range(5)], np.uint8)[labels]
        return translated

    path = predict(case, change=internal, name=f"predictions/{case.name}.nii.gz")
    record = f'{{"cases": {{"{case.name}": {{"files": ["{path.name}"], "labels": "internal"}}}}}}'
    (path.parent / "predictions.json").write_text(record)
    for given in (path, path.parent):
        found = read(case, given)
        assert found.editions["prediction"] == "internal"
        assert measure(found).scores["ET"]["dice"] == 1


def test_what_cannot_be_used_is_refused_in_a_sentence(write_case: WriteCase, tmp_path: Path) -> None:
    case = write_case()
    prediction = predict(case)
    elsewhere = tmp_path / "elsewhere.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4)), elsewhere)
    foreign = predict(case, change=lambda labels: np.where(labels == 4, 3, labels), name="foreign.nii.gz")
    (tmp_path / "nothing").mkdir()
    wrong: list[tuple[type[BratsError], dict[str, Any], str]] = [
        (ConfigError, {"case": tmp_path / "absent"}, "no .*absent: expected the folder of a case"),
        (DatasetError, {"case": tmp_path / "nothing"}, "no case of a known edition"),
        (ConfigError, {"prediction": tmp_path / "absent.nii.gz"}, r"no file .*absent\.nii\.gz"),
        (ConfigError, {"prediction": tmp_path / "nothing"}, "has no label map of BraTS2021_00001"),
        (DatasetError, {"prediction": elsewhere}, r"its grid \(5×5×5 .*\) is not that of the case"),
        (DatasetError, {"prediction": foreign}, "label 3 found, .*--prediction-edition"),
        (DatasetError, {"reference": elsewhere}, "is not that of the case"),
        (ConfigError, {"reference": tmp_path / "absent.nii.gz"}, "no file"),
        (ConfigError, {"edition": "1999"}, "edition '1999' is unknown"),
        (ConfigError, {"output": tmp_path}, "is no name of an HTML file"),
        (ConfigError, {"output": elsewhere / "a.html"}, "cannot be written"),
    ]
    usual: dict[str, Any] = {"case": case, "prediction": prediction, "output": tmp_path / "out.html"}
    for kind, changed, sentence in wrong:
        arguments = usual | changed
        with pytest.raises(kind, match=sentence):
            case_report(arguments.pop("case"), **arguments)
    assert not (tmp_path / "out.html").exists()


def test_a_page_beside_a_case_puts_nothing_into_its_folder(write_case: WriteCase) -> None:
    case = write_case()
    before = sorted(case.iterdir())
    path = case_report(case, prediction=predict(case), output=case.with_suffix(".html"))
    assert sorted(case.iterdir()) == before
    assert (path.parent / f"{case.name}-report" / "planes.png").is_file()
