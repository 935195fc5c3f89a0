"""A process that uses a run's folder, as it describes itself to others, and whether it is still there."""

import json
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from brats_lightning.cluster.allocation import Job
from brats_lightning.machine import is_running

FORGOTTEN_SECONDS = 120.0
"""So long after its last sign of life, a process of which nothing else is known counts as gone."""
PATIENCE_SECONDS = 15.0
"""For `squeue`, which a busy controller may leave without an answer."""
_MOST_PROCESSES = 1 << 31
_STOPPED = {"SUSPENDED", "STOPPED"}
_RUNNING = {"RUNNING", "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT"}


@dataclass(frozen=True)
class Holder:
    """Who uses a folder.

    Args:
        mark: Drawn at random, so that no two are equal; empty where a file told nothing.
        machine: Its name.
        kernel: Where its process number means something: machine since its start, and which of its containers.
        process: Its number.
        born: When the process was started, as the kernel counts; numbers are given again.
        job: SLURM's, empty outside of one.
        cluster: Of that job: another cluster on the same disks has numbers of its own.
        restarts: How often the job was put back into the queue.
        since: When it began, for people.
    """

    mark: str
    machine: str
    kernel: str
    process: int
    born: str
    job: str = ""
    cluster: str = ""
    restarts: int = 0
    since: str = ""

    def __str__(self) -> str:
        if not self.mark:
            return "a process that has only begun to say who it is"
        process = f"process {self.process} on {self.machine}"
        return f"job {self.job} ({process})" if self.job else process

    @property
    def json(self) -> str:
        """As it stands in a file."""
        return json.dumps(asdict(self), indent=1)

    @property
    def cure(self) -> str:
        """What a person can do about it."""
        if not self.mark:
            return f"try again after {FORGOTTEN_SECONDS:.0f} s"
        end = f"scancel {self.job}" if self.job else f"kill {self.process} on {self.machine}"
        forgotten = "" if self.is_here else f" (if it was killed, it counts as gone after {FORGOTTEN_SECONDS:.0f} s)"
        return f"wait for it, or end it with `{end}`{forgotten}"

    @property
    def is_here(self) -> bool:
        """Whether its process number is one of this machine's."""
        return (self.machine, self.kernel) == (socket.gethostname(), _kernel())


def this_process(job: Job | None, variables: Mapping[str, str] = os.environ) -> Holder:
    """The description of this process, with a new mark."""
    return Holder(
        mark=uuid4().hex,
        machine=socket.gethostname(),
        kernel=_kernel(),
        process=os.getpid(),
        born=_born(os.getpid()) or "",
        job=job.id if job else "",
        cluster=variables.get("SLURM_CLUSTER_NAME", "") if job else "",
        restarts=job.restarts if job else 0,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def from_json(text: str) -> Holder:
    """What a file says; one without a mark where it was cut short, or is another version's."""
    nobody = Holder(mark="", machine="", kernel="", process=0, born="")
    try:
        told = Holder(**json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return nobody
    for field in fields(Holder):
        value = getattr(told, field.name)
        if type(value) is not type(getattr(nobody, field.name)) or (isinstance(value, str) and not value.isprintable()):
            return nobody
    return told if 0 <= told.process < _MOST_PROCESSES else nobody


def lives(holder: Holder, asker: Holder, *, silent_seconds: float) -> bool:
    """Whether a process still uses its folder, as far as another can find out.

    Args:
        holder: The one in question.
        asker: The one that wants to know. The same job after a restart always takes over: where a node was lost, the
            old copy may still be running there.
        silent_seconds: Since the holder's last sign of life.
    """
    recent = silent_seconds < FORGOTTEN_SECONDS
    same_cluster = bool(holder.job and asker.job) and holder.cluster == asker.cluster
    if same_cluster and holder.job == asker.job and holder.restarts != asker.restarts:
        return holder.restarts > asker.restarts
    if holder.is_here:
        return _is_process(holder.process, holder.born)
    if same_cluster and (states := _states(holder.job)) is not None:
        return bool(states & _STOPPED) or (bool(states & _RUNNING) and recent)
    return recent


def _states(job: str) -> set[str] | None:
    """What SLURM says of a job, nothing where it has forgotten it; None where it gives no answer."""
    try:
        answer = subprocess.run(  # noqa: S603
            ["squeue", "--noheader", "--jobs", job, "--format", "%T"],  # noqa: S607 - wherever the site keeps it
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode == 0:
        return set(answer.stdout.split())
    return set() if "Invalid job id" in answer.stderr else None


def _is_process(number: int, born: str) -> bool:
    """Whether a process of this machine runs, and is the one that was meant."""
    now = _born(number)
    return is_running(number) if now is None else now == born


def _born(process: int) -> str | None:
    """When a process was started, in ticks since the machine was; empty if it has ended, None if that is not told."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()  # a program's name may hold anything
    return "" if state in "ZX" else fields[18]  # a container's first process often does not bury its children


def _kernel() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
