"""A comparison in the terminal."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.comparison.results import Comparison


def print_comparison(comparison: Comparison, *, letters: Mapping[str, str], console: Console) -> None:
    """Print the differences of each pair, the ranking and all that one has to know.

    Args:
        comparison: What was found out.
        letters: Of the methods, by name.
        console: Where to.
    """
    told = ", ".join(f"{column} {' / '.join(values)}" for column, values in comparison.conventions.items())
    console.print(f"{len(comparison.cases)} cases in common{f' · {told}' if told else ''}")
    panels: dict[tuple[str, str, str], list[PairedTest]] = {}
    for test in comparison.tests:
        panels.setdefault((test.first, test.second, test.score), []).append(test)
    for (first, second, _), tests in panels.items():
        console.print()
        console.print(_differences(tests, letters[first], letters[second], comparison.alpha))
    console.print()
    console.print(
        "95 %: bootstrap interval of the mean difference · w/t/l: cases won, tied and lost by the first · p: Wilcoxon "
        f"signed-rank, two-sided · Holm: corrected over all {len(comparison.tests)} tests · better: shown at "
        f"{comparison.alpha:g}"
    )
    if comparison.standings:
        console.print()
        console.print(_ranking(comparison))
        regions, scores = ([*dict.fromkeys(names)] for names in zip(*comparison.ranked_on, strict=True))
        console.print(
            f"mean rank over cases, regions ({', '.join(regions)}) and scores ({', '.join(scores)}) · p: permutation "
            "test against the next, one-sided, not corrected"
        )
    if comparison.notes:
        console.print()
    for note in comparison.notes:
        console.print(f"• {note}")


def _differences(tests: Sequence[PairedTest], first: str, second: str, alpha: float) -> Table:
    """A row for each region of one score, within 80 columns."""
    title = f"{tests[0].score}, {tests[0].better} is better"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True, min_width=4)
    for heading, width in (
        (first, 5), (second, 5), (f"{first} − {second}", 6), ("95 %", 15), ("n", 3), ("w/t/l", 7), ("p", 6), ("Holm", 6)
    ):  # fmt: skip
        table.add_column(heading, justify="right", no_wrap=True, min_width=width)
    table.add_column("better", no_wrap=True)
    shown = {"first": first, "second": second, "none shown": "–", "too few cases": "too few"}
    digits = 2 if tests[0].score.endswith(("_mm", "_ml")) else 3
    for test in tests:
        table.add_row(
            test.region,
            *(f"{mean:.{digits}f}" for mean in test.means),
            f"{test.difference:+.{digits}f}",
            f"{test.interval[0]:+.{digits}f} … {test.interval[1]:+.{digits}f}",
            str(len(test.differences)),
            f"{test.won}/{test.tied}/{test.lost}",
            p_text(test.p),
            p_text(test.p_holm),
            shown[test.verdict(alpha)],
        )
    return table


def _ranking(comparison: Comparison) -> Table:
    table = Table(title="BraTS ranking", title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("place", "method", "mean rank", "p"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    for standing in comparison.standings:
        p = "" if standing.p_next is None else p_text(standing.p_next)
        table.add_row(str(standing.place), standing.name, f"{standing.rank:.3f}", p)
    return table


def p_text(p: float) -> str:
    """Three decimals, and never 0."""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"
