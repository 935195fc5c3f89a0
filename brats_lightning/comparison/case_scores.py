"""Which of the things that are compared have scores of cases; of the others it is said why not, and what would help."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from brats_lightning.comparison.members import Member, has_scores, is_of_wandb
from brats_lightning.errors import BratsError
from brats_lightning.reports.score_files import Part, ScoreFile, read_score_files


def case_scores(
    paths: Sequence[Path], names: Sequence[str], members: Sequence[Member | None], *, part: Part | None
) -> tuple[list[ScoreFile], list[str]]:
    """Score files under the names given, and in sentences what is missing among them.

    None where fewer than two are left. A run that has none, or none that can be read, is still compared by its curves;
    of a file that was cut short, rows that are whole count.

    Args:
        paths: Score files, runs, and runs of W&B.
        names: One each.
        members: The runs among them, None in place of each that is scores only.
        part: Which scores of a run's folder, None for the first that is there.

    Raises:
        BratsError: Scores that have nothing beside them cannot be read, or not be compared; a run lacks the part that
            was asked for.
    """
    reasons = {
        path: reason
        for path, name, member in zip(paths, names, members, strict=True)
        if member is not None and (reason := _obstacle(path, name, part))
    }
    having = [(path, name) for path, name in zip(paths, names, strict=True) if path not in reasons]
    why = "; ".join(reasons.values())
    if len(having) < 2:
        if lone := [path for path, member in zip(paths, members, strict=True) if member is None]:
            raise BratsError(f"{why}, and {lone[0]} holds nothing else: there is nothing to compare")
        return [], [f"There are no paired statistics: {why}."]
    files = read_score_files([path for path, _ in having], part=part, incomplete=True)
    named = [replace(file, name=name) for file, (_, name) in zip(files, having, strict=True)]
    notes = [f"Left out of the paired statistics: {why}."] if why else []
    return named, [*notes, *(f"{file.name}: {note}" for file in named for note in file.notes)]


def _obstacle(path: Path, name: str, part: Part | None) -> str:
    """What keeps the scores of a run's cases from being compared, empty where nothing does."""
    if not has_scores(path):
        if part is not None and not is_of_wandb(path):
            return ""  # refused when it is read, with the command that writes this part
        return f"{name} has no scores of cases ({_cure(path)})"
    if part is not None:
        return ""
    try:
        read_score_files([path], incomplete=True)
    except BratsError as error:
        return str(error)
    return ""


def _cure(path: Path) -> str:
    if not is_of_wandb(path):
        return f"`brats test --run {path}` writes them"
    around = next((folder for folder in path.absolute().parents[:3] if has_scores(folder)), None)
    if around is None:
        return "W&B does not keep them"
    given = next((folder for folder in path.parents if folder.absolute() == around), around)
    return f"W&B does not keep them: give the run's own folder {given}, which has them"
