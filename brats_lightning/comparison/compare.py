"""`brats compare`: which of several methods is better, and whether the cases suffice to say so."""

import csv
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser

from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.comparison.results import Comparison, compare_scores
from brats_lightning.comparison.table import print_comparison
from brats_lightning.errors import BratsError
from brats_lightning.reports.score_files import Part, read_score_files

TABLE, RESULTS, PICTURE = "comparison.csv", "comparison.json", "comparison.png"


def main(arguments: Sequence[str]) -> None:
    """Run `brats compare` with paths one after the other, which `auto_cli` has no way to say."""
    description = "Compare methods case by case, from score files or the folders of runs."
    parser = ArgumentParser(prog="brats compare", description=description, exit_on_error=False)
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="scores CSV, or folder of a run; two or more"
    )
    parser.add_function_arguments(compare, skip={"paths"}, as_group=False)
    try:
        chosen = parser.parse_args(list(arguments))
    except ArgumentError as error:
        raise BratsError(" ".join(str(error).split())) from error
    compare(**vars(chosen))


def compare(
    paths: Sequence[Path],
    *,
    output: Path | None = None,
    part: Part | None = None,
    regions: list[str] | None = None,
    scores: list[str] | None = None,
    higher: list[str] | None = None,
    lower: list[str] | None = None,
    rank_by: list[str] | None = None,
    against_first: bool = False,
    mixed_conventions: bool = False,
    alpha: float = 0.05,
    seed: int = 0,
) -> None:
    """Compare methods case by case: paired differences, Wilcoxon signed-rank tests, bootstrap, BraTS ranking.

    Args:
        paths: Score files, or folders of runs.
        output: Folder for comparison.csv, comparison.json and comparison.png; null prints the tables only.
        part: Which scores of a run's folder; null takes those of the test cases, else of the validation cases.
        regions: Which ones, as '[WT, TC, ET]'; null takes all that the files share.
        scores: Which ones, as '[dice, hd95_mm]'; null takes Dice, IoU, HD95, their lesion-wise kin and accuracy
            where the files share them: each further score makes the correction of all of them stricter.
        higher: Further columns of which higher is better.
        lower: Further columns of which lower is better.
        rank_by: Scores to rank by; null takes Dice and HD95, as the challenge does, where they are compared.
        against_first: Test only the first against each other one, not all pairs: fewer tests show more.
        mixed_conventions: Compare numbers of different conventions all the same, and say so.
        alpha: Level of significance.
        seed: For the bootstrap and the permutation tests.

    Raises:
        BratsError: Files that cannot be read or compared.
    """
    files = read_score_files(paths, part=part)
    comparison = compare_scores(
        files, regions=regions, scores=scores, higher=higher or (), lower=lower or (), rank_by=rank_by,
        against_first=against_first, mixed_conventions=mixed_conventions, alpha=alpha, seed=seed,
    )  # fmt: skip
    read = [file.path for file in files]
    if output is not None:
        write_comparison(comparison, output, paths=read, seed=seed)
    print_comparison(comparison, paths=read)


def write_comparison(comparison: Comparison, folder: Path, *, paths: Sequence[Path], seed: int) -> None:
    """Write a table, all results and a picture.

    Args:
        comparison: What was found out.
        folder: Made where it is not there; files of an earlier comparison are replaced.
        paths: Of the score files.
        seed: That was used.

    Raises:
        BratsError: The folder cannot be written.
    """
    from brats_lightning.comparison.plot import draw_comparison  # noqa: PLC0415 (a second, and not always)

    rows = [_row(test, comparison.alpha) for test in comparison.tests]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / TABLE).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        text = json.dumps(_results(comparison, rows, paths, seed), indent=2, allow_nan=False, ensure_ascii=False)
        (folder / RESULTS).write_text(text + "\n", encoding="utf-8")
        draw_comparison(comparison, folder / PICTURE)
    except OSError as error:
        raise BratsError(f"{folder} cannot be written ({error.strerror}): give another --output") from error


def _row(test: PairedTest, alpha: float) -> dict[str, str | int | float | bool]:
    return {
        "first": test.first, "second": test.second, "region": test.region, "score": test.score, "better": test.better,
        "cases": len(test.differences), "undefined": test.undefined,
        "mean_first": test.means[0], "mean_second": test.means[1],
        "mean_difference": test.difference, "interval_low": test.interval[0], "interval_high": test.interval[1],
        "won": test.won, "tied": test.tied, "lost": test.lost, "rank_biserial": test.balance,
        "p": test.p, "p_holm": test.p_holm, "exact": test.exact,
        "smallest_p": test.smallest_p, "smallest_p_holm": test.smallest_p_holm, "shown_better": test.verdict(alpha),
    }  # fmt: skip


def _results(
    comparison: Comparison, rows: Sequence[dict[str, str | int | float | bool]], paths: Sequence[Path], seed: int
) -> dict[str, object]:
    return {
        "version": metadata.version("brats-lightning"),
        "methods": {name: str(path) for name, path in zip(comparison.names, paths, strict=True)},
        "alpha": comparison.alpha,
        "seed": seed,
        "mixed_conventions": comparison.mixed,
        "conventions": {column: list(values) for column, values in comparison.conventions.items()},
        "notes": list(comparison.notes),
        "cases": list(comparison.cases),
        "left_out": {name: list(cases) for name, cases in comparison.left_out.items()},
        "tests": [dict(row) for row in rows],
        "ranking": {
            "races": [f"{region} {score}" for region, score in comparison.ranked_on],
            "standings": [
                {"place": s.place, "method": s.name, "rank": s.rank, "p_next": s.p_next} for s in comparison.standings
            ],
        },
    }
