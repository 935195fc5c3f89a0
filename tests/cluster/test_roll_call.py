import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from brats_lightning.cluster import rendezvous
from brats_lightning.cluster import roll_call as module
from brats_lightning.cluster.allocation import own_task
from brats_lightning.cluster.facts import Facts
from brats_lightning.cluster.roll_call import PATIENCE, Dismissed, roll_call
from brats_lightning.errors import ConfigError

ON_RANK = Path(__file__).with_name("answer_on_rank.py")
LONG = 60.0


@pytest.fixture
def port() -> int:
    """The first of two that are free, for Lightning and for the roll call."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("", port))
                second.bind(("", port + 1))
            except OSError:
                continue
            return port


def step(port: int, ranks: int, rank: int) -> dict[str, str]:
    """What a task of srun sees, one on each machine."""
    return {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "SLURM_JOB_ID": "12",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": str(rank),
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_NODES": str(ranks),
        "SLURM_STEP_NUM_TASKS": str(ranks),
        "SLURM_STEP_TASKS_PER_NODE": f"1(x{ranks})",
    }


class Call:
    """A roll call whose processes are threads.

    Args:
        port: Where they meet.
        ranks: How many there should be.
    """

    def __init__(self, port: int, ranks: int) -> None:
        self._port, self._ranks = port, ranks
        self.prepared: list[int] = []
        self.fails: Exception | None = None
        self.facts: dict[int, Facts] = {}
        self.variables: dict[int, dict[str, str]] = {}

    def answer(self, rank: int, patience_seconds: float) -> dict[str, str] | Exception:
        """What comes of it for one of them."""
        variables = step(self._port, self._ranks, rank) | self.variables.get(rank, {})

        def prepare() -> dict[str, str]:
            self.prepared.append(rank)
            if self.fails is not None:
                raise self.fails
            return {"run": "runs/here"}

        facts = self.facts.get(rank, Facts(rank, f"n{rank}"))
        try:
            return roll_call(
                own_task(variables),
                facts,
                prepare=prepare,
                patience_seconds=patience_seconds,
                variables=variables,
            )
        except (ConfigError, Dismissed, ZeroDivisionError) as error:
            return error

    def hold(self, ranks: Sequence[int], *, patience_seconds: float = LONG) -> list[dict[str, str] | Exception]:
        """What comes of it for those who come, in this order."""
        with ThreadPoolExecutor(len(ranks)) as pool:
            answers = []
            for rank in ranks:
                answers.append(pool.submit(self.answer, rank, patience_seconds))
                time.sleep(0.05)
            return [answer.result() for answer in answers]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_all_get_what_the_first_prepared(port: int, order: Sequence[int]) -> None:
    call = Call(port, 3)
    assert call.hold(order) == [{"run": "runs/here"}] * 3
    assert call.prepared == [0]


def test_the_port_can_be_used_again_at_once(port: int) -> None:
    for _ in range(3):
        assert Call(port, 2).hold((0, 1)) == [{"run": "runs/here"}] * 2


def test_one_that_was_started_alone_prepares() -> None:
    call = Call(1, 1)
    assert call.answer(0, 1) == {"run": "runs/here"}
    copy = own_task({"LOCAL_RANK": "1", "WORLD_SIZE": "2"})
    assert roll_call(copy, Facts(1, "n0"), prepare=lambda: {"run": "another"}) == {}


@pytest.mark.parametrize("error", [ConfigError("the folder is taken"), ZeroDivisionError("a bug")])
def test_if_the_first_cannot_prepare_all_leave_and_it_alone_speaks(port: int, error: Exception) -> None:
    call = Call(port, 3)
    call.fails = error
    first, *others = call.hold((0, 1, 2))
    assert first is error
    assert [type(other) for other in others] == [Dismissed, Dismissed]


def test_if_one_cannot_start_nobody_does_and_nothing_is_prepared(port: int) -> None:
    call = Call(port, 3)
    call.facts[2] = Facts(2, "n2", problem="no such configuration")
    first, *others = call.hold((0, 1, 2))
    assert str(first) == "n2: no such configuration"
    assert [type(other) for other in others] == [Dismissed, Dismissed]
    assert not call.prepared


def test_those_who_do_not_come_are_counted(port: int) -> None:
    call = Call(port, 4)
    first, second = call.hold((0, 1), patience_seconds=1)
    assert str(first).startswith("2 of 4 processes did not come within 1 s (ranks 2, 3): see what they wrote, and ")
    assert f"reach 127.0.0.1:{port + 1}; {PATIENCE} gives them more time" in str(first)
    assert isinstance(second, Dismissed)


def test_a_first_that_never_comes_is_told_by_one_of_each_machine(port: int) -> None:
    call = Call(port, 4)
    call.variables = {3: {"SLURM_LOCALID": "1"}}
    second, third, fourth = call.hold((1, 2, 3), patience_seconds=0.5)
    for rank, said in ((1, second), (2, third)):
        assert isinstance(said, ConfigError)
        assert str(said).startswith(
            f"process {rank} on n{rank} waited for process 0 at 127.0.0.1:{port + 1}, "
            "which did not answer within 0 s (Connection refused): see what that one wrote"
        )
    assert isinstance(fourth, Dismissed)


def test_a_process_of_another_job_is_not_taken_for_one_of_this(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PREPARATION_SECONDS", 0.0)
    call = Call(port, 2)
    call.variables = {1: {"SLURM_JOB_ID": "13"}}
    first, second = call.hold((0, 1), patience_seconds=1)
    assert "1 of 2 processes did not come within 1 s (rank 1)" in str(first)
    assert isinstance(second, ConfigError)


def test_another_program_at_the_port_is_no_hang(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "ENTRY_SECONDS", 0.3)
    call = Call(port, 2)
    with socket.create_server(("127.0.0.1", port + 1)):
        first, second = call.hold((0, 1), patience_seconds=0.3)
    assert f"port {port + 1} of " in str(first)
    assert "which did not answer within 0 s (gave no answer for 0 s)" in str(second)


def test_sites_can_give_more_time(port: int) -> None:
    variables = step(port, 2, 0) | {PATIENCE: "0.1"}
    with pytest.raises(ConfigError, match=r"did not come within 0 s \(rank 1\)"):
        roll_call(own_task(variables), Facts(0, "n0"), variables=variables)
    variables[PATIENCE] = "long"
    with pytest.raises(ConfigError, match=f"{PATIENCE} is 'long': expected a number of seconds"):
        roll_call(own_task(variables), Facts(0, "n0"), variables=variables)


def start(variables: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MASTER", "TORCH"))}
    return subprocess.Popen(
        [sys.executable, str(ON_RANK), *arguments],
        env=clean | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_processes_start_together(port: int) -> None:
    started = [start(step(port, 2, rank), str(LONG)) for rank in range(2)]
    said = [json.loads(process.communicate(timeout=LONG)[0]) for process in started]
    assert said[0]["values"] == said[1]["values"] == {"run": f"claimed by {started[0].pid}"}


@pytest.mark.slow
def test_a_first_that_is_killed_in_the_middle_leaves_nobody_waiting(port: int) -> None:
    first, second = (start(step(port, 2, rank), str(LONG), "{}", "die") for rank in range(2))
    said = json.loads(second.communicate(timeout=LONG)[0])
    first.communicate(timeout=LONG)
    assert first.returncode == -signal.SIGKILL
    assert "process 0 at 127.0.0.1" in said["said"]
    assert "which went away" in said["said"]
    assert said["seconds"] < LONG / 2


@pytest.mark.slow
def test_the_processes_of_torchrun_meet_at_its_own_store() -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*torchrun, str(ON_RANK), str(LONG)], capture_output=True, text=True, check=True, timeout=2 * LONG
    )
    said = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert sorted(one["rank"] for one in said) == [0, 1]
    first = next(one for one in said if one["rank"] == 0)
    assert [one["values"] for one in said] == [{"run": f"claimed by {first['process']}"}] * 2
