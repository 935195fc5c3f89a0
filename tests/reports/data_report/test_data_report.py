import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from brats_lightning.cli import main
from brats_lightning.data.check import Checked
from brats_lightning.data.checking.findings import CaseNumbers, ImageNumbers, Remark
from brats_lightning.errors import Problem
from brats_lightning.reports.data_report.training import BATCH, CLASSES, STRIDES, UNITS, WIDTHS, training_bytes
from brats_lightning.reports.data_report.written import plain, size_of_run, write_report

Write = Callable[..., Path]


def test_a_page_and_json_tell_what_was_found(write_case: Write, tmp_path: Path) -> None:
    write_case("BraTS2021_00001")
    write_case("BraTS2021_00002", seed=1)
    write_case("BraTS20_Training_003", seed=1, ending=".nii")
    run = tmp_path / "run"
    run.mkdir()
    (run / "split.json").write_text(json.dumps({"train": ["BraTS2021_00001"], "validation": ["BraTS2021_00002"]}))
    (run / "config.yaml").write_text("data: {preprocessing: {size: [32, 32, 16]}}")
    page = tmp_path / "new" / "check.html"
    main(["check", str(tmp_path / "cases"), "--output", str(page), "--split", str(run), "--workers", "1"])
    text = page.read_text()
    assert "No problems in 3 cases" in text
    assert "The same image twice: 3" in text  # all have one segmentation, two of them also one set of images
    assert "the same voxels as BraTS2021_00002 in t1n, t1c, t2w, t2f (2021 and 2020)" in text
    assert "Preprocessed to 32×32×16" in text
    assert "http" not in text.replace("http-equiv", "")
    found = json.loads(page.with_suffix(".json").read_text())
    assert [case["part"] for case in found["cases"]] == ["train", "validation", None]
    assert found["needs"]["resampled_bytes"] == 3 * 32 * 32 * 16 * 9
    twins = [case["numbers"]["digests"] for case in found["cases"] if case["case"] != "BraTS2021_00001"]
    assert twins[0] == twins[1]
    assert [remark["about"] for remark in found["cases"][2]["remarks"]].count("duplicate") == 2


def test_headers_alone_make_a_report_that_says_so(write_case: Write, tmp_path: Path) -> None:
    write_case("BraTS2021_00001")
    page = tmp_path / "check.html"
    main(["check", str(tmp_path / "cases"), "--output", str(page), "--headers", "--workers", "1"])
    assert "Only headers were read" in page.read_text()
    (case,) = json.loads(page.with_suffix(".json").read_text())["cases"]
    assert (len(case["numbers"]["headers"]), case["numbers"]["images"]) == (5, {})


def test_headers_alone_read_no_voxels(
    write_case: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_case("BraTS2021_00001")

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a case was read")

    monkeypatch.setattr("brats_lightning.data.check.check_case", refused)
    main(["check", str(tmp_path / "cases"), "--headers", "--workers", "1"])
    assert "No problems in 1 cases." in capsys.readouterr().out


def test_a_patient_in_two_parts_of_a_split_ends_with_code_1(
    write_case: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("-t1n", "-t1c", "-t2w", "-t2f")
    for number in range(2):
        write_case(f"BraTS-GLI-00007-10{number}", names=names, label="-seg", values=(2, 3, 1), seed=number)
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["BraTS-GLI-00007-100"], "validation": ["BraTS-GLI-00007-101"]}))
    with pytest.raises(SystemExit) as stopped:
        main(["check", str(tmp_path / "cases"), "--split", str(split), "--headers", "--workers", "1"])
    assert stopped.value.code == 1
    printed = capsys.readouterr()
    assert "1 problems in 1 cases" in printed.err
    assert "BraTS-GLI-00007" in printed.out


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--output", "check.txt", "is no name of an HTML file"), ("--split", "absent.json", "is no list of cases")],
)
def test_options_that_name_no_such_file_are_refused(
    *, write_case: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, said: str
) -> None:
    write_case()
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / "cases"), option, str(tmp_path / value), "--workers", "1"])
    assert said in capsys.readouterr().err


def test_names_are_text_and_numbers_that_are_none_are_null(tmp_path: Path) -> None:
    image = ImageNumbers("x", 0, float("inf"), float("nan"), 1, 0, 1, 2)
    checked = Checked(
        (),
        (Problem("<b>A", "<i>.nii", "bad", "mend"),),
        {"B": ()},
        (Remark("B", "header", "<script>odd", "b.nii"),),
        {"B": CaseNumbers(images={"t1n": image}, shape=(4, 4, 4))},
        ("t1n",),
    )
    page, beside = write_report(checked, tmp_path / "a.html", root=tmp_path, headers=False)
    text = page.read_text()
    assert "&lt;b&gt;A" in text
    assert "<script>odd" not in text
    assert "NaN" not in beside.read_text()
    assert plain(image) == {
        "digest": "x", "smallest": 0, "largest": None, "median": None, "high": 1, "at_largest": 0, "covered": 1,
        "values": 2,
    }  # fmt: skip


def test_the_network_is_that_of_the_configuration() -> None:
    config = yaml.safe_load((Path(__file__).parents[3] / "configs" / "unet3d.yaml").read_text())
    network = config["model"]["network"]["init_args"]
    assert tuple(network["channels"]) == WIDTHS
    assert tuple(network["strides"]) == STRIDES
    assert (network["num_res_units"], network["out_channels"]) == (UNITS, CLASSES)
    assert config["data"]["batch_size"] == BATCH
    small, large = (training_bytes((edge, edge, edge), channels=4) for edge in (32, 64))
    assert small is not None
    assert large is not None
    weights = 4.8e6 * 16
    assert (large - weights) / (small - weights) == pytest.approx(8, rel=0.1)
    assert training_bytes((33, 32, 32), channels=4) is None


@pytest.mark.parametrize("size", ["null", "[64, null, 64]", "64", "[1, 2]"])
def test_a_run_without_one_size_takes_the_default(tmp_path: Path, size: str) -> None:
    (tmp_path / "config.yaml").write_text(f"data: {{preprocessing: {{size: {size}}}}}")
    assert size_of_run(tmp_path) == size_of_run(None) == (128, 128, 128)
    assert np.prod(size_of_run(tmp_path / "absent")) == 128**3
