"""What a run was made with: versions, machine and commit where it has kept them, and digests of what it holds."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

from brats_lightning.data.splits import Parts
from brats_lightning.errors import BratsError
from brats_lightning.reports.run.facts import Start, read_starts, seconds_of
from brats_lightning.reports.run.settings import Setting, lasting
from brats_lightning.reports.run.wandb import machine_of, read_wandb, segments_of

PACKAGES = ("brats-lightning", "torch", "pytorch-lightning", "monai", "numpy", "wandb")
SHOWN_DIGITS = 16
_ENTRY_KEY_DIGITS = 20


def versions_here() -> dict[str, str]:
    """Versions of the packages that this program runs with, those that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def versions_of_run(run: Path) -> dict[str, str]:
    """Versions of the packages that a run was last started with, by its own notes or W&B's list; empty without both."""
    starts = starts_of_run(run)
    return dict(starts[-1].versions) if starts and starts[-1].versions else _versions_of_wandb(run)


def _versions_of_wandb(run: Path) -> dict[str, str]:
    found = run.glob("wandb/*run-*/files/requirements.txt")
    lists = sorted(found, key=lambda path: path.parts[-3].removeprefix("offline-"))  # by the time in its folder's name
    if not lists:
        return {}
    try:
        lines = lists[-1].read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pinned = dict(line.strip().lower().replace("_", "-").split("==", 1) for line in lines if line.count("==") == 1)
    return {name: pinned[name] for name in PACKAGES if name in pinned}


def machine_of_run(run: Path) -> dict[str, str]:
    """System, processor, GPUs, commit and digests of a run's last start, by its own notes or W&B's file.

    Names of people, machines and folders are left where they are. Empty where neither is there.
    """
    if starts := starts_of_run(run):
        last = starts[-1]
        told = {"git commit": last.commit, **last.machine, "data": last.data_sha256, "split": last.split_sha256}
        return {name: text for name, text in told.items() if text}
    try:
        return machine_of(segments_of(run / "wandb"))
    except BratsError:  # files of other runs, or damaged
        return {}


def seconds_of_run(run: Path) -> float:
    """That a run took over all its starts, by its own notes or W&B's clock; NaN where neither says."""
    if not math.isnan(seconds := seconds_of(starts_of_run(run))):
        return seconds
    try:
        files = segments_of(run / "wandb")
        return read_wandb(files).seconds if files else math.nan
    except BratsError:  # files of other runs, or damaged
        return math.nan


def starts_of_run(run: Path) -> list[Start]:
    """What a run has noted of its starts; none where that is damaged, which `run_folder` says."""
    try:
        return read_starts(run)
    except BratsError:
        return []


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file, empty where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def digest_of_settings(settings: Mapping[str, Setting]) -> str:
    """SHA-256 over a configuration but for where the run lies: that differs between any two; empty of none."""
    return _digest(json.dumps(lasting(settings), sort_keys=True)) if settings else ""


def digest_of_split(parts: Parts) -> str:
    """SHA-256 over the ids of each part, whatever their order and however the file was written."""
    content = {name: sorted(getattr(parts, name)) for name in ("train", "validation", "test")}
    return _digest(json.dumps(content, sort_keys=True))


def digest_of_data(cases: Iterable[str], cache: Path) -> str:
    """SHA-256 over the keys of preprocessed cases, which stand for the contents of their files and for the settings.

    Args:
        cases: Ids of all cases of a run.
        cache: Folder of the run's cache.

    Returns:
        Empty where the cache lacks a case or has one under several settings: then nobody knows which it was.
    """
    keys = _cached(cache)
    own: list[Sequence[str]] = [keys.get(case, ()) for case in sorted(set(cases))]
    return digest_of_keys([each[0] for each in own]) if all(len(each) == 1 for each in own) else ""


def digest_of_keys(keys: Sequence[str]) -> str:
    """SHA-256 over the cache's keys of all cases of a run, in the order of their ids; empty of none."""
    return _digest("\n".join(keys)) if keys else ""


def _cached(cache: Path) -> dict[str, list[str]]:
    """Keys by case of the entries of a cache, named `<case>-<20 digits>.safetensors`."""
    found: dict[str, list[str]] = {}
    for path in cache.glob("*.safetensors"):
        case, dash, key = path.stem.rpartition("-")
        if dash and len(key) == _ENTRY_KEY_DIGITS:
            found.setdefault(case, []).append(key)
    return found


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
