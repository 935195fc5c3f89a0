"""Where the processes of one job find each other: rank 0's machine, and a port that all know without asking."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from typing import Protocol, TypeVar

from brats_lightning.cluster.allocation import in_step
from brats_lightning.errors import ConfigError

FIRST_PORT, PAIRS = 15_000, 5_000
"""Below the ports that systems give out by themselves, which begin at 32,768. Each step of a job has a pair."""
STEP = 37
"""Steps of one job, and of the jobs after it, get ports that lie apart."""
POLL_SECONDS = 0.1
ENTRY_SECONDS = 60.0
"""For PyTorch to be imported on a slow disk, and for a server to say that it is one of ours."""
T = TypeVar("T")


class Store(Protocol):
    """What is used of the one of PyTorch, which is imported only when it is needed."""

    def set(self, key: str, value: str, /) -> None:
        """Leave something for the others."""

    def get(self, key: str, /) -> bytes:
        """What another left."""

    def check(self, keys: list[str], /) -> bool:
        """Whether all of these are there."""


def rendezvous(variables: Mapping[str, str] = os.environ) -> tuple[str, int]:
    """Address and port for the processes of this step, or of this torchrun; the port behind it is free for `roll_call`.

    Lightning takes the port from the job alone, so that two steps of a job collide, and the address from the job's
    first machine, which a step on some of them may not have.

    Raises:
        ConfigError: MASTER_PORT is none, or nothing tells where to meet.
    """
    address, port = variables.get("MASTER_ADDR"), variables.get("MASTER_PORT")
    if port is not None and not (port.isdecimal() and 0 < int(port) < 65_535):
        raise ConfigError(f"MASTER_PORT is {port!r}: expected a number from 1 to 65534, or leave it unset")
    if not in_step(variables) and not (address and port):
        raise ConfigError("MASTER_ADDR and MASTER_PORT are not set, which the program that started RANK should do")
    pair = _number(variables, "SLURM_JOB_ID") + STEP * _number(variables, "SLURM_STEP_ID")
    return (
        address or first_node(variables.get("SLURM_STEP_NODELIST", "")) or "127.0.0.1",
        int(port) if port else FIRST_PORT + 2 * (pair % PAIRS),
    )


def first_node(nodes: str) -> str:
    """The first name of a list as SLURM writes it.

    >>> first_node("n[3-5,7],m1"), first_node("rack[01-02]n[1,3]"), first_node("127.0.0.[2-3]")
    ('n3', 'rack01n1', '127.0.0.2')
    """
    first = re.match(r"(?:[^\[,]|\[[^\]]*\])*", nodes)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first.group()) if first else ""


class MeetingPlace:
    """A store that all processes of a step, or of torchrun, read and write.

    torchrun keeps one at the address that it hands out; elsewhere rank 0 opens one, at the port behind Lightning's.
    """

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        self.address, main_port = rendezvous(variables)
        self._is_kept = variables.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        self._ports = (main_port,) if self._is_kept else (main_port, main_port + 1)
        # Another job that happens to have the same port, or torchrun's last attempt, is not this meeting.
        named = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
        self._meeting = ".".join(["brats", *(variables.get(name, "") for name in named)])

    def __str__(self) -> str:
        return f"{self.address}:{self._ports[-1]}"

    def open(self, patience_seconds: float) -> Store:
        """For rank 0.

        Raises:
            ConfigError: A port is not free.
        """
        if self._is_kept:
            try:
                return self.enter(patience_seconds)
            except TimeoutError as error:
                raise ConfigError(f"torchrun's own store at {self} {error}") from error
        for port in self._ports:
            _expect_free(port)
        return self._store("localhost", patience_seconds, is_master=True)

    def enter(self, patience_seconds: float) -> Store:
        """For the others, who may come before rank 0 does.

        Raises:
            TimeoutError: It did not come.
        """
        until = time.monotonic() + patience_seconds
        while True:
            try:
                # PyTorch would wait as well, and complain on stderr all the time.
                socket.create_connection((self.address, self._ports[-1]), timeout=5).close()
                return within(ENTRY_SECONDS, lambda: self._store(self.address, patience_seconds, is_master=False))
            except (OSError, RuntimeError) as error:  # RuntimeError: it has just closed
                if time.monotonic() > until:
                    why = getattr(error, "strerror", None) or error
                    raise TimeoutError(f"did not answer within {patience_seconds:.0f} s ({why})") from error
            time.sleep(POLL_SECONDS)

    def _store(self, host: str, patience_seconds: float, *, is_master: bool) -> Store:
        from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # noqa: PLC0415 - takes long

        limit = timedelta(seconds=patience_seconds)
        tcp = TCPStore(host, self._ports[-1], is_master=is_master, timeout=limit, wait_for_workers=False)
        store: Store = PrefixStore(self._meeting, tcp)
        return store


def within(seconds: float, function: Callable[[], T]) -> T:
    """What a function gives, unless it takes longer: PyTorch's store has no limit of its own for a silent server.

    Raises:
        TimeoutError: It did; its thread goes on waiting, and ends with the process.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return result.result(timeout=seconds)
    except TimeoutError as error:
        raise TimeoutError(str(error) or f"gave no answer for {seconds:.0f} s") from error


def _expect_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen()
        except OSError as error:
            raise ConfigError(
                f"port {port} of {socket.gethostname()} is not free ({error.strerror}): set MASTER_PORT to another"
            ) from error


def _number(variables: Mapping[str, str], name: str) -> int:
    text = variables.get(name, "")
    return int(text) if text.isdecimal() else 0
