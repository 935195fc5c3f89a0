"""Runs side by side in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from brats_lightning.comparison.compared import Compared
from brats_lightning.comparison.run_rows import RunRow, run_rows, setting_rows
from brats_lightning.comparison.table import print_comparison

MOST_SETTINGS = 30
LONGEST = 28
"""Characters of a setting's value in the terminal; the page has all of it."""


def print_compared(found: Compared, *, console: Console | None = None) -> None:
    """Print all that was found out, each thing under its letter.

    Args:
        found: What was found out.
        console: Standard output where None.
    """
    console = console or _console()
    for (name, letter), path in zip(found.letters.items(), found.paths, strict=True):
        console.print(f"{letter}  {name}  ({path})", soft_wrap=True)
    for note in found.all_notes:
        console.print(f"• {note}", soft_wrap=True)
    console.print()
    if found.members:
        print_runs(found, console=console)
        console.print()
    if found.scores is not None:
        print_comparison(found.scores, letters=found.letters, console=console)


def print_runs(found: Compared, *, console: Console | None = None) -> None:
    """Print what runs reached, and the settings in which they differ.

    Args:
        found: With at least one run.
        console: Standard output where None.
    """
    console = console or _console()
    own = [found.letters[member.name] for member in found.members]
    console.print(_table("Runs", run_rows(found.members), own))
    console.print("scores of validation: best network / last epoch, on the grid of the preprocessed cases")
    if settings := setting_rows(found.members):
        console.print()
        console.print(_table("Settings that differ", [_short(row) for row in settings[:MOST_SETTINGS]], own))
        if len(settings) > MOST_SETTINGS:
            console.print(f"… and {len(settings) - MOST_SETTINGS} more: --output writes all of them")


def _console() -> Console:
    return Console(markup=False, emoji=False, highlight=False)  # brackets in a file's name are no markup


def _table(title: str, rows: Sequence[RunRow], letters: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    for letter in letters:
        table.add_column(letter, justify="right")
    for row in rows:
        table.add_row(row.name, *row.cells)
    return table


def _short(row: RunRow) -> RunRow:
    return RunRow(row.name, tuple(c if len(c) <= LONGEST else f"{c[: LONGEST - 1]}…" for c in row.cells))
