"""All that a comparison found out: runs side by side, and methods case by case."""

from dataclasses import dataclass
from pathlib import Path

from brats_lightning.comparison.members import Member
from brats_lightning.comparison.results import Comparison


@dataclass(frozen=True)
class Compared:
    """What is printed and written.

    Args:
        names: Of all that was given.
        paths: Of the score files where they were compared, else as they were given.
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
    def all_notes(self) -> list[str]:
        """These, and what is missing in single runs."""
        return [*self.notes, *(f"{member.name}: {note}" for member in self.members for note in member.notes)]
