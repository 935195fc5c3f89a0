"""The real command on label maps so small that pencil and paper give the answer."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from brats_lightning.cli import COMMANDS, Command, main
from brats_lightning.errors import SHOWN_PROBLEMS

Write = Callable[..., Path]
Rows = dict[tuple[str, str], dict[str, str]]
ROOT = Path(__file__).parents[2]
BOX = np.s_[2:4, 2:4, 2:4]
"""Eight voxels, all on the boundary."""
MOVED = np.s_[3:5, 2:4, 2:4]
"""The same box one voxel on: half of it is shared."""
FAR = np.s_[6:8, 6:8, 6:8]
CASE = "BraTS2021_00001"


@pytest.fixture(autouse=True)
def _command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(COMMANDS, "evaluate", Command("score predictions", "evaluation.evaluate:evaluate"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, standard output and standard error of the command on the folders `p` and `r`."""

    def run(*arguments: str, folders: bool = True) -> tuple[int, str, str]:
        code: object = 0
        given = ["--predictions", "p", "--references", "r"] if folders else []
        try:
            main(["evaluate", *given, "--output", "out", "--workers", "1", *arguments])
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return int(str(code or 0)), captured.out, captured.err

    return run


Call = Callable[..., tuple[int, str, str]]


def written() -> Rows:
    with Path("out/scores.csv").open(encoding="utf-8", newline="") as file:
        return {(row["case"], row["region"]): row for row in csv.DictReader(file)}


def values(row: dict[str, str], *names: str) -> list[float]:
    return [float(row[name]) for name in names]


def test_scores_of_two_boxes(write_labels: Write, call: Call) -> None:
    write_labels(f"r/{CASE}/{CASE}_seg.nii.gz", {2: np.s_[1:6, 1:6, 1:6], 4: BOX})
    write_labels(f"p/{CASE}.nii.gz", {2: np.s_[1:6, 1:6, 1:6], 4: MOVED})
    code, out, err = call()
    assert (code, err) == (0, "")
    rows = written()
    assert [region for _, region in rows] == ["ET", "ED", "NCR", "WT", "TC"]
    enhancing = rows[CASE, "ET"]
    # 8 voxels each, 4 shared, 12 together; every boundary voxel has one of the other's at 0 or 1 mm.
    names = ("dice", "iou", "sensitivity", "precision", "hd95_mm", "hd100_mm", "nsd_1mm", "relative_volume_difference")
    assert values(enhancing, *names) == pytest.approx([0.5, 1 / 3, 0.5, 0.5, 1, 1, 1, 0])
    assert float(enhancing["assd_mm"]) == pytest.approx(0.5)
    assert float(enhancing["specificity"]) == pytest.approx(1 - 4 / (720 - 8))
    assert values(enhancing, "predicted_volume_ml", "reference_volume_ml") == [0.008, 0.008]
    assert float(enhancing["accuracy"]) == pytest.approx(1 - 8 / 720)
    assert values(rows[CASE, "WT"], "dice", "hd95_mm") == [1, 0]
    assert values(rows[CASE, "NCR"], "dice", "hd95_mm") == [1, 0]  # neither has any
    assert {(row["empty_masks"], row["distances"], row["grid"], row["note"]) for row in rows.values()} == {
        ("brats", "directed", "native", "")
    }
    assert "Scores of 1 case" in out
    assert "out/scores.csv" in out


@pytest.mark.slow
def test_scores_do_not_depend_on_edition_axes_type_or_processes(write_labels: Write, call: Call) -> None:
    """The same two maps as 2021 and 2023, stored in other axes and types, in either direction of the world."""
    array = np.zeros((8, 9, 10), np.float32)
    array[BOX] = 3
    array[5:7, 2:4, 2:4] = 1
    flipped = np.diag([1.0, -1.0, 1.0, 1.0])
    flipped[0, 3] = -7
    turned = np.array([[0, -1.0, 0, 0], [0, 0, -1.0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    write_labels("r/BraTS2021_00001_seg.nii.gz", {4: BOX, 1: np.s_[5:7, 2:4, 2:4]}, dtype=np.int16)
    write_labels("r/BraTS-GLI-00001-000-seg.nii", array)
    write_labels("p/BraTS2021_00001.nii.gz", {4: MOVED, 1: np.s_[5:7, 2:4, 2:4]})
    moved = np.zeros((8, 9, 10), np.uint8)
    moved[5:7, 2:4, 2:4] = 1
    moved[MOVED] = 3
    write_labels("p/BraTS-GLI-00001-000-pred.nii.gz", moved.transpose(2, 0, 1), affine=turned)
    write_labels("r/BraTS-GLI-00002-000-seg.nii", array)
    write_labels("p/BraTS-GLI-00002-000.nii", moved[::-1].astype(np.float64), affine=flipped)
    assert call("--workers", "2", "--rules", "2024-GLI", "--empty", "nan")[0] == 0
    rows = written()
    assert len(rows) == 15
    for region in ("ET", "ED", "NCR", "WT", "TC"):
        cases = [rows[case, region] for case in ("BraTS2021_00001", "BraTS-GLI-00001-000", "BraTS-GLI-00002-000")]
        assert len({json.dumps({**row, "case": ""}) for row in cases}) == 1
    assert values(rows[CASE, "ET"], "dice", "lesionwise_dice") == [0.5, 1]  # 8 voxels are no lesion
    assert rows[CASE, "ED"]["dice"] == "nan"


def test_references_against_themselves_are_perfect(write_labels: Write, call: Call) -> None:
    for number, value in enumerate((4, 1, 2)):
        name = f"BraTS2021_{number:05}"
        write_labels(f"r/{name}/{name}_seg.nii.gz", {value: BOX})
    write_labels("r/BraTS2021_00009/BraTS2021_00009_seg.nii.gz", {})
    assert call("--predictions", "r")[0] == 0
    assert len(written()) == 20
    for row in written().values():
        found = values(row, "dice", "iou", "sensitivity", "precision", "nsd_1mm", "hd95_mm", "hd100_mm", "assd_mm")
        assert found == [1, 1, 1, 1, 1, 0, 0, 0]


def test_the_summary_tells_conventions_versions_and_over_how_many_cases(write_labels: Write, call: Call) -> None:
    for number, box in enumerate((BOX, MOVED, FAR)):
        write_labels(f"r/BraTS2021_{number:05}.nii", {4: BOX})
        write_labels(f"p/BraTS2021_{number:05}.nii", {4: box})
    code, out, _ = call("--empty", "nan", "--regions", '["ET","ED"]', "--scores", '["dice","hd95_mm"]')
    assert code == 0
    summary = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    dice = summary["summary"]["ET"]["dice"]
    assert (dice["count"], dice["mean"], dice["median"], dice["quartiles"]) == (3, 0.5, 0.5, [0.25, 0.75])
    assert dice["std"] == pytest.approx(0.5)
    assert 0 <= dice["interval_95"][0] < 0.5 < dice["interval_95"][1] <= 1
    assert summary["summary"]["ED"]["dice"] == {
        "count": 0, "mean": None, "std": None, "median": None, "quartiles": [None] * 2, "interval_95": [None] * 2,
    }  # fmt: skip
    assert summary["convention"]["empty_masks"]["name"] == "nan"
    assert summary["convention"]["distances"]["name"] == "directed"
    assert summary["convention"]["regions"] == {"ET": [3], "ED": [2]}
    assert {"python", "brats-lightning", "numpy", "scipy", "nibabel"} == summary["versions"].keys()
    assert (summary["cases"], summary["refused"], summary["missing"]["cases"]) == (3, [], [])
    assert [line.split()[1] for line in out.splitlines() if "BraTS2021_" in line] == [
        "BraTS2021_00002", "BraTS2021_00001", "BraTS2021_00000",
    ]  # fmt: skip


def test_only_the_five_worst_cases_are_printed(write_labels: Write, call: Call) -> None:
    for number in range(7):
        write_labels(f"r/BraTS2021_{number:05}.nii", {4: np.s_[0:7, 0:2, 0:2]})
        write_labels(f"p/BraTS2021_{number:05}.nii", {4: np.s_[0 : number + 1, 0:2, 0:2]})
    _, out, _ = call("--regions", '["ET"]')
    shown = [line.replace("│", " ").split()[:2] for line in out.splitlines() if "BraTS2021_" in line]
    assert shown == [[f"BraTS2021_{n:05}", f"{2 * (n + 1) / (n + 8):.3f}"] for n in range(5)]


@pytest.mark.parametrize("policy", ["empty", "skip"])
def test_a_missing_prediction_counts_by_policy(write_labels: Write, call: Call, policy: str) -> None:
    for number in (1, 2):
        write_labels(f"r/BraTS2021_{number:05}.nii.gz", {4: BOX})
    write_labels("p/BraTS2021_00001.nii.gz", {4: BOX})
    code, out, _ = call("--missing", policy)
    assert code == 0
    rows = written()
    counted = "counted as empty predictions" if policy == "empty" else "skipped"
    assert f"1 references without a prediction, {counted}: BraTS2021_00002" in out
    summary = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    assert summary["missing"] == {"counted": policy, "cases": ["BraTS2021_00002"]}
    assert summary["summary"]["ET"]["dice"]["mean"] == (0.5 if policy == "empty" else 1)
    if policy == "skip":
        assert {case for case, _ in rows} == {"BraTS2021_00001"}
        return
    row = rows["BraTS2021_00002", "ET"]
    assert values(row, "dice", "sensitivity", "hd95_mm") == pytest.approx([0, 0, math.hypot(240, 240, 155)])
    assert row["note"] == "no prediction: counted as empty"
    assert values(rows["BraTS2021_00002", "ED"], "dice") == [1]


def test_another_grid_is_refused_or_resampled(write_labels: Write, call: Call) -> None:
    """A prediction on voxels of half the size, the block of each reference voxel alike."""
    fine = np.zeros((16, 18, 20), np.uint8)
    fine[4:8, 4:8, 4:8] = 4
    half = np.diag([-0.5, -0.5, 0.5, 1])
    half[:3, 3] = (0.25, 0.25, -0.25)
    write_labels("r/BraTS2021_00001.nii.gz", {4: BOX})
    write_labels("p/BraTS2021_00001.nii.gz", fine, affine=half)
    code, _, err = call()
    assert code == 1
    assert "its grid (16×18×20 voxels of 0.5×0.5×0.5 mm, LPS) is not that of the reference (8×9×10 voxels of" in err
    assert "or have it brought there by --resample" in err
    assert not Path("out").exists()
    code, out, _ = call("--resample", "true")
    assert code == 0
    assert values(written()[CASE, "ET"], "dice", "hd95_mm") == [1, 0]
    assert written()[CASE, "ET"]["note"] == "prediction resampled"
    assert "1 predictions resampled to the grid of their reference: BraTS2021_00001" in out


def test_a_header_that_places_the_prediction_elsewhere_is_named(write_labels: Write, call: Call) -> None:
    away = np.diag([-1.0, -1.0, 1.0, 1.0])
    away[2, 3] = 40
    write_labels("r/BraTS2021_00001.nii.gz", {4: BOX})
    write_labels("p/BraTS2021_00001.nii.gz", {4: BOX}, affine=away)
    assert "the same voxels, but 40 mm apart by their headers" in call()[2]
    code, _, err = call("--resample", "true")
    assert code == 1
    assert "no labelled voxel lies on the reference's grid, its header places it elsewhere" in err


def test_regions_that_an_edition_does_not_draw_are_not_scored(write_labels: Write, call: Call) -> None:
    """A resection cavity in neither map would count as found."""
    write_labels("r/BraTS2021_00001.nii", {4: BOX})
    write_labels("p/BraTS2021_00001.nii", {4: BOX})
    big = {4: BOX, 3: FAR}
    for side in "rp":
        write_labels(f"{side}/BraTS-GLI-00001-100.nii", big, shape=(182, 218, 182))
    assert call("--scores", '["dice"]')[0] == 0
    assert [case for case, region in written() if region == "RC"] == ["BraTS-GLI-00001-100"]
    code, _, err = call("--regions", '["CC"]')
    assert code == 1
    assert "no region CC in references of BraTS 2021, 2024-GLI" in err


def test_own_regions_and_tolerances(write_labels: Write, call: Call) -> None:
    write_labels("r/BraTS2021_00001.nii", {4: BOX, 2: FAR})
    write_labels("p/BraTS2021_00001.nii", {4: MOVED, 2: FAR})
    assert call("--regions", '{"active": [2, 3]}', "--scores", '["dice","nsd_0.5mm"]')[0] == 0
    assert values(written()[CASE, "active"], "dice") == [2 * 12 / 32]
    assert values(written()[CASE, "active"], "nsd_0.5mm") == [24 / 32]


def test_lesion_wise_rules_add_their_columns(write_labels: Write, call: Call) -> None:
    write_labels("r/BraTS2021_00001.nii", {4: np.s_[0:4, 0:4, 0:4]}, shape=(30, 8, 8))
    two = {4: np.s_[0:4, 0:4, 0:4], 1: np.s_[20:24, 0:4, 0:4]}
    write_labels("p/BraTS2021_00001.nii", two, shape=(30, 8, 8))
    assert call("--rules", "2023-GLI")[0] == 0
    row = written()[CASE, "TC"]
    names = ("true_positives", "false_negatives", "false_positives", "dice", "hd95_mm")
    assert values(row, *(f"lesionwise_{name}" for name in names)) == [1, 0, 1, 0.5, 187]
    assert row["rules"] == "2023-GLI"
    assert written()[CASE, "ED"]["lesionwise_dice"] == "nan"  # 2023 does not score it


def test_every_convention_stands_beside_the_others(write_labels: Write, call: Call) -> None:
    write_labels("r/BraTS2021_00001.nii", {4: BOX})
    write_labels("p/BraTS2021_00001.nii", {4: MOVED, 2: FAR})
    code, out, _ = call("--conventions", "all", "--regions", '["ET","ED"]')
    assert code == 0
    with Path("out/conventions.csv").open(encoding="utf-8", newline="") as file:
        rows = {
            (row["distances"], row["empty_masks"], row["rules"], row["region"]): row for row in csv.DictReader(file)
        }
    for distances in ("directed", "pooled", "averaged", "surfel"):
        assert float(rows[distances, "brats", "", "ET"]["dice"]) == 0.5
        assert float(rows[distances, "brats", "", "ED"]["hd95_mm"]) == pytest.approx(373.128664)
        assert float(rows[distances, "brats-diagonal", "", "ED"]["hd95_mm"]) == pytest.approx(math.hypot(8, 9, 10))
        assert (rows[distances, "nan", "", "ED"]["dice"], rows[distances, "nan", "", "ED"]["hd95_cases"]) == (
            "0.0",
            "0",
        )
        assert rows[distances, "exclude", "", "ED"]["dice"] == "nan"
    assert rows["surfel", "", "2023-GLI", "ET"]["dice"] == "1.0"  # no lesion above 50 voxels
    assert ("surfel", "", "2024-GLI-corrected", "ED") in rows
    assert ("surfel", "", "2023-GLI", "ED") not in rows
    assert "The same prediction under every convention" in out


BAD = {
    "4-D": (np.zeros((8, 9, 10, 2), np.uint8), "expected three dimensions, found shape (8, 9, 10, 2)"),
    "probabilities": (np.linspace(0, 1, 720).reshape(8, 9, 10), "labels that are no whole numbers"),
    "NaN": (np.full((8, 9, 10), np.nan), "labels that are NaN or infinite"),
    "all labelled": (np.ones((8, 9, 10), np.uint8), "every voxel is labelled, there is no background"),
    "foreign label": (np.pad(np.full((1, 1, 1), 7, np.uint8), ((0, 7), (0, 8), (0, 9))), "label 7 found, BraTS 2021"),
    "unreadable": (None, "not a readable volume"),
    "duplicate": (None, "several label maps for one case"),
    "no reference": (None, "a prediction without a reference"),
}


@pytest.fixture
def with_bad(write_labels: Write, tmp_path: Path) -> Callable[[str], str]:
    """Two good cases, the second of which is spoilt in the way named; returns the case."""

    def write(kind: str) -> str:
        for case, value in (("BraTS2021_00001", 4), ("BraTS2021_00002", 1), ("BraTS2021_00003", 2)):
            for side in "rp":
                write_labels(f"{side}/{case}.nii.gz", {value: BOX})
        array, _ = BAD[kind]
        path = tmp_path / "p/BraTS2021_00002.nii.gz"
        if array is not None:
            write_labels("p/BraTS2021_00002.nii.gz", array)
        elif kind == "unreadable":
            path.write_bytes(b"no image")
        elif kind == "duplicate":
            write_labels("p/again/BraTS2021_00002_pred.nii", {4: BOX})
        else:
            (tmp_path / "r/BraTS2021_00002.nii.gz").unlink()
        return "BraTS2021_00002"

    return write


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_named_with_its_case_and_nothing_is_scored(
    with_bad: Callable[[str], str], call: Call, kind: str
) -> None:
    case = with_bad(kind)
    code, _, err = call()
    assert code == 1
    assert err.startswith(f"brats: {case}, ")
    assert BAD[kind][1] in err
    assert "; " in err  # the cure
    assert err.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize("kind", BAD)
def test_with_keep_going_the_rest_is_scored(with_bad: Callable[[str], str], call: Call, kind: str) -> None:
    case = with_bad(kind)
    code, out, err = call("--keep_going", "true")
    assert code == 1
    assert case in err
    assert {case for case, _ in written()} == {"BraTS2021_00001", "BraTS2021_00003"}
    assert "Scores of 2 cases" in out
    summary = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    (refused,) = summary["refused"]
    assert refused["case"] == case
    assert refused["cure"]
    assert summary["missing"]["cases"] == []


def test_a_bad_reference_is_named_once(write_labels: Write, call: Call) -> None:
    write_labels("r/BraTS2021_00001.nii.gz", np.full((8, 9, 10), np.nan))
    write_labels("p/BraTS2021_00001.nii.gz", {4: BOX})
    code, _, err = call("--keep_going", "true")
    assert code == 1
    assert err.startswith("brats: BraTS2021_00001, BraTS2021_00001.nii.gz: labels that are NaN or infinite; ")
    assert not Path("out").exists()


def test_all_problems_are_listed_at_once(write_labels: Write, call: Call) -> None:
    for number in range(SHOWN_PROBLEMS + 3):
        write_labels(f"r/BraTS2021_{number:05}.nii", {4: BOX})
        write_labels(f"p/BraTS2021_{number:05}.nii", {4: BOX}, shape=(7, 9, 10))
    code, out, err = call()
    assert code == 1
    assert f"{SHOWN_PROBLEMS + 3} problems in {SHOWN_PROBLEMS + 3} cases" in err
    assert all(f"BraTS2021_{number:05}.nii" in out for number in range(SHOWN_PROBLEMS + 3))


def test_own_names_need_an_edition(write_labels: Write, call: Call) -> None:
    write_labels("r/Müller [1]_seg.nii.gz", {3: BOX, 1: FAR})
    write_labels("p/Müller [1].nii.gz", {3: MOVED, 1: FAR})
    code, _, err = call()
    assert code == 1
    assert "have several meanings" in err
    assert "say which with --edition" in err
    assert call("--edition", "2023")[0] == 0
    assert values(written()["Müller [1]", "ET"], "dice") == [0.5]
    assert values(written()["Müller [1]", "NCR"], "dice") == [1]
    assert call("--edition", "2023", "--prediction_edition", "MSD")[0] == 0
    assert values(written()["Müller [1]", "NCR"], "dice") == [0]


def test_predictions_of_another_scheme_are_refused_until_it_is_told(write_labels: Write, call: Call) -> None:
    write_labels("r/BraTS2021_00001.nii.gz", {4: BOX, 2: FAR})
    write_labels("p/BraTS2021_00001.nii.gz", {3: BOX, 2: FAR})
    code, _, err = call("--keep_going", "true")
    assert code == 1
    assert "named as BraTS 2021, which has the labels 1 2 4, but hold 2 3" in err
    assert "say with --prediction-edition which labels they hold" in err
    assert call("--prediction_edition", "2023")[0] == 0
    assert {float(row["dice"]) for row in written().values()} == {1}


def test_names_that_do_not_meet_are_refused(write_labels: Write, call: Call) -> None:
    write_labels("r/BraTS2021_00001_seg.nii.gz", {4: BOX})
    write_labels("p/result_1.nii.gz", {4: BOX})
    code, _, err = call()
    assert code == 1
    assert "result_1.nii.gz is read as case result_1, BraTS2021_00001_seg.nii.gz as BraTS2021_00001" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "expected --predictions and --references"),
        (["--predictions", "p"], "scored against --references"),
        (["--predictions", "absent", "--references", "p"], "no folder absent"),
        (["--predictions", "p", "--references", "p", "--empty", "zero"], "unknown policy for empty masks 'zero'"),
        (["--predictions", "p", "--references", "p", "--rules", "2022"], "unknown lesion-wise rules '2022'"),
        (["--predictions", "p", "--references", "p", "--edition", "2022"], "edition '2022' is unknown"),
        (["--predictions", "p", "--references", "p", "--regions", '["XX"]'], "unknown region XX"),
        (["--predictions", "p", "--references", "p", "--regions", '{"a": [9]}'], "region a: expected label values"),
        (["--predictions", "p", "--references", "p", "--scores", '["f1"]'], "unknown score f1"),
        (["--predictions", "p", "--references", "p", "--output", "p/BraTS2021_00001.nii"], "cannot be written"),
        (["--predictions", "p", "--runs", '["a","b"]'], "--runs reads the scores of runs"),
        (["--predictions", "p", "--missing", "perhaps"], "missing"),
    ],
)
def test_a_wrong_call_ends_in_one_sentence(
    write_labels: Write, call: Call, arguments: list[str], sentence: str
) -> None:
    write_labels("p/BraTS2021_00001.nii", {4: BOX})
    code, _, err = call(*arguments, folders=False)
    assert code == 1
    assert sentence in err
    assert err.startswith("brats: ")
    assert err.count("\n") == 1


def test_a_decathlon_folder_is_a_folder_of_references(
    write_decathlon: Callable[[], Path], write_labels: Write, call: Call
) -> None:
    root = write_decathlon()
    labels = nibabel.load(root / "labelsTr/BRATS_001.nii.gz")
    write_labels("p/BRATS_001.nii.gz", np.asarray(labels.dataobj), affine=labels.affine)
    code, _, err = call("--references", str(root))
    assert (code, err) == (0, "")
    assert {float(row["dice"]) for row in written().values()} == {1}
    stored = np.asarray(labels.dataobj)
    assert float(written()["BRATS_001", "NCR"]["reference_volume_ml"]) == np.count_nonzero(stored == 2) / 1000


def test_it_starts_without_pytorch() -> None:
    code = (
        "import sys, brats_lightning.evaluation.evaluate\n"
        "heavy = {'torch', 'monai', 'matplotlib', 'itk', 'pandas'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
