from dataclasses import replace

import pytest

from brats_lightning.data.feeding.feed import Feed, Machine, choose_feed
from brats_lightning.errors import ConfigError

GB = 10**9
GPU, NO_GPU = Machine(80 * GB, 100 * GB), Machine(0, 100 * GB)


@pytest.mark.parametrize(
    ("wish", "needed", "machine", "place"),
    [
        ("auto", 6, GPU, "device"),
        ("auto", 39, GPU, "device"),
        ("auto", 41, GPU, "host"),  # half of the GPU is the network's
        ("auto", 76, GPU, "workers"),
        ("auto", 6, NO_GPU, "host"),
        ("device", 70, GPU, "device"),  # the user knows how small the network is
        ("device", 74, GPU, "host"),
        ("device", 76, GPU, "workers"),
        ("host", 6, GPU, "host"),
        ("host", 76, GPU, "workers"),
        ("workers", 6, GPU, "workers"),
    ],
)
def test_the_fastest_feed_that_fits_is_taken(wish: Feed, needed: int, machine: Machine, place: str) -> None:
    choice = choose_feed(wish, needed=needed * GB, machine=machine)
    assert choice.place == place
    assert choice.otherwise == (wish not in {"auto", place})


def test_the_log_says_what_was_chosen_and_why() -> None:
    def said(wish: Feed, needed: int, machine: Machine) -> str:
        return choose_feed(wish, needed=needed * GB, machine=machine).said

    assert said("auto", 6, GPU) == "cases: 6.0 GB on the GPU (of 80.0 GB free)"
    assert said("auto", 6, NO_GPU) == "cases: 6.0 GB in main memory (of 100.0 GB free)"
    assert said("device", 74, GPU) == (
        "cases: 74.0 GB in main memory (of 100.0 GB free), "
        "too much for the GPU (80.0 GB free, 10% kept for the network)"
    )
    assert said("auto", 76, GPU) == (
        "cases: 76.0 GB, too much for the GPU (80.0 GB free, 50% kept for the network) and "
        "too much for main memory (100.0 GB free, 25% kept): read by worker processes"
    )
    small = choose_feed("auto", needed=12_300_000, machine=NO_GPU).said
    assert small.startswith("cases: 12 MB in main memory")


def test_the_log_says_what_each_of_several_processes_keeps() -> None:
    def said(needed: int, machine: Machine, *, in_memory: bool = False) -> str:
        return choose_feed("auto", needed=needed * GB, machine=machine, in_memory=in_memory).said

    four, four_on_cpu = replace(GPU, processes=4), replace(NO_GPU, processes=4)
    assert said(6, four) == "cases: 6.0 GB on each of 4 GPUs (of 80.0 GB free)"
    assert said(6, four_on_cpu) == "cases: 6.0 GB in main memory, shared by 4 processes (of 100.0 GB free)"
    assert said(6, four_on_cpu, in_memory=True) == (
        "cases: 6.0 GB in main memory, a copy for each of 4 processes (100.0 GB free beside them)"
    )


@pytest.mark.parametrize("processes", [1, 8])
def test_pages_of_files_count_once_whoever_reads_them(processes: int) -> None:
    for needed, place in ((70, "host"), (76, "workers")):
        machine = replace(NO_GPU, processes=processes)
        assert choose_feed("auto", needed=needed * GB, machine=machine).place == place


def test_what_is_in_memory_already_takes_no_more_of_it() -> None:
    choice = choose_feed("auto", needed=60 * GB, machine=Machine(0, 30 * GB, 2), in_memory=True)
    assert choice.place == "host"
    assert choice.said.endswith("(30.0 GB free beside them)")


def test_what_only_workers_can_do_is_theirs() -> None:
    assert choose_feed("auto", needed=0, machine=GPU, needs_workers="MONAI").place == "workers"
    wishes: tuple[Feed, ...] = ("device", "host")
    for wish in wishes:
        with pytest.raises(
            ConfigError, match=rf"data\.feed: {wish} is not possible here: MONAI; set data.feed to work"
        ):
            choose_feed(wish, needed=0, machine=GPU, needs_workers="MONAI")


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.feed: device needs training on an NVIDIA GPU, and this run uses none"
    ):
        choose_feed("device", needed=GB, machine=NO_GPU)
