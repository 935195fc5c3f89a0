"""Put the job back into the queue, or say how to."""

import logging
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from brats_lightning.cluster.allocation import Job

PATIENCE_SECONDS = 60
RESUBMIT = "resubmit.sh"
_OPTIONS = {
    "nodes": "SLURM_NNODES",
    "ntasks-per-node": "SLURM_NTASKS_PER_NODE",
    "cpus-per-task": "SLURM_CPUS_PER_TASK",
    "gpus-per-node": "SLURM_GPUS_PER_NODE",
}
"""What `scontrol` does not tell of the words that sbatch was given."""
_QUEUED = (["PENDING"], ["REQUEUED"], ["COMPLETING"])
log = logging.getLogger("brats_lightning")


def requeue(job: Job, *, run: Path | None = None) -> bool:
    """Ask SLURM to start the job again from its script, with the same number, when there is room.

    Where the site allows none of that, the command that submits it anew is logged, and left in the run's folder.

    Args:
        job: This process's.
        run: Folder of the run that the job is about.

    Returns:
        Whether it is in the queue.
    """
    failure = _ask(["scontrol", "requeue", job.id])
    if not failure:
        log.info("job %s: back in the queue", job.id)
        return True
    if _described(job).get("JobState", "").split()[:1] in _QUEUED:
        return True  # another process of the job was faster
    command = resubmission(job, run)
    log.warning(
        "job %s cannot be re-queued here (%s): submit it again with: %s",
        job.id,
        failure,
        command,
    )
    if run is not None:
        text = f"# Job {job.id} was stopped and could not be re-queued ({failure}).\n{command}\n"
        (run / RESUBMIT).write_text(text, encoding="utf-8")
    return False


def resubmission(job: Job, run: Path | None, variables: Mapping[str, str] = os.environ) -> str:
    """The command a person types, anywhere; the run's folder is named, as another job has another number."""
    described = _described(job)
    script, place = described.get("Command", "JOB.sbatch").split(), described.get("WorkDir")
    there = f"cd {shlex.quote(place)} && " if place else ""  # what the script is given may be relative to it
    options = [f"--{option}={variables[name]}" for option, name in _OPTIONS.items() if variables.get(name)]
    settings = {}
    element = variables.get("SLURM_ARRAY_TASK_ID")
    if element:
        options.append(f"--array={element}")
        settings["FOLDS"] = variables.get("FOLDS") or variables.get("SLURM_ARRAY_TASK_COUNT", "1")
    if run is not None:
        of_array = element is not None and run.name in {element, f"fold-{element}"}
        settings["RUN"] = str(run.resolve().parent if of_array else run.resolve())
    before = "".join(f"{name}={shlex.quote(value)} " for name, value in settings.items())
    return f"{there}{before}sbatch {shlex.join([*options, *script])}"


def _described(job: Job) -> dict[str, str]:
    """What `scontrol` knows of a job: one `Key=value` a line of its long form."""
    try:
        answer = subprocess.run(  # noqa: S603
            ["scontrol", "show", "job", job.id],  # noqa: S607 - wherever the site keeps it
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.strip().partition("=") for line in answer.stdout.splitlines())
    return {key: value for key, _, value in pairs}


def _ask(command: Sequence[str]) -> str:
    """Run a command; what went wrong, in a line, empty where nothing did."""
    try:
        answer = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} gave no answer within {PATIENCE_SECONDS} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    said = " ".join((answer.stderr or answer.stdout).split())
    return "" if answer.returncode == 0 else said or f"exit code {answer.returncode}"
