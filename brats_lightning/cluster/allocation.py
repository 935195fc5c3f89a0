"""What launched this process, and what else it launched: SLURM, torchrun, Lightning, or a person."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

_GOLDEN_SECTION = (5**0.5 - 1) / 2
_TORCHRUN = "TORCHELASTIC_RUN_ID"


@dataclass(frozen=True)
class Task:
    """This process among those that work together.

    Args:
        rank: Number of this process.
        ranks: Of all processes.
        local_rank: Number of this process on its machine.
        ranks_here: Processes on this machine.
        nodes: Machines.
        launcher: Who started it: `srun`, `torchrun`, `lightning` (a copy for a further GPU), or nobody.
    """

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0
    ranks_here: int = 1
    nodes: int = 1
    launcher: str = ""


@dataclass(frozen=True)
class Job:
    """The SLURM job that this process belongs to.

    Args:
        id: As `scontrol` takes it: `123`, or `120_3` for an element of an array.
        nodes: Names of its machines, as SLURM writes them: `n[1-4]`.
        restarts: How often it was put back into the queue.
    """

    id: str
    nodes: str
    restarts: int

    @property
    def facts(self) -> dict[str, str | int]:
        """For a run's record."""
        return {"job": self.id, "nodes": self.nodes, "restarts": self.restarts}


def own_task(variables: Mapping[str, str] = os.environ) -> Task:
    """This process, as its launcher describes it; one alone where none did.

    A batch script itself sees its job's number of tasks too, but is one process: only `srun` numbers steps.
    """

    def number(name: str, default: int) -> int:
        text = variables.get(name, "")
        return int(text) if text.isdigit() else default

    is_torchrun = _TORCHRUN in variables  # within srun too, which then starts one torchrun a machine
    if in_step(variables) and not is_torchrun:
        ranks, nodes = number("SLURM_STEP_NUM_TASKS", 1), number("SLURM_STEP_NUM_NODES", 1)
        node = number("SLURM_NODEID", 0)
        here = _tasks_of_nodes(variables.get("SLURM_STEP_TASKS_PER_NODE", ""))
        ranks_here = here[node] if node < len(here) else -(-ranks // nodes)
        return Task(number("SLURM_PROCID", 0), ranks, number("SLURM_LOCALID", 0), ranks_here, nodes, "srun")
    if is_torchrun or ("RANK" in variables and "WORLD_SIZE" in variables):
        ranks, here_ = number("WORLD_SIZE", 1), number("LOCAL_WORLD_SIZE", 1)
        return Task(number("RANK", 0), ranks, number("LOCAL_RANK", 0), here_, -(-ranks // here_), "torchrun")
    if "LOCAL_RANK" in variables:
        local, ranks = number("LOCAL_RANK", 0), number("WORLD_SIZE", 1)
        return Task(local, ranks, local, ranks, 1, "lightning")
    return Task()


def in_step(variables: Mapping[str, str] = os.environ) -> bool:
    """Whether `srun` started this process."""
    return "SLURM_PROCID" in variables and "SLURM_STEP_NUM_TASKS" in variables


def own_job(variables: Mapping[str, str] = os.environ) -> Job | None:
    """The SLURM job around this process, None outside of one."""
    plain = variables.get("SLURM_JOB_ID")
    if not plain:
        return None
    array, element = variables.get("SLURM_ARRAY_JOB_ID"), variables.get("SLURM_ARRAY_TASK_ID")
    return Job(
        id=f"{array}_{element}" if array and element else plain,
        nodes=variables.get("SLURM_JOB_NODELIST", ""),
        restarts=int(variables.get("SLURM_RESTART_COUNT") or 0),
    )


def starting_place(variables: Mapping[str, str] = os.environ) -> float:
    """Where in a list this process begins, 0 to 1, when all processes of a step or of an array work through it.

    Multiples of the golden section lie far from each other for any run of numbers, and no process need know how many
    there are: elements of an array may have any numbers.
    """
    task, element = own_task(variables), variables.get("SLURM_ARRAY_TASK_ID", "")
    number = (int(element) if element.isdigit() else 0) * task.ranks + task.rank
    return number * _GOLDEN_SECTION % 1


def _tasks_of_nodes(text: str) -> list[int]:
    """Tasks of each node of `2(x3),1`.

    >>> _tasks_of_nodes("2(x3),1")
    [2, 2, 2, 1]
    """
    tasks: list[int] = []
    for part in filter(None, text.split(",")):
        count, _, times = part.rstrip(")").partition("(x")
        tasks += [int(count)] * int(times or 1)
    return tasks
