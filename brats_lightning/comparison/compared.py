"""All that a comparison found out: runs side by side, and methods case by case."""

from dataclasses import dataclass
from pathlib import Path

from brats_lightning.comparison.members import Member
from brats_lightning.comparison.results import Comparison


@dataclass(frozen=True)
class Compared:
    """What is printed and written.

    Args:
        names: Of all that was given, no two alike.
        paths: Of the score file where one was read, else as it was given.
        members: Runs with curves or a configuration; fewer than were given where some are scores only.
        scores: Paired statistics, None where there are no scores by case, or none that belong together.
        notes: What one has to know beside that, in sentences.
    """

    names: tuple[str, ...]
    paths: tuple[Path, ...]
    members: tuple[Member, ...] = ()
    scores: Comparison | None = None
    notes: tuple[str, ...] = ()

    @property
    def letters(self) -> dict[str, str]:
        """What each is called in tables, by name: A, B, C … as long as they last, then numbers."""
        return {name: chr(ord("A") + at) if at < 26 else str(at + 1) for at, name in enumerate(self.names)}

    @property
    def all_notes(self) -> list[str]:
        """These, and what is missing in single runs; a file that was cut short is told of once."""
        of_runs = (f"{member.name}: {note}" for member in self.members for note in member.notes)
        return list(dict.fromkeys([*self.notes, *of_runs]))
