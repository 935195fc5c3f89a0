import socket
import threading
import time

import pytest

from brats_lightning.cluster.rendezvous import MeetingPlace, first_node, rendezvous, within
from brats_lightning.errors import ConfigError

STEP = {
    "SLURM_JOB_ID": "1153",
    "SLURM_JOB_NODELIST": "n[2-4]",
    "SLURM_PROCID": "0",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "n[3-4]",
    "SLURM_STEP_NUM_TASKS": "2",
}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("n[3-5,7],m1", "n3"),
        ("n[007,010-012]", "n007"),
        ("gpu-a[1-2]-b[3,4]", "gpu-a1-b3"),
        ("127.0.0.[2-3]", "127.0.0.2"),
        ("n[3-5].site.org,m[1-2]", "n3.site.org"),
        ("", ""),
    ],
)
def test_the_first_of_a_list_of_nodes(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


def test_a_step_meets_on_the_first_of_its_own_nodes() -> None:
    assert rendezvous(STEP) == ("n3", 15_000 + 2 * 1153)


def test_steps_and_jobs_side_by_side_have_ports_of_their_own() -> None:
    places = [
        rendezvous(STEP | {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)})[1]
        for job in range(99_990, 100_010)
        for step in range(20)
    ]
    assert len(set(places)) == len(places)
    assert all(15_000 <= port < 25_000 and port % 2 == 0 for port in places)


def test_an_interactive_step_of_huge_number_has_a_port() -> None:
    assert 15_000 <= rendezvous(STEP | {"SLURM_STEP_ID": "4294967290"})[1] < 25_000


def test_what_is_set_already_wins() -> None:
    assert rendezvous(STEP | {"MASTER_ADDR": "n9"}) == ("n9", 15_000 + 2 * 1153)
    assert rendezvous(STEP | {"MASTER_PORT": "29500"}) == ("n3", 29500)
    assert rendezvous({"MASTER_ADDR": "n9", "MASTER_PORT": "29500"}) == ("n9", 29500)


@pytest.mark.parametrize("port", ["", "ssh", "0", "65535", "-1"])
def test_a_port_that_is_none_is_told(port: str) -> None:
    with pytest.raises(ConfigError, match=f"MASTER_PORT is '{port}': expected a number from 1 to 65534"):
        rendezvous(STEP | {"MASTER_PORT": port})


def test_other_launchers_must_say_where() -> None:
    with pytest.raises(ConfigError, match="MASTER_ADDR and MASTER_PORT are not set"):
        rendezvous({"RANK": "0", "WORLD_SIZE": "2"})


@pytest.mark.parametrize("taken", [0, 1], ids=["Lightning's", "ours"])
def test_a_port_that_is_taken_is_told_before_anything_waits(taken: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        place = MeetingPlace({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port - taken)})
        with pytest.raises(
            ConfigError, match=rf"port {port} of \S+ is not free \(Address already in use\): set MASTER_"
        ):
            place.open(1)


def test_what_takes_too_long_is_given_up() -> None:
    released = threading.Event()
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="gave no answer for"):
        within(0.05, released.wait)
    assert time.monotonic() - began < 5
    released.set()
    assert within(5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
