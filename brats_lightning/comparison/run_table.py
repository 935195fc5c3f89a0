"""Runs side by side in the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from brats_lightning.comparison.compared import Compared
from brats_lightning.comparison.run_rows import RunRow, run_rows, setting_rows
from brats_lightning.comparison.table import letters_of

MOST_SETTINGS = 30
LONGEST = 28
"""Characters of a setting's value in the terminal; the page has all of it."""


def print_runs(found: Compared, *, console: Console | None = None) -> None:
    """Print what runs reached, the settings in which they differ, and what is missing.

    Args:
        found: With at least one run.
        console: Standard output where None.
    """
    console = console or Console(markup=False, emoji=False, highlight=False)
    letters = dict(zip(found.names, letters_of(len(found.names)), strict=True))
    own = [letters[member.name] for member in found.members]
    for member, letter in zip(found.members, own, strict=True):
        console.print(f"{letter}  {member.name}  ({member.path})", soft_wrap=True)
    console.print()
    console.print(_table("Runs", run_rows(found.members), own))
    console.print("scores of validation: best network / last epoch, on the grid of the preprocessed cases")
    if settings := setting_rows(found.members):
        console.print()
        console.print(_table("Settings that differ", [_short(row) for row in settings[:MOST_SETTINGS]], own))
        if len(settings) > MOST_SETTINGS:
            console.print(f"… and {len(settings) - MOST_SETTINGS} more: --output writes all of them")
    if found.all_notes:
        console.print()
    for note in found.all_notes:
        console.print(f"• {note}", soft_wrap=True)
    console.print()


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
