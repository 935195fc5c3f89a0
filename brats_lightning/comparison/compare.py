"""`brats compare`: which of several runs or methods is better, and whether the cases suffice to say so."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console

from brats_lightning.comparison.case_scores import case_scores
from brats_lightning.comparison.comparable import IncomparableError
from brats_lightning.comparison.compared import Compared
from brats_lightning.comparison.members import members_of
from brats_lightning.comparison.results import Comparison, compare_scores
from brats_lightning.comparison.run_table import print_compared
from brats_lightning.comparison.written import PAGE, write_comparison
from brats_lightning.errors import BratsError
from brats_lightning.reports.score_files import Part, ScoreFile, short_names

Statistics: TypeAlias = Callable[[Sequence[ScoreFile]], Comparison]


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
    """Compare runs by their curves and settings, and methods case by case: paired differences, Wilcoxon, BraTS ranking.

    Args:
        paths: Folders of runs, W&B's folders of runs that were offline, or score files.
        output: Folder for comparison.html, for the same as CSV and JSON, and for pictures; null prints tables only.
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
    if len(paths) < 2:
        raise BratsError("one file has nothing to be compared with: give two or more")
    if output is not None and output.suffix.lower() in {".html", ".htm"} and not output.is_dir():
        raise BratsError(
            f"--output {output} is no name of a folder, for {PAGE} and more: give {output.with_suffix('')}"
        )
    statistics = partial(
        compare_scores, regions=regions, scores=scores, higher=higher or (), lower=lower or (), rank_by=rank_by,
        against_first=against_first, mixed_conventions=mixed_conventions, alpha=alpha, seed=seed,
    )  # fmt: skip
    found = _find_out(paths, statistics, part=part)
    if output is not None:
        write_comparison(found, output, seed=seed)
    print_compared(found)
    if output is not None:
        Console(markup=False, emoji=False, highlight=False).print(f"written: {output / PAGE}", soft_wrap=True)


def _find_out(paths: Sequence[Path], statistics: Statistics, *, part: Part | None) -> Compared:
    members = members_of(paths)
    names = [name if member is None else member.name for name, member in zip(short_names(paths), members, strict=True)]
    files, notes = case_scores(paths, names, members, part=part)
    scored: Comparison | None = None
    if files:
        try:
            scored = statistics(files)
        except IncomparableError as error:
            if None in members:
                raise
            notes.append(f"There are no paired statistics: {error}.")
    read = {file.name: file.path for file in files}
    return Compared(
        names=tuple(names),
        paths=tuple(read.get(name, path) for name, path in zip(names, paths, strict=True)),
        members=tuple(member for member in members if member is not None),
        scores=scored,
        notes=tuple(notes),
    )
