"""Everything that a run's folder tells, read once; what is missing or broken is said, and no reason to give up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brats_lightning.data.splits import Parts
from brats_lightning.errors import BratsError
from brats_lightning.reports.run.facts import FACTS, Start, read_starts
from brats_lightning.reports.run.history import METRICS, Best, History, read_history
from brats_lightning.reports.run.record import seconds_of_run
from brats_lightning.reports.run.scores import score_files_in
from brats_lightning.reports.run.settings import Setting, monitored, read_settings
from brats_lightning.reports.score_files import ScoreFile, read_score_file
from brats_lightning.runs import CHECKPOINTS, CONFIG, SPLIT, name_of_run


@dataclass(frozen=True)
class RunFolder:
    """A run as its folder has it.

    Args:
        path: Of the folder.
        settings: The resolved configuration, empty where there is none.
        config: The same as it was written.
        parts: Cases of each part, None where the run has no list of them.
        history: What was logged, None where the run has logged nothing.
        scores: Of cases, a file each.
        starts: When and on what it was trained, the first one first; none where nobody has noted them.
        notes: What is missing or broken, in sentences.
    """

    path: Path
    settings: Mapping[str, Setting] = field(default_factory=dict)
    config: str = ""
    parts: Parts | None = None
    history: History | None = None
    scores: Sequence[ScoreFile] = ()
    starts: Sequence[Start] = ()
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """What stands behind `runs/`, else the folder's own name."""
        return name_of_run(self.path)

    @property
    def seconds(self) -> float:
        """That it took, NaN where nobody noted it."""
        return seconds_of_run(self.path)

    @property
    def best(self) -> Best | None:
        """The step of its best network, as far as the history tells."""
        monitor, largest = monitored(self.settings)
        return None if self.history is None else self.history.best(monitor, largest=largest)


def is_run(path: Path) -> bool:
    """Whether a folder holds anything of a run but scores."""
    return any((path / name).exists() for name in (CONFIG, METRICS, SPLIT, CHECKPOINTS))


def open_run(path: Path) -> RunFolder:
    """Read a run's folder, as much of it as there is.

    Args:
        path: The folder.

    Raises:
        BratsError: It is no folder, or none of a run.
    """
    if not path.is_dir():
        what = "a file" if path.exists() else "nothing there"
        raise BratsError(f"{path} is no folder of a run ({what}): expected one such as runs/unet3d")
    scored = score_files_in(path)
    if not is_run(path) and not scored:
        raise BratsError(
            f"{path} is no folder of a run: expected {CONFIG}, {METRICS}, {SPLIT} or scores_*.csv in it, "
            "as `brats fit` and `brats test` leave them"
        )
    notes: list[str] = []
    settings, config = _settings(path / CONFIG, notes)
    parts = _parts(path / SPLIT, notes)
    history = _history(path / METRICS, notes)
    scores = list(filter(None, (_scores(file, notes) for file in scored)))
    if not scored:
        notes.append(
            "No case of this run was scored, so there are no scores by case here: "
            "`brats validate` and `brats test` with `--run` write them."
        )
    return RunFolder(path, settings, config, parts, history, scores, _starts(path, notes), tuple(notes))


def _settings(path: Path, notes: list[str]) -> tuple[Mapping[str, Setting], str]:
    if not path.is_file():
        notes.append(f"{CONFIG} is missing: what the run was made of is not known.")
        return {}, ""
    try:
        return read_settings(path), path.read_text(encoding="utf-8")
    except (BratsError, OSError) as error:
        notes.append(f"{without_place(path, error)}.")
        return {}, ""


def _parts(path: Path, notes: list[str]) -> Parts | None:
    if not path.is_file():
        notes.append(f"{SPLIT} is missing: which cases were trained on is not known.")
        return None
    try:
        return Parts.read(path)
    except BratsError as error:
        notes.append(f"{without_place(path, error)}.")
        return None


def _history(path: Path, notes: list[str]) -> History | None:
    if not path.is_file():
        notes.append(f"{METRICS} is missing: there are no curves.")
        return None
    try:
        history = read_history(path)
    except BratsError as error:
        notes.append(f"{without_place(path, error)}.")
        return None
    notes.extend(history.notes)
    return history if history.curves else None


def _starts(path: Path, notes: list[str]) -> list[Start]:
    try:
        return read_starts(path)
    except BratsError as error:
        notes.append(f"{without_place(path / FACTS, error)}.")
        return []


def _scores(path: Path, notes: list[str]) -> ScoreFile | None:
    try:
        found = read_score_file(path, incomplete=True)
    except BratsError as error:
        notes.append(f"{path.name} is left out: {without_place(path, error)}.")
        return None
    notes.extend(found.notes)
    return found


def without_place(path: Path, error: Exception) -> str:
    """An error's text with a file's name in place of its path: a report goes to people who have another disk."""
    return str(error).replace(str(path), path.name).rstrip(".")
