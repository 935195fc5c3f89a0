"""The command, on small cases."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.cli import main
from brats_lightning.labels import REGIONS
from brats_lightning.radiomics import files, radiomics

Write = Callable[..., Path]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Exit code, standard output and standard error of the command on the folder `cases`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        code: object = 0
        try:
            main(["radiomics", "cases", "--output", "out", "--workers", "1", *arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return int(str(code or 0)), captured.out, captured.err

    return run


def written(path: str = "out/radiomics.csv") -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_a_case_and_region_in_order(write_case: Write, call: Call) -> None:
    for number in (3, 1, 2):
        write_case(f"BraTS2021_0000{number}", seed=number)
    write_case("BraTS2021_00004", label=None)
    code, out, err = call()
    assert (code, err) == (0, "")
    regions = ["ET", "ED", "NCR", "WT", "TC"]
    expected = [(f"BraTS2021_0000{number}", region) for number in (1, 2, 3) for region in regions]
    assert [(row["case"], row["region"]) for row in written()] == expected
    assert "Regions of 3 cases" in out
    assert "1 cases without a segmentation: BraTS2021_00004" in out
    about = json.loads(Path("out/radiomics.json").read_text(encoding="utf-8"))
    assert about["settings"] == {
        "modalities": ["t1n", "t1c", "t2w", "t2f"],
        "regions": {"ET": [3], "ED": [2], "NCR": [1], "WT": list(REGIONS["WT"]), "TC": [1, 3, 5]},
        "bin_width": 25,
        "normalise": False,
        "intensities": "as read",
    }
    assert about["without_segmentation"] == ["BraTS2021_00004"]


def test_options_choose_what_is_measured(write_case: Write, write_labels: Write, call: Call) -> None:
    write_case()
    write_labels("p/BraTS2021_00001.nii.gz", {4: np.s_[8:12, 8:12, 8:12]}, shape=(20, 22, 18))
    chosen = ["--regions", "ET", "WT", "--modalities", "t1c", "--bin-width", "20", "--normalise", "--formats", "csv"]
    code, out, _ = call("--predictions", "p", *chosen)
    assert code == 0
    assert "Parquet" not in out
    rows = written()
    assert [(row["region"], row["voxels"], row["segmentation"]) for row in rows] == [
        ("ET", "64", "prediction"),
        ("WT", "64", "prediction"),
    ]
    assert {name.split("_")[0] for name in rows[0] if "_glcm_" in name} == {"t1c"}
    assert (rows[0]["bin_width"], rows[0]["intensities"]) == ("20.0", "z-score in the brain times 100")


def test_two_processes_write_what_one_writes(write_case: Write, call: Call) -> None:
    for number in (1, 2, 3):
        write_case(f"BraTS2021_0000{number}", seed=number)
    call("--formats", "csv")
    one = Path("out/radiomics.csv").read_bytes()
    assert call("--formats", "csv", "--workers", "2")[0] == 0
    assert Path("out/radiomics.csv").read_bytes() == one


def test_a_bad_case_is_passed_over_and_named(write_case: Write, call: Call) -> None:
    write_case("BraTS2021_00001")
    (write_case("BraTS2021_00002") / "BraTS2021_00002_t1.nii.gz").write_bytes(b"cut short")
    (write_case("BraTS2021_00003") / "BraTS2021_00003_flair.nii.gz").unlink()
    code, _, err = call()
    assert code == 1
    assert {row["case"] for row in written()} == {"BraTS2021_00001"}
    assert "BraTS2021_00002, BraTS2021_00002_t1.nii.gz" in err
    assert "BraTS2021_00003: no t2f among its files" in err
    refused = json.loads(Path("out/radiomics.json").read_text(encoding="utf-8"))["refused"]
    assert [problem["case"] for problem in refused] == ["BraTS2021_00002", "BraTS2021_00003"]


def test_where_nothing_can_be_measured_nothing_is_written(write_case: Write, call: Call) -> None:
    write_case(label=None)
    code, _, err = call()
    assert code == 1
    assert err == "brats: no case of cases has a segmentation: give label maps with --predictions\n"
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bin-width", "0"], "bin_width is 0: give a width above 0"),
        (["--bin-width", "-25"], "bin_width is -25: give a width above 0"),
        (["--regions", "XX"], "unknown region XX: expected one of NCR, ED, ET, RC, CC, TC, WT"),
        (["--regions", "ET", "ET"], "regions has a name twice: ET, ET"),
        (["--regions", "[]"], "no regions: give some"),
        (["--modalities", "t1c", "t1c"], "modalities has a name twice"),
        (["--formats", "[]"], "no formats: give csv or parquet"),
        (["--workers", "0"], "workers is 0: give 1 or more"),
        (["--predictions", "nowhere"], "no folder nowhere"),
    ],
)
def test_options_without_sense_are_refused(arguments: list[str], sentence: str, write_case: Write, call: Call) -> None:
    write_case()
    code, out, err = call(*arguments)
    assert (code, out) == (1, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_without_its_library_there_is_a_sentence_instead_of_parquet(
    write_case: Write, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_case()
    monkeypatch.setattr(files, "find_spec", lambda _: None)
    code, out, _ = call()
    assert code == 0
    assert "No Parquet file: its library is not installed (pip install" in out
    assert sorted(path.name for path in Path("out").iterdir()) == ["radiomics.csv", "radiomics.json"]
    code, _, err = call("--formats", "parquet")
    assert code == 1
    assert "Parquet files need a library that is not installed: pip install" in err
    monkeypatch.setattr(radiomics, "has_parquet", lambda: True)
    assert radiomics._formats(None) == ("csv", "parquet")


@pytest.mark.slow
def test_nine_real_cases(shared: Path, tmp_path: Path) -> None:
    radiomics.radiomics(shared / "data/brats", output=tmp_path, formats=("csv",), workers=2)
    rows = written(str(tmp_path / "radiomics.csv"))
    assert len(rows) == 9 * 5
    for row in rows:
        if row["voxels"] == "0":
            assert row["shape_MeshVolume"] == row["t1c_glcm_Contrast"] == ""
            continue
        assert "" not in row.values()
        assert float(row["shape_MeshVolume"]) == pytest.approx(float(row["shape_VoxelVolume"]), rel=0.15)
        assert float(row["axial_diameter_mm"]) <= float(row["shape_Maximum2DDiameterSlice"]) + 1e-9
        assert float(row["axial_perpendicular_mm"]) <= float(row["axial_diameter_mm"]) + 1e-9
        assert 0 < float(row["shape_Sphericity"]) < 1
        assert -1 <= float(row["t2f_glcm_Correlation"]) <= 1
