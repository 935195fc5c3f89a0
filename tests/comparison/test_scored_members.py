from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.comparison.case_scores import case_scores
from brats_lightning.comparison.compare import compare
from brats_lightning.comparison.members import members_of
from brats_lightning.comparison.written import PAGE
from brats_lightning.errors import BratsError
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.reports.score_files import ScoreFile

WriteScores = Callable[..., Path]
CASES = 8


@pytest.fixture
def runs(tmp_path: Path, write_score_file: WriteScores) -> list[Path]:
    """Folders of three runs with curves and scores of cases."""
    generator = np.random.default_rng(0)
    for name in "abc":
        rows = {f"case-{place}": [score] for place, score in enumerate(generator.uniform(0.4, 0.9, CASES).tolist())}
        write_score_file(f"{name}/scores_test.csv", rows, columns=["dice"], regions=["ET", "WT"])
        MetricsCsv(tmp_path / name).log_metrics({"epoch": 0, "val/dice_ET": 0.5}, 0)
    return [tmp_path / name for name in "abc"]


def found(*paths: Path) -> tuple[list[ScoreFile], list[str]]:
    return case_scores(paths, [path.name for path in paths], members_of(paths), part=None)


def cut(run: Path, *, at: int) -> None:
    file = run / "scores_test.csv"
    file.write_bytes(file.read_bytes()[:at])


def offline_folder(around: Path) -> Path:
    """W&B's folder of a run that has logged nothing yet."""
    own = around / "wandb" / "offline-run-20261120_131109-x"
    own.mkdir(parents=True)
    (own / "run-x.wandb").write_bytes(b":W&B\xe1\xbe\x00")
    return own


def test_of_a_file_that_was_cut_short_the_whole_rows_count_and_it_is_said(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (runs[1] / "scores_test.csv").read_bytes()
    cut(runs[1], at=whole.rindex(b"case-6") + 15)
    compare(runs[:2], output=tmp_path / "out")
    printed = " ".join(capsys.readouterr().out.split())
    sentence = "b: scores_test.csv was cut short: case-6, in which it ends, is left out."
    assert printed.count(sentence) == 1
    assert "6 cases in common" in printed
    assert "a has 2 cases that not all have, left out: case-6, case-7." in printed
    assert sentence in (tmp_path / "out" / PAGE).read_text(encoding="utf-8")


def test_wherever_a_file_was_cut_runs_are_compared(runs: list[Path]) -> None:
    size = (runs[1] / "scores_test.csv").stat().st_size
    lengths = set()
    for at in range(size, -1, -7):
        cut(runs[1], at=at)
        files, notes = found(*runs[:2])
        lengths.add(len(files[1].cases) if files else 0)
        if files:  # a file that ends with a line looks whole where its last case is, or is the only one
            text = files[1].path.read_bytes()
            rows = len(text.splitlines()) - 1
            assert len(notes) == (not (text.endswith((b"\r", b"\n")) and (rows % 2 == 0 or rows == 1)))
        else:
            assert notes[0].startswith("There are no paired statistics: ")
    assert lengths == set(range(CASES + 1))


def test_score_files_alone_are_compared_as_far_as_they_go_and_notes_are_printed(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    cut(runs[0], at=-4)
    compare([run / "scores_test.csv" for run in runs[:2]])
    printed = " ".join(capsys.readouterr().out.split())
    assert "A  a  (" in printed.replace(" ", "  ")
    assert "• a: scores_test.csv was cut short: case-7, in which it ends, is left out." in printed
    assert "7 cases in common" in printed
    (runs[0] / "scores_test.csv").write_text("case,region,dice\nx,ET,9\n")
    with pytest.raises(BratsError, match=r"a.scores_test\.csv line 2: dice is 9, expected 0 to 1"):
        compare([run / "scores_test.csv" for run in runs[:2]])


def test_a_run_without_readable_scores_leaves_the_others_theirs(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (runs[1] / "scores_test.csv").unlink()
    compare(runs)
    printed = capsys.readouterr().out
    assert f"Left out of the paired statistics: b has no scores of cases (`brats test --run {runs[1]}`" in printed
    assert "A − C" in printed
    assert "A − B" not in printed
    (runs[1] / "scores_test.csv").write_text("case,region,dice\nx,ET,9\n")
    files, notes = found(*runs)
    assert [file.name for file in files] == ["a", "c"]
    assert "line 2: dice is 9, expected 0 to 1" in notes[0]


def test_of_wandbs_folder_the_runs_own_is_named_where_that_has_scores(runs: list[Path], tmp_path: Path) -> None:
    own = offline_folder(runs[0])
    for given in (own, own.parent, own / "run-x.wandb"):
        files, notes = found(given, runs[1])
        assert files == []
        sentence = "has no scores of cases (W&B does not keep them: give the run's own folder"
        assert notes == [f"There are no paired statistics: {given.name} {sentence} {runs[0]}, which has them)."]
    elsewhere = offline_folder(tmp_path / "elsewhere")
    assert "elsewhere" not in found(elsewhere, runs[1])[1][0]
    assert "(W&B does not keep them)." in found(elsewhere, runs[1])[1][0]


def test_wandbs_folder_beside_nothing_but_scores_is_refused_without_wrong_advice(
    runs: list[Path], tmp_path: Path
) -> None:
    own, lone = offline_folder(tmp_path / "elsewhere"), runs[1] / "scores_test.csv"
    with pytest.raises(
        BratsError, match=r"\(W&B does not keep them\), and .*scores_test\.csv holds nothing else"
    ) as said:
        found(own, lone)
    assert "brats test" not in str(said.value)


def test_scores_that_lie_in_wandbs_folder_count(runs: list[Path], tmp_path: Path) -> None:
    own = offline_folder(tmp_path / "elsewhere")
    (runs[2] / "scores_test.csv").rename(own / "scores.csv")
    files, notes = found(own, runs[1])
    assert [file.path for file in files] == [own / "scores.csv", runs[1] / "scores_test.csv"]
    assert notes == []
