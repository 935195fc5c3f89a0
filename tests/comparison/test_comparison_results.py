from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from brats_lightning.comparison.results import Comparison, compare_scores
from brats_lightning.errors import BratsError
from brats_lightning.reports.score_files import ScoreFile, read_score_files

WriteScores = Callable[..., Path]
REGIONS = ("ET", "ED", "NCR", "WT", "TC")


def make_files(
    write: WriteScores,
    *,
    count: int,
    shifts: Sequence[float] = (0.0, 0.05),
    columns: Sequence[str] = ("dice", "hd95_mm"),
    regions: Sequence[str] = REGIONS,
    case: str = "case-{:03}",
) -> list[ScoreFile]:
    """Methods whose scores differ by a shift and noise."""
    generator = np.random.default_rng(0)
    paths = []
    for index, shift in enumerate(shifts):
        numbers = generator.uniform(0.3, 0.6, (count, len(columns))) + shift
        rows = {case.format(number): row.tolist() for number, row in enumerate(numbers)}
        paths.append(write(f"method-{index}.csv", rows, columns=columns, regions=regions))
    return read_score_files(paths)


def test_every_pair_region_and_score_is_tested_once(write_score_file: WriteScores) -> None:
    files = make_files(write_score_file, count=4, shifts=(0, 0.1, 0.2))
    tests = compare_scores(files).tests
    keys = {(test.first, test.second, test.region, test.score) for test in tests}
    assert len(keys) == len(tests) == 3 * 5 * 2
    against = compare_scores(files, against_first=True).tests
    assert {(test.first, test.second) for test in against} == {("method-0", "method-1"), ("method-0", "method-2")}
    narrow = compare_scores(files, regions=["TC", "WT"], scores=["hd95_mm"]).tests
    assert {(test.region, test.score) for test in narrow} == {("TC", "hd95_mm"), ("WT", "hd95_mm")}


def test_the_order_of_cases_changes_nothing(write_score_file: WriteScores) -> None:
    files = make_files(write_score_file, count=9)
    shuffled = [
        replace(
            file,
            rows=file.rows[::-1],
            scores={name: dict(reversed(list(values.items()))) for name, values in file.scores.items()},
        )
        for file in files
    ]
    assert compare_scores(shuffled, regions=REGIONS) == compare_scores(files, regions=REGIONS)


def test_the_seed_moves_the_interval_and_nothing_else(write_score_file: WriteScores) -> None:
    files = make_files(write_score_file, count=9, regions=["ET"], columns=["dice"])
    (one,), (again,), (other,) = (compare_scores(files, seed=seed).tests for seed in (0, 0, 1))
    assert one == again
    assert one.interval != other.interval
    assert replace(one, interval=(0, 0)) == replace(other, interval=(0, 0))


@pytest.mark.parametrize(
    ("regions", "columns", "rank_by", "races"),
    [
        (REGIONS, ("iou", "dice", "hd95_mm"), None, {(r, s) for r in ("WT", "TC", "ET") for s in ("dice", "hd95_mm")}),
        (("ET", "ED"), ("dice", "iou"), None, {("ET", "dice"), ("ED", "dice")}),
        (("ET", "ED"), ("sensitivity",), None, {("ET", "sensitivity"), ("ED", "sensitivity")}),
        (("ET",), ("dice", "iou"), ["iou"], {("ET", "iou")}),
        (REGIONS, ("accuracy",), None, {("case", "accuracy")}),
    ],
)
def test_the_ranking_is_the_challenges_where_it_can_be(
    write_score_file: WriteScores,
    regions: Sequence[str],
    columns: Sequence[str],
    rank_by: list[str] | None,
    races: set[tuple[str, str]],
) -> None:
    files = make_files(write_score_file, count=3, columns=columns, regions=regions)
    assert set(compare_scores(files, rank_by=rank_by).ranked_on) == races


def test_the_ranking_knows_which_way_is_better(write_score_file: WriteScores) -> None:
    files = make_files(write_score_file, count=8, shifts=(0.0, 0.35))
    for score, best in (("dice", "method-1"), ("hd95_mm", "method-0")):
        first, second = compare_scores(files, scores=[score]).standings
        assert (first.name, first.rank, second.rank) == (best, 1, 2)
        assert first.p_next == 2**-8
    assert [s.rank for s in compare_scores(files).standings] == [1.5, 1.5]


@pytest.mark.parametrize(("count", "few"), [(8, True), (9, False)])
def test_it_says_when_no_result_could_show_anything(write_score_file: WriteScores, count: int, few: bool) -> None:
    files = make_files(write_score_file, count=count, shifts=(0.0, 0.35))
    comparison = compare_scores(files)
    told = [note for note in comparison.notes if "too few to conclude" in note]
    assert len(comparison.tests) == 10
    assert bool(told) == few == (10 * 2 / 2**count > 0.05)
    assert {test.verdict(0.05) for test in comparison.tests} == ({"too few cases"} if few else {"first", "second"})


def messages(comparison: Comparison) -> str:
    return "\n".join(comparison.notes)


def test_notes_tell_n_and_the_smallest_p_before_and_after_holm(write_score_file: WriteScores) -> None:
    notes = messages(compare_scores(make_files(write_score_file, count=6)))
    assert "6 cases are too few" in notes
    assert "cannot give a p below 0.031, after Holm's correction over 10 tests not below 0.31" in notes
    assert "intervals of so few cases are too narrow" in notes


def test_time_points_of_one_patient_are_noted(write_score_file: WriteScores) -> None:
    points = make_files(write_score_file, count=4, case="BraTS-GLI-00005-{:03}")
    assert "4 cases of 1 patients: time points" in messages(compare_scores(points))
    assert "time points" not in messages(compare_scores(make_files(write_score_file, count=4)))


def test_what_is_left_out_is_named_and_counted(write_score_file: WriteScores) -> None:
    nan = float("nan")
    one = {**{f"{n}": [0.5, n, 0.1] for n in range(4)}, **{f"more-{n:02}": [0.5, 1, 0.1] for n in range(12)}}
    other = {"0": [0.4, nan, 0.1], "1": [0.3, 2, 0.1], "2": [0.5, nan, 0.1], "3": [0.6, nan, 0.1]}
    columns = ("dice", "hd95_mm", "sensitivity")
    paths = [
        write_score_file("x.csv", one, columns=columns, regions=["ET", "RC"]),
        write_score_file("y.csv", other, columns=columns, regions=["ET"]),
    ]
    comparison = compare_scores(read_score_files(paths))
    notes = messages(comparison)
    assert comparison.left_out == {"x": tuple(f"more-{n:02}" for n in range(12))}
    assert "x has 12 cases that not all have, left out: more-00, more-01" in notes
    assert "more-09 and 2 more." in notes
    assert "Only x has the region RC" in notes
    assert "Not tested, as fewer than 2 cases define them for both: ET hd95_mm." in notes
    assert "The ranking leaves out 3 of 8 races" in notes
    assert "Not compared unless --scores asks for them: sensitivity." in notes
    assert "The signed-rank test leaves out cases without a difference." in notes


def test_some_undefined_scores_are_counted(write_score_file: WriteScores) -> None:
    files = make_files(write_score_file, count=5, columns=["dice"], regions=["ET"])
    one = {**files[0].scores["dice"], ("case-001", "ET"): float("nan")}
    comparison = compare_scores([replace(files[0], scores={"dice": one}), files[1]])
    assert "1 of 1 tests leave out cases in which a method's score is undefined, up to 1" in messages(comparison)
    assert len(comparison.tests[0].differences) == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"alpha": 0.0}, "alpha is 0.0"),
        ({"alpha": 5.0}, "alpha is 5.0: give a level between 0 and 1"),
        ({"seed": -1}, "seed is -1"),
        ({"rank_by": ["nsd_1mm"]}, "--rank_by names nsd_1mm, compared are dice, hd95_mm"),
        ({"regions": ["RC"]}, "method-0.csv has no region RC: it has ET, ED, NCR, WT, TC"),
        ({"scores": ["iou"]}, "method-0.csv has no score iou: it has dice, hd95_mm"),
    ],
)
def test_options_without_sense_are_refused(
    write_score_file: WriteScores, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(BratsError, match=sentence):
        compare_scores(make_files(write_score_file, count=3), **options)  # type: ignore[arg-type]


def test_one_file_or_nothing_defined_is_refused(write_score_file: WriteScores) -> None:
    (file, _) = make_files(write_score_file, count=3)
    with pytest.raises(BratsError, match="one file has nothing to be compared with"):
        compare_scores([file])
    nan = {"a": float("nan"), "b": float("nan")}
    files = read_score_files([write_score_file("x.csv", nan), write_score_file("y.csv", {"a": 0.5, "b": 0.6})])
    with pytest.raises(BratsError, match="nothing can be tested: in fewer than 2 cases all files define ET dice"):
        compare_scores(files)
