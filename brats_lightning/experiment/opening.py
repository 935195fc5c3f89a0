"""The first line of a run: what one needs to know of it when nothing but its log is left."""

import logging
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from brats_lightning.cluster.allocation import Task, own_job
from brats_lightning.runs import CONFIG

log = logging.getLogger("brats_lightning")


def say_start(task: Task, *, run: Path, going_on_from: str | None) -> None:
    """Versions, machines, configuration, and whether a run begins or goes on; the first process says it."""
    if task.rank:
        return
    job = own_job()
    restarts = f", restart {job.restarts}" if job is not None and job.restarts else ""
    where = f"; job {job.id} on {job.nodes}{restarts}" if job is not None else ""
    gpus = sorted({torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())})
    devices = f"{torch.cuda.device_count()} × {', '.join(gpus)}" if gpus else "no GPU"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "pytorch-lightning", "monai"))
    log.info("brats %s%s, %s; %s%s", version("brats-lightning"), _commit_in_words(), versions, devices, where)
    begins = f"going on from {going_on_from}" if going_on_from else "from the beginning"
    log.info("run %s, all settings in %s; %s", run, run / CONFIG, begins)


def commit() -> str:
    """Of this program where it runs from a checkout, with a mark where files were changed; else empty."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=9", "--match="]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip()


def _commit_in_words() -> str:
    return f" ({found})" if (found := commit()) else ""
