"""`brats compare`: which of several runs or methods is better, and whether the cases suffice to say so."""

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console

from brats_lightning.comparison.comparable import IncomparableError
from brats_lightning.comparison.compared import Compared
from brats_lightning.comparison.members import Member, has_scores, is_of_wandb, members_of
from brats_lightning.comparison.results import Comparison, compare_scores
from brats_lightning.comparison.run_table import print_runs
from brats_lightning.comparison.table import print_comparison
from brats_lightning.comparison.written import PAGE, write_comparison
from brats_lightning.errors import BratsError
from brats_lightning.reports.score_files import Part, ScoreFile, read_score_files, short_names


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
    members = members_of(paths)
    files, notes = _score_files(paths, members, part)
    scored: Comparison | None = None
    if files:
        try:
            scored = compare_scores(
                files, regions=regions, scores=scores, higher=higher or (), lower=lower or (), rank_by=rank_by,
                against_first=against_first, mixed_conventions=mixed_conventions, alpha=alpha, seed=seed,
            )  # fmt: skip
        except IncomparableError as error:
            if None in members:
                raise
            notes.append(f"There are no paired statistics: {error}.")
    found = Compared(
        names=tuple(
            name if member is None else member.name for name, member in zip(short_names(paths), members, strict=True)
        ),
        paths=tuple(file.path for file in files) if files else tuple(paths),
        members=tuple(member for member in members if member is not None),
        scores=scored,
        notes=tuple(notes),
    )
    if output is not None:
        write_comparison(found, output, seed=seed)
    if found.members:
        print_runs(found)
    if scored is not None:
        print_comparison(scored, paths=found.paths)
    if output is not None:
        Console(markup=False, emoji=False, highlight=False).print(f"written: {output / PAGE}", soft_wrap=True)


def _score_files(
    paths: Sequence[Path], members: Sequence[Member | None], part: Part | None
) -> tuple[list[ScoreFile], list[str]]:
    """Scores by case where all have them; else none, and why, as long as curves are left to compare."""
    without = [
        path for path, member in zip(paths, members, strict=True)
        if member is not None and (is_of_wandb(path) or not has_scores(path))
    ]  # fmt: skip
    if without and (part is None or any(map(is_of_wandb, without))) and None not in members:
        names = [member.name for member in members if member is not None and member.path in without]
        those = f"{', '.join(names)} {'has' if len(names) == 1 else 'have'}"
        cure = "W&B does not keep them" if is_of_wandb(without[0]) else f"`brats test --run {without[0]}` writes them"
        return [], [f"There are no paired statistics: {those} no scores of cases ({cure})."]
    return read_score_files(paths, part=part), []
