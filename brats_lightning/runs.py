"""The folder of a run: which one, and what lies in it.

runs/<name>/config.yaml  split.json  metrics.csv  checkpoints/{best,last}.ckpt  wandb/  figures/
"""

import contextlib
import os
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

from brats_lightning.cluster.allocation import in_step, own_job, own_task
from brats_lightning.errors import CheckpointError, ConfigError

RUNS = Path("runs")
CONFIG, SPLIT, CHECKPOINTS = "config.yaml", "split.json", "checkpoints"
NAMED_CHECKPOINTS = ("best", "last")
LAST = "last.ckpt"
AUTO = "auto"
"""Wish for the run's last checkpoint where there is one, and for a new run where there is none."""
INHERITED = "BRATS_RUN"
"""Environment variable in which a run's first process tells its further ones their folder."""


def name_of_run(folder: Path) -> str:
    """What a run is called: what stands behind `runs/` in its path, else its folder's own name.

    Folders further out are somebody's home or project, and say nothing of the run.

    Example:
        >>> name_of_run(Path("/home/jane/runs/unet3d/fold-0")), name_of_run(Path("/home/jane/unet3d"))
        ('unet3d/fold-0', 'unet3d')
    """
    parts = folder.resolve().parts
    below = next((at + 1 for at in range(len(parts) - 2, -1, -1) if parts[at] == RUNS.name), len(parts) - 1)
    return "/".join(parts[below:])


def claim_run(name: str, *, given: Path | None, continues: bool, again: bool = False) -> Path:
    """The folder for a training run, made and nobody else's.

    Processes that the first one starts for further GPUs inherit its folder.

    Args:
        name: Used where no folder is given: `runs/<name>`, with a number behind it where that is taken.
        given: The user's wish.
        continues: Whether a run that is there is to be gone on with.
        again: Where no folder is given, take the one that the same command or job would have taken before.

    Raises:
        ConfigError: The folder holds a run that would be overwritten, or cannot be made.
    """
    if (inherited := os.environ.get(INHERITED)) and own_task().rank:
        return Path(inherited)
    if given is None and again:
        given = RUNS / _named_by_job(name)
    folder = _make(given, continues=continues or again) if given else _first_free(RUNS / _named_by_job(name))
    os.environ[INHERITED] = str(folder.resolve())
    return folder


def _named_by_job(name: str) -> str:
    """All tasks of a SLURM job's step are one run, before and after the job was re-queued."""
    job = own_job()
    if job is None or not in_step():
        return name
    step = os.environ.get("SLURM_STEP_ID", "0")
    return f"{name}-{job.id}" if step == "0" else f"{name}-{job.id}.{step}"


def _holds_checkpoints(folder: Path) -> bool:
    return any((folder / CHECKPOINTS).glob("*.ckpt"))


def _make(folder: Path, *, continues: bool) -> Path:
    if not continues and _holds_checkpoints(folder):
        raise ConfigError(
            f"{folder} holds a run with checkpoints: go on with it by --ckpt_path last, or give another --run"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the run folder {folder} cannot be made ({error.strerror}): give another --run") from error
    return folder


def _first_free(wanted: Path) -> Path:
    for number in range(1, 10_000):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            # Of a job of the same number that was re-queued before it had made anything.
            if in_step() and folder.is_dir() and not _holds_checkpoints(folder):
                return folder
        except OSError as error:
            raise ConfigError(
                f"the run folder {folder} cannot be made ({error.strerror}): give another --run"
            ) from error
        else:
            return folder
    raise ConfigError(f"{wanted} and 9,999 folders numbered after it are taken: give a --run")


def discard_if_empty(run: Path) -> None:
    """Remove the folder of a run that failed before it made anything."""
    with contextlib.suppress(OSError):
        run.rmdir()


def last_checkpoint(run: Path) -> Path | None:
    """What a run goes on from, None where it has saved nothing yet."""
    path = run / CHECKPOINTS / LAST
    return path if path.is_file() else None


def find_checkpoint(wanted: str, run: Path | None) -> Path:
    """The file of a checkpoint.

    Args:
        wanted: `best` or `last` of the run, or a path.
        run: Folder of the run.

    Raises:
        CheckpointError: It is not there.
    """
    path = Path(wanted)
    if wanted in NAMED_CHECKPOINTS:
        if run is None:
            raise CheckpointError(f"--ckpt_path {wanted} needs a --run whose {wanted} checkpoint is meant")
        path = run / CHECKPOINTS / f"{wanted}.ckpt"
    if not path.is_file():
        has_last = wanted == "best" and path.with_name(LAST).is_file()
        other = " (its last one is there: --ckpt_path last)" if has_last else ""
        raise CheckpointError(f"no checkpoint {path}{other}: expected a file, or `best` or `last` of a --run")
    if not _is_zip(path):
        raise CheckpointError(f"{path} is no checkpoint, or one that was cut short")
    return path


def _is_zip(path: Path) -> bool:
    try:
        return is_zipfile(path)
    except BadZipFile:  # of one that says that it lies on several disks
        return False


def run_of_checkpoint(path: Path) -> Path | None:
    """The run folder that a checkpoint lies in, None where it lies alone."""
    path = path.absolute()
    folder = path.parent.parent
    return folder if path.parent.name == CHECKPOINTS and (folder / CONFIG).is_file() else None
