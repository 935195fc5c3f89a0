"""The folder of a run: which one, and what lies in it.

runs/<name>/config.yaml  split.json  metrics.csv  checkpoints/{best,last}.ckpt  wandb/  figures/
"""

import contextlib
import os
from pathlib import Path
from zipfile import is_zipfile

from brats_lightning.errors import CheckpointError, ConfigError

RUNS = Path("runs")
CONFIG, SPLIT, CHECKPOINTS = "config.yaml", "split.json", "checkpoints"
NAMED_CHECKPOINTS = ("best", "last")
_INHERITED = "BRATS_RUN"


def claim_run(name: str, *, given: Path | None, continues: bool) -> Path:
    """The folder for a training run, made and nobody else's.

    Processes that the first one starts for further GPUs inherit its folder.

    Args:
        name: Used where no folder is given: `runs/<name>`, with a number behind it where that is taken.
        given: The user's wish.
        continues: Whether a run that is there is to be gone on with.

    Raises:
        ConfigError: The folder holds a run that would be overwritten, or cannot be made.
    """
    if (inherited := os.environ.get(_INHERITED)) and "LOCAL_RANK" in os.environ:
        return Path(inherited)
    if given is None and "TORCHELASTIC_RUN_ID" in os.environ:
        raise ConfigError("the processes of torchrun cannot agree on a new folder: give a --run")
    folder = _make(given, continues=continues) if given else _first_free(RUNS / _named_by_job(name))
    os.environ[_INHERITED] = str(folder.resolve())
    return folder


def _named_by_job(name: str) -> str:
    """All tasks of a SLURM job's step are one run."""
    job = os.environ.get("SLURM_JOB_ID")
    if not job or not _is_slurm_task():
        return name
    step = os.environ.get("SLURM_STEP_ID", "0")
    return f"{name}-{job}" if step == "0" else f"{name}-{job}.{step}"


def _is_slurm_task() -> bool:
    return "SLURM_PROCID" in os.environ


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
            # Made by another task, and still without checkpoints, as those are only written by all together.
            if _is_slurm_task() and folder.is_dir() and not _holds_checkpoints(folder):
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
        has_last = wanted == "best" and path.with_name("last.ckpt").is_file()
        other = " (its last one is there: --ckpt_path last)" if has_last else ""
        raise CheckpointError(f"no checkpoint {path}{other}: expected a file, or `best` or `last` of a --run")
    if not is_zipfile(path):
        raise CheckpointError(f"{path} is no checkpoint, or one that was cut short")
    return path


def run_of_checkpoint(path: Path) -> Path | None:
    """The run folder that a checkpoint lies in, None where it lies alone."""
    path = path.absolute()
    folder = path.parent.parent
    return folder if path.parent.name == CHECKPOINTS and (folder / CONFIG).is_file() else None
