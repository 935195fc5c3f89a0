"""What a comparison is given: score files, folders of runs, and runs as W&B keeps them on disk."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from brats_lightning.reports.run.folder import is_run, open_run
from brats_lightning.reports.run.history import Best, History
from brats_lightning.reports.run.record import digest_of_split, machine_of_run, seconds_of_run
from brats_lightning.reports.run.settings import Setting, class_name, monitored
from brats_lightning.reports.run.wandb import read_wandb, segments_of
from brats_lightning.reports.score_files import short_names


@dataclass(frozen=True)
class Member:
    """A run that is compared with others.

    Args:
        name: Short, and no other's.
        path: As it was given.
        settings: The resolved configuration.
        history: What was logged.
        seconds: That it took, NaN where nobody noted it.
        machine: Commit, GPU and the like, by name.
        notes: What is missing or broken, in sentences.
        cases: How many it was trained on, and validated on; empty where that is not known.
        called: Its name in W&B, which says more than the folder that W&B has made; empty of other folders.
    """

    name: str
    path: Path
    settings: Mapping[str, Setting] = field(default_factory=dict)
    history: History = field(default_factory=History)
    seconds: float = math.nan
    machine: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    cases: str = ""
    called: str = ""

    @property
    def network(self) -> str:
        """Its class, and that of the network that it is made of."""
        inner = class_name(self.settings, "model.network.init_args.network")
        return " of ".join(filter(None, (class_name(self.settings, "model.network"), inner)))

    @property
    def best(self) -> Best | None:
        """The step of its best network."""
        monitor, largest = monitored(self.settings)
        return self.history.best(monitor, largest=largest)


def members_of(paths: Sequence[Path]) -> list[Member | None]:
    """The runs among some paths, None in place of each that is scores only.

    Raises:
        BratsError: A run that cannot be read.
    """
    names = short_names(paths)
    found = [_member(path, name) for path, name in zip(paths, names, strict=True)]
    called = [name if member is None else member.called or name for name, member in zip(names, found, strict=True)]
    if len(set(called)) < len(called):
        return found
    return [member and replace(member, name=name) for member, name in zip(found, called, strict=True)]


def has_scores(path: Path) -> bool:
    """Whether a run's folder has scores of cases that methods are compared by."""
    return any((path / f"{name}.csv").is_file() for name in ("scores_test", "scores_validation", "scores"))


def is_of_wandb(path: Path) -> bool:
    """Whether it is W&B's own folder or file, which holds no scores by case."""
    return not is_run(path) and bool(segments_of(path))


def _member(path: Path, name: str) -> Member | None:
    if is_of_wandb(path):
        record = read_wandb(segments_of(path))
        history = record.history
        notes = [] if history.curves else ["W&B's file holds no row: nothing was logged before the run ended."]
        return Member(name, path, record.settings, history, record.seconds, record.machine, notes, called=record.name)
    if not path.is_dir() or not is_run(path):
        return None
    run = open_run(path)
    notes = [note for note in run.notes if not note.startswith("No case")]  # the comparison says that itself
    machine = machine_of_run(path)
    cases = ""
    if run.parts is not None:
        machine["split"] = digest_of_split(run.parts)
        cases = f"{len(run.parts.train)} / {len(run.parts.validation)}"
    history = run.history or History()
    return Member(name, path, run.settings, history, seconds_of_run(path), machine, notes, cases)
