"""Everything that a run's folder tells, read once; what is missing or broken is said, and no reason to give up."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from brats_lightning.data.splits import Parts
from brats_lightning.errors import BratsError
from brats_lightning.reports.run_history import METRICS, Best, History, read_history
from brats_lightning.reports.run_scores import score_files_in
from brats_lightning.reports.run_settings import Setting, monitored, read_settings
from brats_lightning.reports.run_wandb import read_wandb, segments_of
from brats_lightning.reports.score_files import ScoreFile, read_score_file
from brats_lightning.runs import CHECKPOINTS, CONFIG, SPLIT

FIGURES = "figures"


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
        notes: What is missing or broken, in sentences.
    """

    path: Path
    settings: Mapping[str, Setting] = field(default_factory=dict)
    config: str = ""
    parts: Parts | None = None
    history: History | None = None
    scores: Sequence[ScoreFile] = ()
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Of the folder, and of the one around it where that is not the one of all runs."""
        folder = self.path.resolve()
        return folder.name if folder.parent.name in {"runs", ""} else f"{folder.parent.name}/{folder.name}"

    @property
    def seconds(self) -> float:
        """That it took by W&B's clock, NaN where W&B has no file of it."""
        try:
            files = segments_of(self.path / "wandb")
            return read_wandb(files).seconds if files else math.nan
        except BratsError:  # files of other runs, or damaged
            return math.nan

    @property
    def best(self) -> Best | None:
        """The step of its best network, as far as the history tells."""
        monitor, largest = monitored(self.settings)
        return None if self.history is None else self.history.best(monitor, largest=largest)

    def picture(self, case: str) -> Path | None:
        """What was drawn of a case, None where nothing was."""
        path = self.path / FIGURES / f"{case}.png"
        return path if path.is_file() else None


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
    return RunFolder(path, settings, config, parts, history, scores, tuple(notes))


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


def _scores(path: Path, notes: list[str]) -> ScoreFile | None:
    try:
        return read_score_file(path)
    except BratsError as error:
        notes.append(f"{path.name} is left out: {without_place(path, error)}.")
        return None


def without_place(path: Path, error: Exception) -> str:
    """An error's text with a file's name in place of its path: a report goes to people who have another disk."""
    return str(error).replace(str(path), path.name).rstrip(".")
