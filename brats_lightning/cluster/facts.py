"""What each process of a job knows of its machine, and what of it keeps them from working together."""

import json
import os
import socket
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from brats_lightning.cluster.allocation import Task

_DRIVER = Path("/proc/driver/nvidia/gpus")
_MODEL = "Model:"


@dataclass(frozen=True)
class Facts:
    """One process and its machine.

    Args:
        rank: Number of the process.
        machine: As the batch system calls it.
        program: Version of this program.
        torch: Version of PyTorch.
        gpus: That PyTorch sees.
        gpus_given: That the batch system says were given to the job on this machine, 0 where it says nothing.
        gpu_models: Names of the machine's GPUs, each once, where the driver tells them.
        commit: Of this program, where it is known.
        folder: That it works in, where all of them should work in one.
        unreadable: Paths that it needs and cannot read.
        problem: Why it cannot start, in a sentence.
    """

    rank: int
    machine: str
    program: str = ""
    torch: str = ""
    gpus: int = 0
    gpus_given: int = 0
    gpu_models: tuple[str, ...] = ()
    commit: str = ""
    folder: str = ""
    unreadable: tuple[str, ...] = ()
    problem: str = ""

    @property
    def json(self) -> str:
        """To be handed over."""
        return json.dumps(asdict(self))


def from_json(text: str) -> Facts:
    """Facts of another process, whose version of the program may know more of them, or fewer."""
    told = json.loads(text)
    known: dict[str, Any] = {field.name: told[field.name] for field in fields(Facts) if field.name in told}
    lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
    return Facts(**{**known, **lists})


def own_facts(
    task: Task,
    *,
    reads: Sequence[Path] = (),
    commit: str = "",
    problem: str = "",
    variables: Mapping[str, str] = os.environ,
) -> Facts:
    """What this process knows.

    Args:
        task: This process.
        reads: Files and folders that it needs.
        commit: Of this program, where it is known.
        problem: Why it cannot start, if it knows that already.
        variables: The environment.
    """
    import torch  # noqa: PLC0415 - takes a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a broken driver: said once, by rank 0
        gpus = torch.cuda.device_count()
    try:
        folder = str(Path.cwd()) if task.launcher == "srun" else ""
    except FileNotFoundError:
        folder, problem = "", problem or "the working folder is not there any more"
    return Facts(
        rank=task.rank,
        machine=variables.get("SLURMD_NODENAME") or socket.gethostname(),
        program=_program(),
        torch=torch.__version__,
        gpus=gpus,
        gpus_given=gpus_given(variables),
        gpu_models=_gpu_models(),
        commit=commit,
        folder=folder,
        unreadable=tuple(str(path) for path in reads if not os.access(path, os.R_OK)),
        problem=problem,
    )


def objection(told: Sequence[Facts]) -> str:
    """Why these processes cannot work together, in a sentence; empty if they can.

    Args:
        told: Of all that came, by rank.
    """
    problems = {facts.machine: facts.problem for facts in reversed(told) if facts.problem}
    unreadable = {facts.machine: facts.unreadable for facts in told if facts.unreadable}
    if problems:
        having = {problem: [name for name in problems if problems[name] == problem] for problem in problems.values()}
        return "; ".join(f"{_listed(names)}: {problem}" for problem, names in having.items())
    if unreadable:
        machines, paths = ", ".join(unreadable), ", ".join(dict.fromkeys(sum(unreadable.values(), ())))
        return f"{paths} cannot be read on {machines}: is the disk mounted there, and may you read it?"
    return (
        _difference(told, "program", "brats_lightning is not the same everywhere", "use one installation for all")
        or _difference(told, "commit", "brats_lightning is not the same everywhere", "use one installation for all")
        or _difference(told, "torch", "PyTorch is not the same everywhere", "use one installation for all")
        or _difference(told, "folder", "the working folder is not the same everywhere", "is the disk mounted there?")
        or _blind(told)
        or _short(told)
    )


def remark(told: Sequence[Facts]) -> str:
    """What slows these processes down, in a sentence; empty if nothing is known to.

    Args:
        told: Of all, by rank.
    """
    models = {", ".join(facts.gpu_models): facts.machine for facts in reversed(told) if facts.gpus}
    if len(models) < 2:
        return ""
    listed = "; ".join(f"{model or 'unknown'} on {machine}" for model, machine in models.items())
    return f"GPUs differ between machines ({listed}): all wait for the slowest"


def _difference(told: Sequence[Facts], name: str, what: str, cure: str) -> str:
    machines: dict[str, list[str]] = {}
    for facts in told:
        if value := str(getattr(facts, name)):
            machines.setdefault(value, []).append(facts.machine)
    if len(machines) < 2:
        return ""
    listed = "; ".join(f"{value} on {_listed(names)}" for value, names in machines.items())
    return f"{what} ({listed}): {cure}"


def _blind(told: Sequence[Facts]) -> str:
    """A GPU that one process has and another has not. Where none has one, they agree: a CPU was meant."""
    blind = [facts for facts in told if not facts.gpus]
    if not blind or len(blind) == len(told):
        return ""
    machines = dict.fromkeys(facts.machine for facts in blind)
    names, given = _listed(list(machines)), blind[0].gpus_given
    if not given:
        seeing = _listed([facts.machine for facts in told if facts.gpus])
        return f"PyTorch sees no GPU on {names}, and some on {seeing}: see what nvidia-smi says on {names}"
    return (
        f"{names} was given {given} GPUs and PyTorch sees none: "
        f"leave it out with --exclude={','.join(machines)}, or see what nvidia-smi says there"
    )


def _short(told: Sequence[Facts]) -> str:
    """One GPU missing of several. Processes of one machine may see one each, so each machine's best counts."""
    seen: dict[str, int] = {}
    for facts in told:
        seen[facts.machine] = max(facts.gpus, seen.get(facts.machine, 0))
    given = {facts.machine: facts.gpus_given for facts in told if facts.gpus_given}
    for machine, count in seen.items():
        alike = [other for other in given if given[other] == given.get(machine) and seen[other] > count]
        if alike:
            return (
                f"{machine} was given {given[machine]} GPUs and PyTorch sees {count}, {seen[alike[0]]} on {alike[0]}: "
                f"leave it out with --exclude={machine}, or see what nvidia-smi says there"
            )
    return ""


def _listed(names: Sequence[str], most: int = 8) -> str:
    once = list(dict.fromkeys(names))
    return ", ".join(once[:most]) + (f" and {len(once) - most} more" if len(once) > most else "")


def _program() -> str:
    try:
        return version("brats-lightning")
    except PackageNotFoundError:  # a checkout on the path
        return ""


def gpus_given(variables: Mapping[str, str] = os.environ) -> int:
    """GPUs that the batch system gave to the job on this machine, 0 where it says nothing."""
    count = variables.get("SLURM_GPUS_ON_NODE", "")
    if count.isdecimal():
        return int(count)
    listed = variables.get("SLURM_STEP_GPUS") or variables.get("SLURM_JOB_GPUS") or ""
    return len(listed.split(",")) if listed else 0


def _gpu_models() -> tuple[str, ...]:
    """From the driver's own files: asking CUDA would take memory of the first GPU for each process."""
    told = sorted(_DRIVER.glob("*/information"))
    lines = [line for path in told for line in path.read_text(errors="replace").splitlines()]
    return tuple(sorted({line.removeprefix(_MODEL).strip() for line in lines if line.startswith(_MODEL)}))
