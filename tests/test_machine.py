import os
import subprocess
import sys

import pytest

from brats_lightning.machine import is_running, usable_cores


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {3, 5, 7}, raising=False)
    assert usable_cores() == 3


@pytest.mark.parametrize(("count", "expected"), [(6, 6), (None, 1)])
def test_where_the_system_tells_no_more_every_core_counts(
    monkeypatch: pytest.MonkeyPatch, count: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert usable_cores() == expected


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
