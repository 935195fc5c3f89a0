import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.comparison.compare import compare, main
from brats_lightning.comparison.comparison_page import CURVES, PICTURE, SPEED
from brats_lightning.comparison.written import PAGE, RESULTS, TABLE
from brats_lightning.errors import BratsError
from brats_lightning.loggers.metrics_csv import MetricsCsv

WriteScores = Callable[..., Path]


@pytest.fixture
def runs(tmp_path: Path, write_score_file: WriteScores) -> list[Path]:
    """Folders of three runs, each a little better than the one before."""
    generator = np.random.default_rng(0)
    for index, name in enumerate("abc"):
        numbers = (generator.uniform(0.4, 0.5, (8, 2)) + 0.2 * index).tolist()
        rows = {f"case-{place}": row for place, row in enumerate(numbers)}
        write_score_file(f"{name}/scores_test.csv", rows, columns=["dice", "hd95_mm"], regions=["ET", "WT"])
    return [tmp_path / name for name in "abc"]


def test_paths_stand_one_after_the_other(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "new" / "folder"
    main([*map(str, runs), "--output", str(output), "--scores", "[dice]", "--regions+", "WT"])
    printed = capsys.readouterr().out
    assert "A  a  (" in printed
    assert "C  c  (" in printed
    assert "A − B" in printed
    assert "B − C" in printed
    assert sorted(path.name for path in output.iterdir()) == sorted([TABLE, RESULTS, PICTURE, PAGE])
    with (output / TABLE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["first"], row["second"], row["region"], row["score"]) for row in rows] == [
        ("a", "b", "WT", "dice"),
        ("a", "c", "WT", "dice"),
        ("b", "c", "WT", "dice"),
    ]
    assert all((row["won"], row["lost"], row["shown_better"]) == ("0", "8", "second") for row in rows)
    assert [float(row["p_holm"]) for row in rows] == [3 * 2 / 2**8] * 3


def test_the_name_of_a_page_is_no_folder_to_write_into(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(BratsError, match=r"page\.html is no name of a folder, .*: give .*page$"):
        compare(runs, output=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_results_hold_everything(runs: list[Path], tmp_path: Path) -> None:
    compare(runs, output=tmp_path / "out", seed=3)
    results = json.loads((tmp_path / "out" / RESULTS).read_text(encoding="utf-8"))
    assert results["methods"] == {run.name: str(run / "scores_test.csv") for run in runs}
    assert results["cases"] == [f"case-{place}" for place in range(8)]
    assert (results["seed"], results["alpha"], results["mixed_conventions"]) == (3, 0.05, False)
    assert results["conventions"] == {"empty_masks": ["brats"], "distances": ["directed"], "grid": ["native"]}
    assert len(results["tests"]) == 3 * 2 * 2
    assert results["tests"][0]["smallest_p"] == 2 / 2**8
    assert results["tests"][0]["smallest_p_holm"] == 12 * 2 / 2**8
    assert "8 cases are too few to conclude" in results["notes"][0]
    assert results["ranking"]["standings"][0]["place"] == 1
    assert {"WT dice", "ET hd95_mm"} <= set(results["ranking"]["races"])


def test_mixed_conventions_are_said_everywhere(
    write_score_file: WriteScores, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_score_file(f"{name}.csv", {"a": 0.5, "b": 0.6}, grid=name) for name in ("native", "preprocessed")]
    arguments = [*map(str, paths), "--output", str(tmp_path / "out")]
    with pytest.raises(BratsError, match="different conventions of grid"):
        main(arguments)
    assert not (tmp_path / "out").exists()
    main([*arguments, "--mixed_conventions", "true"])
    assert "MIXED CONVENTIONS of grid" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / RESULTS).read_text(encoding="utf-8"))["mixed_conventions"] is True


def test_results_are_replaced_and_equal(runs: list[Path], tmp_path: Path) -> None:
    compare(runs[:2], output=tmp_path / "out")
    first = (tmp_path / "out" / RESULTS).read_bytes()
    compare(runs, output=tmp_path / "out")
    assert (tmp_path / "out" / RESULTS).read_bytes() != first
    compare(runs[:2], output=tmp_path / "out")
    assert (tmp_path / "out" / RESULTS).read_bytes() == first


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "paths"),
        (["{a}"], "one file has nothing to be compared with"),
        (["{a}", "nowhere"], "no file or folder nowhere"),
        (["{a}", "{b}", "--alpha", "much"], "alpha"),
        (["{a}", "{b}", "--part", "train"], "part"),
        (["{a}", "{b}", "--part", "validation"], "has no scores_validation.csv"),
        (["{a}", "{b}", "--colour", "red"], "--colour"),
        (["{a}", "{b}", "--output", "{a}/scores_test.csv"], "cannot be written .*: give another --output"),
    ],
)
def test_mistakes_end_in_a_sentence(runs: list[Path], arguments: list[str], sentence: str) -> None:
    with pytest.raises(BratsError, match=sentence):
        main([argument.format(a=runs[0], b=runs[1]) for argument in arguments])


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "usage: brats compare" in printed
    assert "PATH [PATH ...]" in printed
    assert all(option in printed for option in ("--output", "--mixed_conventions", "--rank_by", "--against_first"))


def test_torch_is_not_imported() -> None:
    code = "import sys, brats_lightning.comparison.compare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def trained(tmp_path: Path, runs: list[Path]) -> list[Path]:
    """Two of these runs with what their training has left."""
    for number, run in enumerate(runs[:2]):
        text = (
            f"model:\n  optimizer: {{class_path: torch.optim.Adam, init_args: {{lr: {10.0**-number}}}}}\nrun: {run}\n"
        )
        (run / "config.yaml").write_text(text)
        logger = MetricsCsv(run)
        for epoch in range(3):
            scores = {"val/dice_ET": 0.2 * epoch + 0.1 * number, "speed/samples_per_s": 8.0}
            logger.log_metrics({"epoch": epoch, "val/loss": 1.0 - 0.1 * epoch, **scores}, epoch)
    return runs[:2]


def test_runs_are_compared_by_curves_settings_and_cases(
    trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    main([*map(str, trained), "--output", str(output), "--scores", "[dice]"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "model.optimizer.lr 1 0.1" in printed
    assert "Dice ET 0.400 / 0.400 0.500 / 0.500" in printed
    assert "A − B" in printed
    assert {path.name for path in output.iterdir()} == {TABLE, RESULTS, PAGE, PICTURE, CURVES, SPEED}
    results = json.loads((output / RESULTS).read_text(encoding="utf-8"))
    assert results["settings"] == {"model.optimizer.lr": ["1", "0.1"]}
    assert results["table"]["Dice ET"] == ["0.400 / 0.400", "0.500 / 0.500"]
    assert len(results["tests"]) == 2
    page = (output / PAGE).read_text(encoding="utf-8")
    assert page.count("<img ") == 3
    assert "Case by case" in page


def test_without_scores_of_cases_runs_are_compared_all_the_same_and_it_is_said(
    trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    compare(trained, output=output)
    (trained[1] / "scores_test.csv").unlink()
    compare(trained, output=output)
    sentence = (
        f"There are no paired statistics: b has no scores of cases (`brats test --run {trained[1]}` writes them)."
    )
    assert sentence in capsys.readouterr().out
    assert sentence in (output / PAGE).read_text(encoding="utf-8").replace("&#x27;", "'")
    assert not (output / TABLE).exists()  # of the comparison before
    assert json.loads((output / RESULTS).read_text(encoding="utf-8"))["notes"][0] == sentence
    with pytest.raises(BratsError, match=r"has no scores_test\.csv: write one by"):
        compare(trained, part="test")
    with pytest.raises(
        BratsError, match=r"b has no scores of cases .*scores_test\.csv holds nothing else: there is nothing"
    ):
        compare([trained[0] / "scores_test.csv", trained[1]])


def test_runs_without_cases_in_common_are_compared_by_their_curves(
    trained: list[Path], write_score_file: WriteScores, capsys: pytest.CaptureFixture[str]
) -> None:
    write_score_file("b/scores_test.csv", {"another": 0.5, "one": 0.6})
    compare(trained)
    assert "There are no paired statistics: no cases in common" in capsys.readouterr().out
    with pytest.raises(BratsError, match="alpha is 7"):  # a mistake stays one
        compare(trained, alpha=7)


def test_an_output_that_cannot_be_written_is_said(trained: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BratsError, match=r"cannot be written .*: give another --output"):
        compare(trained, output=tmp_path / "file")
