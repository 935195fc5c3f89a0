"""`brats repeats`: mean and standard deviation over runs of one experiment on several draws of its cases."""

import math
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console
from rich.table import Table

from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.reports.over_runs import Of, OverRuns, over_runs
from brats_lightning.reports.score_files import ScoredPart, short_names
from brats_lightning.reports.scores import SHOWN, write_table


def main(arguments: Sequence[str]) -> None:
    """Run `brats repeats` with folders one after the other, which `auto_cli` has no way to say."""
    description = "Mean and standard deviation over runs, of the scores that `brats validate` and `brats test` wrote."
    parser = ArgumentParser(prog="brats repeats", description=description, exit_on_error=False)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run; two or more")
    parser.add_function_arguments(repeats, skip={"runs"}, as_group=False)
    try:
        chosen = parser.parse_args(list(arguments))
    except ArgumentError as error:
        raise BratsError(" ".join(str(error).split())) from error
    repeats(**vars(chosen))


def repeats(
    runs: Sequence[Path], *, parts: list[ScoredPart] | None = None, of: Of = "cases", output: Path | None = None
) -> None:
    """Say how scores spread over runs: mean ± standard deviation of a sample (n - 1) of the runs' means over cases.

    Args:
        runs: Folders of runs, each scored by `brats validate` (`--part train` too) or `brats test`.
        parts: Which of train, validation, test, as '[train, test]'; null takes those that were scored.
        of: Scores of cases, or those of the callbacks ClassScores (classes) and SliceScores (slices).
        output: CSV file with each run's means; null prints the table only.

    Raises:
        BratsError: Runs that cannot be read, or whose numbers are not of one kind.
    """
    found = over_runs(runs, parts=parts, of=of)
    names = short_names(runs)
    print_repeats(found, names=names, of=of)
    if output is not None:
        write_repeats(output, found, names=names)


def write_repeats(path: Path, found: Sequence[OverRuns], *, names: Sequence[str]) -> None:
    """Write a row a part, region and score: mean, standard deviation, number of runs, and the mean of each run.

    Args:
        path: CSV file.
        found: From `over_runs`.
        names: Of the runs.

    Raises:
        ConfigError: It cannot be written.
    """
    columns = ["part", "region", "score", "mean", "std", "runs"]
    columns += [f"{what} {name}" for name in names for what in ("mean", "cases")]
    rows = [
        [each.part, each.region, each.score, each.mean, each.std, len(each.defined)]
        + [value for pair in zip(each.means, each.cases, strict=True) for value in pair]
        for each in found
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, columns, rows)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}): give another --output") from error


def print_repeats(
    found: Sequence[OverRuns], *, names: Sequence[str], of: Of = "cases", console: Console | None = None
) -> None:
    """Print mean ± standard deviation over runs, a row a part, region and score.

    Args:
        found: From `over_runs`.
        names: Of the runs.
        of: What was scored.
        console: Standard output where None.
    """
    kinds = {"cases": "case", "classes": "class, all cases pooled", "slices": "slice"}
    caption = "mean ± standard deviation over runs (n - 1); of each run the mean over what it scored"
    table = Table(title=f"{len(names)} runs, scores by {kinds[of]}", caption=caption)
    for heading in ("part", "class" if of == "classes" else "region", "score"):
        table.add_column(heading)
    for heading in ("mean ± std", "runs", "slices" if of == "slices" else "cases"):
        table.add_column(heading, justify="right")
    before = ("", "")
    for each in found:
        if before[0] not in {"", each.part}:
            table.add_section()
        place = each.part, each.region
        table.add_row(
            each.part if each.part != before[0] else "",
            each.region.removeprefix("class_").replace("_", " ") if place != before else "",
            SHOWN.get(each.score, each.score),
            _spread(each),
            str(len(names)) if len(each.defined) == len(names) else f"{len(each.defined)} of {len(names)}",
            str(each.cases[0]) if len(set(each.cases)) == 1 else f"{min(each.cases)} – {max(each.cases)}",
        )
        before = place
    (console or Console()).print(table)


def _spread(each: OverRuns) -> str:
    if not each.defined:
        return "–"
    digits = 2 if each.score.endswith("_mm") else 3
    return f"{each.mean:.{digits}f}" + ("" if math.isnan(each.std) else f" ± {each.std:.{digits}f}")
