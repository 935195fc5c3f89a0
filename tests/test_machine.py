import os
import subprocess
import sys

import pytest

from brats_lightning import machine
from brats_lightning.machine import is_running, lent_cores, usable_cores


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {3, 5, 7}, raising=False)
    assert usable_cores({}) == lent_cores() == 3


@pytest.mark.parametrize(("count", "expected"), [(6, 6), (None, 1)])
def test_where_the_system_tells_no_more_every_core_counts(
    monkeypatch: pytest.MonkeyPatch, count: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores({}) == expected


STEP = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_CPUS_ON_NODE": "32"}


@pytest.mark.parametrize(
    ("bound", "variables", "expected"),
    [
        (32, STEP | {"SLURM_CPUS_PER_TASK": "6"}, 6),  # a task that is bound to no cores sees those of all four here
        (6, STEP | {"SLURM_CPUS_PER_TASK": "6"}, 6),
        (4, STEP | {"SLURM_CPUS_PER_TASK": "6"}, 4),
        (32, STEP, 8),
        (8, STEP, 8),
        (32, {"SLURM_CPUS_PER_TASK": "6", "SLURM_CPUS_ON_NODE": "32"}, 32),  # the batch script is alone
        (32, {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "RANK": "5", "WORLD_SIZE": "8"}, 8),  # torchrun
        (32, {"LOCAL_RANK": "1", "WORLD_SIZE": "8"}, 4),  # Lightning
        (32, {"WORLD_SIZE": "8"}, 32),
        (3, {"LOCAL_WORLD_SIZE": "4"}, 1),
        (32, {"LOCAL_WORLD_SIZE": "none"}, 32),
    ],
)
def test_processes_of_one_launcher_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, bound: int, variables: dict[str, str], expected: int
) -> None:
    monkeypatch.setattr(machine, "lent_cores", lambda: bound)
    assert usable_cores(variables) == expected


def test_a_process_runs_until_it_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_running(process.pid)
    process.communicate(b"\n")
    assert not is_running(process.pid)
    assert not is_running(10**30)


def test_another_users_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_process: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    assert is_running(1)


def test_where_asking_would_end_a_process_none_is_asked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda _process, _signal: pytest.fail("it was sent a signal"))
    monkeypatch.setattr(os, "name", "nt")
    assert is_running(1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="about glibc")
@pytest.mark.slow
def test_freed_memory_is_kept_for_the_next_tensor() -> None:
    """In a process of its own, as the setting stays: twenty buffers of 64 MB share the pages of a few."""
    program = (
        "import resource, torch; from brats_lightning.machine import keep_freed_memory as keep; keep()\n"
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "torch.zeros(1 << 24); before = faults()\n"
        "for _ in range(20): torch.ones(1 << 24)\n"
        "print(faults() - before)"
    )
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    pages_of_one = (64 << 20) // os.sysconf("SC_PAGE_SIZE")
    assert int(answer.stdout) < 10 * pages_of_one
