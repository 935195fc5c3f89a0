import csv
import json
from pathlib import Path

import pytest

from brats_lightning.errors import ConfigError, Problem
from brats_lightning.radiomics.columns import Column, columns
from brats_lightning.radiomics.files import write_results
from brats_lightning.radiomics.measuring import Row

TABLE = [
    Column("case", kind="text"),
    Column("voxels", kind="whole"),
    Column("volume_ml", "ml"),
    Column("shape_Flatness"),
]
ROWS: list[Row] = [
    {"case": "a", "voxels": 3.0, "volume_ml": 0.1 + 0.2, "shape_Flatness": None},
    {"case": "b", "voxels": 0},
]


def test_csv_keeps_every_digit_and_leaves_empty_what_is_not_defined(tmp_path: Path) -> None:
    (path, _) = write_results(tmp_path / "new/out", ROWS, TABLE, formats=["csv"], about={}, problems=[])
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines == [
        ["case", "voxels", "volume_ml", "shape_Flatness"],
        ["a", "3", "0.30000000000000004", ""],
        ["b", "0", "", ""],
    ]


def test_json_says_what_the_table_is(tmp_path: Path) -> None:
    problem = Problem("c", "c.nii", "what", "cure")
    (_, path) = write_results(tmp_path, ROWS, TABLE, formats=["csv"], about={"root": "x"}, problems=[problem])
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["root"] == "x"
    assert content["units"] == {"volume_ml": "ml"}
    assert content["cases"] == 2
    assert content["refused"] == [{"case": "c", "file": "c.nii", "what": "what", "cure": "cure"}]
    assert {"python", "brats-lightning", "numpy", "scipy", "nibabel"} <= content["versions"].keys()
    assert "RANO" in content["definitions"].pop("axial")
    for family, text in content["definitions"].items():
        assert "Image Biomarker Standardization Initiative" in text, family
    families = {column.name.split("_")[1] for column in columns(["t1c"]) if column.name.startswith("t1c_")}
    assert families - {"grey"} | {"shape"} == content["definitions"].keys()


def test_parquet_holds_the_same_with_its_types(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`, which is not installed")
    (path, _) = write_results(tmp_path, ROWS, TABLE, formats=["parquet"], about={}, problems=[])
    table = parquet.read_table(path)
    assert table.to_pylist() == [
        {"case": "a", "voxels": 3, "volume_ml": 0.1 + 0.2, "shape_Flatness": None},
        {"case": "b", "voxels": 0, "volume_ml": None, "shape_Flatness": None},
    ]
    assert [str(field.type) for field in table.schema] == ["string", "int64", "double", "double"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file cannot be written"):
        write_results(tmp_path / "file", ROWS, TABLE, formats=["csv"], about={}, problems=[])
