from pathlib import Path

import numpy as np

from brats_lightning.comparison.paired import EXACT_UP_TO
from brats_lightning.comparison.paired_tests import paired_tests
from brats_lightning.comparison.remarks import left_out_notes, power_notes, ranking_notes, undefined_notes
from brats_lightning.reports.score_files import ScoreFile

FEW = [0.1, 0.2, 0.3, 0.4, 0.5]


def power(differences: list[float], alpha: float = 0.05) -> str:
    files = [ScoreFile(name, Path(name), {}, {}, ()) for name in "ab"]
    cases = [str(number) for number in range(len(differences))]
    values = {("ET", "dice"): np.array([differences, [0.0] * len(differences)])}
    tests, _ = paired_tests(files, cases, values, better={"dice": "higher"}, pairs=[(0, 1)], seed=0)
    return "\n".join(power_notes(tests, cases, alpha))


def test_few_cases_few_differences_and_many_cases_are_told_apart() -> None:
    assert "5 cases are too few to conclude: the exact test cannot give a p below 0.062" in power(
        [0.1, 0.2, 0.3, 0.4, 0.5]
    )
    few_differ = power([*FEW, 0.0, 0.0])
    assert "In 1 of 1 tests too few cases differ to conclude" in few_differ
    assert "leaves out cases without a difference" in few_differ
    enough = np.linspace(0.1, 0.9, 30).tolist()
    assert power(enough) == ""
    assert "5 cases are too few" not in power(FEW, alpha=0.1)
    assert "normal approximation" in power(np.linspace(0.1, 0.9, EXACT_UP_TO + 1).tolist())


def test_a_method_without_any_difference_is_not_blamed_on_n() -> None:
    assert "too few" not in power([0.0] * 10).replace("too narrow", "")


def test_nothing_left_out_is_not_mentioned() -> None:
    assert not list(left_out_notes({}))
    assert not list(undefined_notes([], []))
    assert not list(ranking_notes(np.zeros((2, 3, 1))))
    (note,) = left_out_notes({"x": ["only"]})
    assert note == "x has 1 case that not all have, left out: only."
