"""One case from its files: what is measured does not depend on how it is stored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from brats_lightning.data.reading import read_case
from brats_lightning.errors import Problem
from brats_lightning.labels import MODALITIES
from brats_lightning.labels import REGIONS as KNOWN
from brats_lightning.radiomics.columns import columns
from brats_lightning.radiomics.measuring import Row, Settings, measure_case
from brats_lightning.radiomics.sources import find_sources

Write = Callable[..., Path]
REGIONS = {name: KNOWN[name] for name in ("ET", "ED", "NCR", "WT", "TC")}


def settings(*, bin_width: float = 25, normalise: bool = False) -> Settings:
    return Settings(MODALITIES, REGIONS, bin_width, normalise)


def measure(root: Path, options: Settings | None = None, **folders: object) -> list[Row | Problem]:
    (source,) = find_sources(root, modalities=MODALITIES, **folders).found  # type: ignore[arg-type]
    return list(measure_case((source, options or settings())))


def rows(root: Path, options: Settings | None = None, **folders: object) -> dict[str, Row]:
    found = {}
    for row in measure(root, options, **folders):
        assert not isinstance(row, Problem)
        found[str(row["region"])] = row
    return found


def number(row: Row, name: str) -> float:
    value = row[name]
    assert isinstance(value, int | float)
    return value


def test_the_cells_are_the_columns(write_case: Write, tmp_path: Path) -> None:
    write_case()
    names = [column.name for column in columns(MODALITIES)]
    assert len(names) == len(set(names))
    for row in rows(tmp_path / "cases").values():
        assert row.keys() == set(names)


def test_volumes_are_voxels_and_a_share_of_the_brain(write_case: Write, tmp_path: Path) -> None:
    affine = np.diag([-2.0, -1.0, 3.0, 1.0])
    folder = write_case(affine=affine)
    label = np.asarray(nibabel.load(folder / "BraTS2021_00001_seg.nii.gz").dataobj)
    found = rows(tmp_path / "cases")
    (source,) = find_sources(tmp_path / "cases", modalities=MODALITIES).found
    brain = np.count_nonzero(read_case(source.case).brain)
    for region, values in {"ET": [4], "WT": [1, 2, 4], "TC": [1, 4]}.items():
        voxels = np.count_nonzero(np.isin(label, values))
        assert found[region]["voxels"] == voxels
        assert found[region]["volume_ml"] == pytest.approx(voxels * 6 / 1000)
        assert found[region]["share_of_brain"] == pytest.approx(voxels / brain)


def test_intensities_are_those_of_the_file(write_case: Write, tmp_path: Path) -> None:
    folder = write_case()
    label = np.asarray(nibabel.load(folder / "BraTS2021_00001_seg.nii.gz").dataobj)
    image = np.asarray(nibabel.load(folder / "BraTS2021_00001_t1ce.nii.gz").dataobj)
    row = rows(tmp_path / "cases")["ET"]
    assert row["t1c_firstorder_Mean"] == pytest.approx(image[label == 4].mean())
    assert row["t1c_firstorder_Maximum"] == image[label == 4].max()
    assert row["intensities"] == "as read"


def test_normalised_intensities_are_hundredths_of_a_deviation_in_the_brain(write_case: Write, tmp_path: Path) -> None:
    write_case()
    (source,) = find_sources(tmp_path / "cases", modalities=MODALITIES).found
    volumes = read_case(source.case)
    assert volumes.label is not None
    brain = volumes.image[1][volumes.brain].astype(np.float64)
    expected = (volumes.image[1][volumes.label == 3] - brain.mean()) / brain.std() * 100
    row = rows(tmp_path / "cases", settings(normalise=True))["ET"]
    assert row["t1c_firstorder_Mean"] == pytest.approx(expected.mean(), rel=1e-5)
    assert row["t1c_firstorder_Variance"] == pytest.approx(expected.var(), rel=1e-5)
    assert row["intensities"] == "z-score in the brain times 100"


def test_axes_in_another_order_change_voxel_indices_alone(write_case: Write, tmp_path: Path) -> None:
    affine = np.array([[-1, 0, 0, 90], [0, -1.0, 0, 120], [0, 0, 1.5, -70], [0, 0, 0, 1]])
    folder = write_case(affine=affine)
    before = rows(tmp_path / "cases")
    for path in folder.iterdir():
        image = nibabel.load(path)
        turn = nibabel.orientations.ornt_transform(
            nibabel.orientations.io_orientation(image.affine), nibabel.orientations.axcodes2ornt("SAR")
        )
        nibabel.save(image.as_reoriented(turn), path)
    after = rows(tmp_path / "cases")
    for region in REGIONS:
        voxels = {
            f"{what}_{axis}{end}" for what in ("box", "centroid") for axis in "ijk" for end in ("", "_first", "_last")
        }
        for name, value in before[region].items():
            if name in voxels | {"axial_slice"}:
                continue
            expected = value if isinstance(value, str) else pytest.approx(value, rel=1e-9)
            assert after[region][name] == expected, name
        # The first axis is now the third as it was, the third the first turned round.
        assert after[region]["axial_slice"] == before[region]["axial_slice"]
        assert number(after[region], "box_i_first") == number(before[region], "box_k_first")
        assert number(after[region], "box_k_last") == 19 - number(before[region], "box_i_first")


def test_an_absent_region_has_no_features(write_case: Write, tmp_path: Path) -> None:
    write_case(values=(2, 1))
    row = rows(tmp_path / "cases")["ET"]
    given = {name for name, value in row.items() if value is not None}
    words = {"case", "region", "segmentation", "intensities", "bin_width"}
    assert given == words | {"voxels", "volume_ml", "share_of_brain"}
    assert row["voxels"] == row["volume_ml"] == 0


def test_a_segmentation_without_any_label_gives_rows(write_case: Write, tmp_path: Path) -> None:
    write_case(values=())
    assert [row["voxels"] for row in rows(tmp_path / "cases").values()] == [0] * 5


def test_a_single_voxel_has_a_place_and_a_size_but_no_texture(write_case: Write, tmp_path: Path) -> None:
    folder = write_case(label=None)
    label = np.zeros((20, 22, 18), np.uint8)
    label[10, 11, 9] = 4
    image = nibabel.load(folder / "BraTS2021_00001_t1.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, image.affine), folder / "BraTS2021_00001_seg.nii.gz")
    row = rows(tmp_path / "cases")["ET"]
    assert (row["voxels"], row["centroid_i"], row["centroid_x_mm"]) == (1, 10, -10)
    assert row["t1n_firstorder_Mean"] == image.dataobj[10, 11, 9]
    assert (row["shape_Maximum3DDiameter"], row["axial_diameter_mm"]) == (1, 1)
    empty = {name for name, value in row.items() if value is None}
    assert {name for name in row if "_gl" in name} <= empty
    assert {"shape_MajorAxisLength", "shape_Elongation", "t1n_firstorder_Skewness"} <= empty


def test_a_prediction_is_measured_like_the_reference_it_equals(write_case: Write, tmp_path: Path) -> None:
    folder = write_case()
    reference = rows(tmp_path / "cases")
    stored = nibabel.load(folder / "BraTS2021_00001_seg.nii.gz")
    turned = stored.as_reoriented(nibabel.orientations.axcodes2ornt("ARS"))
    (tmp_path / "p").mkdir()
    nibabel.save(turned, tmp_path / "p/BraTS2021_00001_pred.nii.gz")
    predicted = rows(tmp_path / "cases", predictions=tmp_path / "p")
    for region, row in predicted.items():
        assert row == {**reference[region], "segmentation": "prediction"}


def test_an_edition_may_be_told_for_predictions(write_case: Write, write_labels: Write, tmp_path: Path) -> None:
    write_case()
    boxes = {3: np.s_[8:11, 8:12, 8:10]}
    write_labels("p/BraTS2021_00001.nii.gz", boxes, shape=(20, 22, 18))
    (problem,) = measure(tmp_path / "cases", predictions=tmp_path / "p")
    assert isinstance(problem, Problem)
    assert "label 3 found, BraTS 2021 has 0 1 2 4" in problem.what
    assert "--prediction-edition" in problem.cure
    told = rows(tmp_path / "cases", predictions=tmp_path / "p", prediction_edition="2023")
    assert told["ET"]["voxels"] == 24


def test_what_cannot_be_measured_is_said(write_case: Write, write_labels: Write, tmp_path: Path) -> None:
    write_case()
    write_labels("small/BraTS2021_00001.nii.gz", {1: np.s_[1:3, 1:3, 1:3]})
    (problem,) = measure(tmp_path / "cases", predictions=tmp_path / "small")
    assert isinstance(problem, Problem)
    assert "is not that of the case" in problem.what
    broken = tmp_path / "broken/BraTS2021_00001.nii.gz"
    broken.parent.mkdir()
    broken.write_bytes(b"no image")
    (problem,) = measure(tmp_path / "cases", predictions=broken.parent)
    assert isinstance(problem, Problem)
    assert problem.file == broken.name
    (problem,) = measure(tmp_path / "cases", settings(bin_width=0.01))
    assert isinstance(problem, Problem)
    assert "t1n would have" in problem.what
    assert "grey levels of width 0.01" in problem.what
    assert "--bin-width" in problem.cure


def test_a_constant_modality_cannot_be_normalised(write_case: Write, tmp_path: Path) -> None:
    folder = write_case()
    path = folder / "BraTS2021_00001_t2.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image((np.asarray(image.dataobj) > 0).astype(np.int16) * 7, image.affine), path)
    (problem,) = measure(tmp_path / "cases", settings(normalise=True))
    assert isinstance(problem, Problem)
    assert "t2w is 7 in the whole brain" in problem.what


def test_a_mask_has_a_whole_tumour_and_no_other_row(write_case: Write, write_labels: Write, tmp_path: Path) -> None:
    folder = write_case()
    label = nibabel.load(folder / "BraTS2021_00001_seg.nii.gz")
    mask = (np.asarray(label.dataobj) > 0).astype(np.uint8)
    write_labels("p/BraTS2021_00001.nii.gz", mask, affine=label.affine)
    options: dict[str, Any] = {"predictions": tmp_path / "p", "prediction_edition": "mask"}
    (row,) = rows(tmp_path / "cases", **options).values()
    expected = rows(tmp_path / "cases")["WT"]
    assert {name: row[name] for name in row if name != "segmentation"} == {
        name: expected[name] for name in row if name != "segmentation"
    }
    parts = Settings(MODALITIES, {"ET": (3,), "TC": (1, 3, 5)}, 25, normalise=False)
    (problem,) = measure(tmp_path / "cases", parts, **options)
    assert isinstance(problem, Problem)
    assert (problem.file, problem.cure) == ("BraTS2021_00001.nii.gz", "ask for --regions WT")
    assert problem.what == "a mask of the whole tumour, which has no region ET, TC"
