import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from brats_lightning.cli import COMMANDS, Command, main
from brats_lightning.data.splits import Parts
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.evaluation.cross_validation import pool_folds
from brats_lightning.evaluation.summary import summarise

Fold = Callable[..., Path]
CASES = ("a", "b", "c", "d")


@pytest.fixture
def write_fold(tmp_path: Path) -> Fold:
    """Writes the folder of a run that held out some of four cases, with a Dice for each."""

    def write(
        name: str,
        dice: dict[str, float],
        *,
        held_out: Sequence[str] | None = None,
        part: str = "validation",
        empty_masks: str = "brats",
        region: str = "ET",
    ) -> Path:
        run = tmp_path / name
        run.mkdir(parents=True)
        chosen = tuple(dice if held_out is None else held_out)
        left = tuple(case for case in CASES if case not in chosen)
        Parts(left, *((chosen, ()) if part == "validation" else ((), chosen))).write(run / "split.json")
        with (run / f"scores_{part}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["case", "region", "dice", "hd95_mm", "accuracy", "empty_masks", "distances", "grid", "checkpoint"]
            )
            for case, value in dice.items():
                writer.writerow([case, region, value, 2, 0.99, empty_masks, "directed", "preprocessed", f"{name}.ckpt"])
        return run

    return write


def test_every_case_is_pooled_once_with_its_fold(write_fold: Fold) -> None:
    runs = [write_fold("f0", {"a": 0.1, "b": 0.2}), write_fold("f1", {"c": 0.3, "d": 0.4})]
    folds, problems = pool_folds(runs, part="validation")
    assert problems == []
    assert {name: [(row.case, row.scores["dice"]) for row in rows] for name, rows in folds.items()} == {
        "f0": [("a", 0.1), ("b", 0.2)],
        "f1": [("c", 0.3), ("d", 0.4)],
    }
    assert dict(folds["f1"][0].about) == {
        "empty_masks": "brats", "distances": "directed", "grid": "preprocessed", "fold": "f1",
    }  # fmt: skip


def test_folds_of_one_name_are_told_apart_by_their_folders(write_fold: Fold) -> None:
    runs = [write_fold("x/f", {"a": 0.1}), write_fold("y/f", {"b": 0.2})]
    assert list(pool_folds(runs, part="validation")[0]) == [str(run) for run in runs]


def test_a_case_seen_in_training_is_refused(write_fold: Fold) -> None:
    runs = [write_fold("f0", {"a": 0.1, "b": 0.9}, held_out=["a"]), write_fold("f1", {"c": 0.3})]
    folds, (problem,) = pool_folds(runs, part="validation")
    assert (problem.case, problem.what) == ("b", f"{runs[0]} was trained on this case")
    assert [row.case for row in folds["f0"]] == ["a"]


def test_a_case_scored_in_two_folds_is_refused_in_both(write_fold: Fold) -> None:
    runs = [write_fold("f0", {"a": 0.1, "b": 0.9}), write_fold("f1", {"b": 0.3, "c": 0.2})]
    folds, (problem,) = pool_folds(runs, part="validation")
    assert (problem.case, problem.what) == ("b", "scored in two folds, f0 and f1")
    assert [row.case for rows in folds.values() for row in rows] == ["a", "c"]


def test_scores_that_do_not_fit_the_split_are_refused(write_fold: Fold) -> None:
    runs = [write_fold("f0", {"a": 0.1, "x": 0.9}, held_out=["a", "b"]), write_fold("f1", {"c": 0.3})]
    _, problems = pool_folds(runs, part="validation")
    assert [(problem.case, problem.what) for problem in problems] == [
        ("x", f"{runs[0] / 'split.json'} does not have this case in validation"),
        ("b", f"{runs[0]} held this case out and has no scores of it"),
    ]
    assert all(f"brats validate --run {runs[0]}" in problem.cure for problem in problems)


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            {"empty_masks": "nan"},
            "empty_masks: brats, grid: preprocessed; f1 has distances: directed, empty_masks: nan",
        ),
        ({"region": "WT"}, "f0 has the regions ET; f1 has WT: score all folds alike"),
    ],
)
def test_folds_scored_unlike_each_other_are_refused(write_fold: Fold, other: dict[str, str], sentence: str) -> None:
    runs = [write_fold("f0", {"a": 0.1}), write_fold("f1", {"b": 0.2}, **other)]
    with pytest.raises(ConfigError, match=sentence):
        pool_folds(runs, part="validation")


def test_folds_with_and_without_volumes_are_pooled(write_fold: Fold) -> None:
    runs = [write_fold("f0", {"a": 0.1}), write_fold("f1", {"b": 0.2})]
    path = runs[0] / "scores_validation.csv"  # as it is written now; the other is of an earlier version
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},reference_volume_ml,predicted_volume_ml\n{row},1.5,2.5\n")
    folds, problems = pool_folds(runs, part="validation")
    assert not problems
    first, second = (row for rows in folds.values() for row in rows)
    assert first.scores["reference_volume_ml"] == 1.5
    assert "reference_volume_ml" not in second.scores
    summary = summarise([first, second], resamples=10)["ET"]
    assert (summary["dice"].count, summary["reference_volume_ml"].count) == (2, 1)


def test_what_is_no_cross_validation_is_refused(write_fold: Fold, tmp_path: Path) -> None:
    run, other = write_fold("f0", {"a": 0.1}), write_fold("f1", {"b": 0.1})
    with pytest.raises(ConfigError, match="two runs at least"):
        pool_folds([run], part="validation")
    with pytest.raises(ConfigError, match="given more than once"):
        pool_folds([run, run.parent / "." / "f0"], part="validation")
    with pytest.raises(ConfigError, match="score the run first, by brats test --run"):
        pool_folds([run, other], part="test")
    (other / "split.json").unlink()
    with pytest.raises(ConfigError, match=r"split.json is no list of cases"):
        pool_folds([run, other], part="validation")
    (other / "scores_validation.csv").write_text("case,region,dice\n")
    with pytest.raises(BratsError, match="header and no rows"):
        pool_folds([run, other], part="validation")


def test_the_command_reports_each_fold_and_all_cases(
    write_fold: Fold, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "evaluate", Command("score predictions", "evaluation.evaluate:evaluate"))
    runs = [write_fold("f0", {"a": 0.1, "b": 0.3}, part="test"), write_fold("f1", {"c": 0.8}, part="test")]
    out = tmp_path / "out"
    main(["evaluate", "--runs", json.dumps([str(run) for run in runs]), "--part", "test", "--output", str(out)])
    printed = capsys.readouterr().out
    assert "2 folds, 3 cases of test, each scored once" in printed
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert {fold: scores["ET"]["dice"]["mean"] for fold, scores in summary["folds"].items()} == {"f0": 0.2, "f1": 0.8}
    assert summary["summary"]["ET"]["dice"]["mean"] == pytest.approx(0.4)
    assert summary["convention"] == {"empty_masks": "brats", "distances": "directed", "grid": "preprocessed"}
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        assert [(row["case"], row["fold"]) for row in csv.DictReader(file)] == [("a", "f0"), ("b", "f0"), ("c", "f1")]


@pytest.mark.parametrize("keep_going", [False, True])
def test_the_command_refuses_or_leaves_out_and_ends_with_code_1(
    write_fold: Fold,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keep_going: bool,
) -> None:
    monkeypatch.setitem(COMMANDS, "evaluate", Command("score predictions", "evaluation.evaluate:evaluate"))
    runs = [write_fold("f0", {"a": 0.1, "b": 0.3}, held_out=["a"]), write_fold("f1", {"c": 0.8})]
    arguments = ["--runs", json.dumps([str(run) for run in runs]), "--output", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *arguments, "--keep_going", str(keep_going).lower()])
    assert stopped.value.code == 1
    assert "was trained on this case" in capsys.readouterr().err
    assert (tmp_path / "out" / "summary.json").exists() == keep_going
