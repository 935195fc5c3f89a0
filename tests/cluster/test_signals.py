import os
import signal
import subprocess
import sys

import pytest

from brats_lightning.cluster import signals
from brats_lightning.cluster.signals import Stopped

KILL_ME = "os.kill(os.getpid(), signal.{})"


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a process of its own that does this."""
    code = "\n".join(["import os, signal, sys, time", "from brats_lightning.cluster import signals", *lines])
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_a_process_that_did_not_ask_dies_of_the_signal() -> None:
    assert run(KILL_ME.format("SIGUSR1")).returncode == -signal.SIGUSR1


def test_the_signal_is_only_noted() -> None:
    ended = run(
        "signals.listen()",
        "print(signals.asked())",
        KILL_ME.format("SIGUSR1"),
        KILL_ME.format("SIGUSR1"),
        "print(signals.asked())",
        "signals.forget()",
        "print(signals.asked())",
    )
    assert (ended.returncode, ended.stdout.split()) == (0, ["None", "SIGUSR1", "None"])


def test_termination_ends_a_process_unless_it_asked_for_that_too() -> None:
    assert run("signals.listen()", KILL_ME.format("SIGTERM")).returncode == -signal.SIGTERM
    asked = run("signals.listen(also_terminate=True)", KILL_ME.format("SIGTERM"), "print(signals.asked())")
    assert (asked.returncode, asked.stdout.strip()) == (0, "SIGTERM")


def test_the_first_of_several_signals_counts() -> None:
    both = [KILL_ME.format("SIGUSR1"), KILL_ME.format("SIGTERM")]
    assert run("signals.listen(also_terminate=True)", *both, "print(signals.asked())").stdout.strip() == "SIGUSR1"
    assert run("signals.listen(also_terminate=True)", *both[::-1], "print(signals.asked())").stdout.strip() == "SIGTERM"


def test_a_process_that_leaves_by_itself_is_not_terminated() -> None:
    assert run("signals.ignore_termination()", KILL_ME.format("SIGTERM"), "print('here')").stdout.strip() == "here"


def test_a_forked_worker_notes_nothing_and_still_can_be_terminated() -> None:
    ended = run(
        "signals.listen(also_terminate=True)",
        "child = os.fork()",
        "if child == 0:",
        "    os.kill(os.getpid(), signal.SIGUSR1)",
        "    print(signals.asked(), flush=True)",
        "    os.kill(os.getpid(), signal.SIGTERM)",
        "    time.sleep(30)",
        "    os._exit(0)",
        "status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])",
        "print(status, signals.asked())",
    )
    assert ended.stdout.splitlines() == ["None", f"{-signal.SIGTERM} None"], ended.stderr


def test_a_wait_goes_on_after_the_signal() -> None:
    ended = run(
        "import threading",
        "signals.listen()",
        "threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()",
        "began = time.monotonic()",
        "time.sleep(0.5)",
        "print(signals.asked(), time.monotonic() - began >= 0.5)",
    )
    assert ended.stdout.split() == ["SIGUSR1", "True"]


@pytest.fixture
def listening() -> object:
    """This process asks for the signal, for the length of a test."""
    before = signal.getsignal(signal.SIGUSR1)
    signals.listen()
    yield
    signal.signal(signal.SIGUSR1, before)
    signals.forget()


def test_work_whose_parts_are_kept_stops_between_them(listening: object) -> None:
    signals.stop_if_asked()
    os.kill(os.getpid(), signal.SIGUSR1)
    with pytest.raises(Stopped, match="stopped by SIGUSR1") as stopped:
        signals.stop_if_asked()
    assert stopped.value.requeues
    assert not Stopped("SIGTERM").requeues
