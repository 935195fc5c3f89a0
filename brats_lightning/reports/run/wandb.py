"""A run as W&B keeps it on disk: its curves, its configuration, how long it took and on what."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brats_lightning.errors import BratsError
from brats_lightning.loggers.wandb_segments import records, run_of, started
from brats_lightning.reports.run.history import STEP, History, history_of
from brats_lightning.reports.run.settings import Setting

GLOBAL_STEP = "trainer/global_step"
"""Under which Lightning logs a run's step; W&B's own counts rows."""
_NOT_OF_THE_RUN = (
    "_wandb", "slurm", "config",
    "network", "augmentation", "outputs", "editions", "learning_rate", "commit", "split_sha256", "data_sha256",
)  # fmt: skip
"""What W&B keeps beside the resolved configuration; the second line is for finding runs in it."""
_FACTS = {"commit": "git commit", "editions": "editions", "split_sha256": "split", "data_sha256": "data"}


@dataclass
class WandbRecord:
    """What the files of one W&B run hold.

    Args:
        rows: Of the history, with `step`.
        settings: The configuration that was logged.
        seconds: That the run took, over all its starts; NaN where no row says.
        machine: Commit, digests, GPU and the like, by name.
        name: That the run has in W&B, empty where the file does not say.
    """

    rows: list[dict[str, object]] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)
    seconds: float = math.nan
    machine: dict[str, str] = field(default_factory=dict)
    name: str = ""

    @property
    def history(self) -> History:
        """Its curves."""
        return history_of(self.rows)


def segments_of(path: Path) -> list[Path]:
    """Files of W&B in a folder of its own such as `wandb/offline-run-…`, in the `wandb` around it, or a file itself.

    Args:
        path: Of any kind; of another kind nothing is found.

    Raises:
        BratsError: The files are of several runs.
    """
    if path.suffix == ".wandb" and path.is_file():
        return [path]
    found = sorted({*path.glob("run-*.wandb"), *path.glob("*run-*-*/run-*.wandb")}, key=started)
    if len(runs := sorted({run_of(file) for file in found})) > 1:
        raise BratsError(f"{path} holds {len(runs)} runs of W&B ({', '.join(runs[:3])}): give the folder of one")
    return found


def machine_of(files: Sequence[Path]) -> dict[str, str]:
    """Commit, digests, GPU and the like of the last start, which stand before the first row of the history.

    Raises:
        BratsError: A file cannot be read.
    """
    told: dict[str, str] = {}
    for entry in _entries(files[-1]) if files else ():
        if entry.HasField("history"):
            break
        if entry.HasField("environment"):
            told = _machine(entry.environment) | told
        elif entry.HasField("config"):
            told |= _facts(_config(entry.config.update))
    return told


def read_wandb(files: Sequence[Path]) -> WandbRecord:
    """Read the files of one run, oldest first; what a killed process left unfinished at a file's end is passed over.

    Raises:
        BratsError: A file cannot be read.
    """
    record = WandbRecord()
    offline, online = 0.0, 0.0
    for file in files:
        latest = 0.0
        for entry in _entries(file):
            if entry.HasField("history"):
                row = _items(entry.history.item)
                latest = max(latest, _seconds(row))
                record.rows.append(_logged(row, entry.history.step.num))
            elif entry.HasField("run"):
                record.name = entry.run.display_name or record.name
            elif entry.HasField("config"):
                found = _config(entry.config.update)
                record.settings.update({name: found[name] for name in found if name not in _NOT_OF_THE_RUN})
                record.machine.update(_facts(found))
            elif entry.HasField("environment"):
                record.machine.update({**_machine(entry.environment), **record.machine})
        # Offline each start begins its own clock; a run that is gone on with online goes on with its clock, too.
        if file.parent.name.startswith("offline-"):
            offline += latest
        else:
            online = max(online, latest)
    record.seconds = (offline + online) or math.nan
    return record


def duration(seconds: float) -> str:
    """Hours and minutes, of short runs minutes and seconds.

    Example:
        >>> duration(4 * 3600 + 125), duration(125), duration(7.2), duration(float("nan"))
        ('4 h 02 min', '2 min 05 s', '7 s', '–')
    """
    if math.isnan(seconds):
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _entries(file: Path) -> Iterator[Any]:
    try:
        for _, entry in records(file):
            yield entry
    except OSError as error:
        raise BratsError(f"{file} cannot be read ({error.strerror}): expected a file of W&B") from error


def _items(items: Sequence[Any]) -> dict[str, object]:
    """Values by name; those that are no plain numbers or words, such as pictures, are passed over."""
    values = {item.key or "/".join(item.nested_key): _value(item.value_json) for item in items}
    return {name: value for name, value in values.items() if isinstance(value, int | float | str)}


def _logged(row: Mapping[str, object], step: int) -> dict[str, object]:
    """A row as `metrics.csv` would have it."""
    own = {name: value for name, value in row.items() if not name.startswith("_") and name != GLOBAL_STEP}
    return {**own, STEP: row.get(GLOBAL_STEP, step)}


def _value(text: str) -> Setting:
    try:
        value: Setting = json.loads(text)
    except ValueError:
        return None
    return value


def _config(updates: Sequence[Any]) -> dict[str, Setting]:
    return {update.key or ".".join(update.nested_key): _value(update.value_json) for update in updates}


def _facts(config: Mapping[str, Setting]) -> dict[str, str]:
    """Commit and digests that were logged with the configuration."""
    return {said: str(config[name]) for name, said in _FACTS.items() if config.get(name)}


def _seconds(row: Mapping[str, object]) -> float:
    runtime = row.get("_runtime", 0.0)
    return float(runtime) if isinstance(runtime, int | float) else 0.0


def _machine(environment: Any) -> dict[str, str]:
    """What figures depend on; no names of people, machines and folders."""
    told = {
        "git commit": environment.git.commit[:9],
        "GPU": " × ".join(filter(None, [str(environment.gpu_count or ""), environment.gpu_type])),
        "processor": " × ".join(filter(None, [str(environment.cpu_count or ""), environment.cpu.model])),
        "memory": f"{environment.memory.total / 1e9:.0f} GB" if environment.memory.total else "",
        "system": environment.os,
        "Python": environment.python,
    }
    return {name: text for name, text in told.items() if text}
