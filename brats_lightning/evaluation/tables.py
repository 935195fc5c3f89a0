"""What an evaluation prints."""

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from brats_lightning.errors import Problem
from brats_lightning.evaluation.summary import Spread, Summary, worst_cases
from brats_lightning.reports.scores import SHOWN, RegionRow

HEADINGS = {**SHOWN, "lesionwise_dice": "lesion Dice", "lesionwise_hd95_mm": "lesion HD95"}


def print_summary(summary: Summary, *, cases: int, title: str, caption: str, console: Console) -> None:
    """Print mean ± standard deviation, its 95 % interval and the median of the main scores of each region.

    Args:
        summary: By region and score; scores that no case has are left out.
        cases: How many there are.
        title: Above the table.
        caption: Below it: the conventions.
        console: To print on.
    """
    table = Table(title=title, caption=caption)
    for heading in ("region", "score"):
        table.add_column(heading)
    for heading in ("mean ± std", "95 % interval", "median", "cases"):
        table.add_column(heading, justify="right")
    for region, scores in summary.items():
        shown = [name for name in HEADINGS if name in scores and scores[name].count]
        for at, name in enumerate(shown):
            spread, digits = scores[name], _digits(name)
            low, high = spread.interval_95
            table.add_row(
                region if at == 0 else "",
                HEADINGS[name],
                _mean(spread, digits),
                "–" if math.isnan(low) else f"{low:.{digits}f} – {high:.{digits}f}",
                f"{spread.median:.{digits}f}",
                str(cases) if spread.count == cases else f"{spread.count} of {cases}",
            )
        table.add_section()
    console.print(table)


def print_worst(rows: Sequence[RegionRow], *, console: Console) -> None:
    """Print the five cases of the lowest mean Dice, region by region."""
    worst = worst_cases(rows)
    if not worst:
        return
    regions = list(dict.fromkeys(row.region for row in rows))
    found = {(row.case, row.region): row for row in rows}
    table = Table(title="Worst cases by mean Dice", caption="Dice of each region")
    table.add_column("case", overflow="fold")
    for heading in ("mean", *regions):
        table.add_column(heading, justify="right")
    table.add_column("note")
    for case, mean in worst:
        own = [found.get((case, region)) for region in regions]
        notes = dict.fromkeys(row.about["note"] for row in own if row and row.about.get("note"))
        cells = [_number(row.scores["dice"]) if row else "–" for row in own]
        table.add_row(case, _number(mean), *cells, "; ".join(notes))
    console.print(table)


def print_folds(folds: Mapping[str, Summary], overall: Summary, *, title: str, caption: str, console: Console) -> None:
    """Print the mean of the main scores of each fold, and those of all cases together.

    Args:
        folds: Summary of each fold by its name.
        overall: Summary of all cases.
        title: Above the table.
        caption: Below it.
        console: To print on.
    """
    shown = {name: heading for name, heading in HEADINGS.items() if any(name in row for row in overall.values())}
    table = Table(title=title, caption=caption)
    table.add_column("fold")
    table.add_column("region")
    for heading in shown.values():
        table.add_column(heading, justify="right")
    for fold, summary in {**folds, "all cases": overall}.items():
        for at, (region, scores) in enumerate(summary.items()):
            cells = [
                f"{_mean(scores[name], _digits(name))} (n {scores[name].count})" if name in scores else "–"
                for name in shown
            ]
            table.add_row(fold if at == 0 else "", region, *cells)
        table.add_section()
    console.print(table)


def print_problems(problems: Sequence[Problem], *, console: Console) -> None:
    """Print everything that is wrong."""
    table = Table(title="Problems", title_justify="left")
    for heading in ("case", "file", "what", "cure"):
        table.add_column(heading, overflow="fold")  # a name cut short would be no name
    for problem in problems:
        table.add_row(problem.case, problem.file, problem.what, problem.cure)
    console.print(table)


def _mean(spread: Spread, digits: int) -> str:
    if not spread.count:
        return "–"
    return f"{spread.mean:.{digits}f}" + (f" ± {spread.std:.{digits}f}" if spread.count > 1 else "")


def _digits(score: str) -> int:
    return 2 if score.endswith("_mm") else 3


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
