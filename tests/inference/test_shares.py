import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from brats_lightning.cluster.allocation import Task
from brats_lightning.errors import ConfigError
from brats_lightning.inference.shares import Share, device_of, own_share

CASES = range(23)


def test_a_process_by_itself_takes_every_case() -> None:
    assert own_share(task=Task()) == Share(0, 1, 0)
    assert list(Share().of(CASES)) == list(CASES)


@given(st.integers(1, 6), st.integers(1, 6))
def test_parts_and_their_tasks_share_the_cases(parts: int, ranks: int) -> None:
    together: list[int] = []
    for number in range(1, parts + 1):
        part = [
            case
            for rank in range(ranks)
            for case in own_share(f"{number}/{parts}", task=Task(rank, ranks, rank)).of(CASES)
        ]
        assert sorted(part) == list(CASES)[number - 1 :: parts]  # however many tasks do it
        together += part
    assert sorted(together) == list(CASES)


def test_tasks_keep_their_place_on_their_machine() -> None:
    assert own_share("2/3", task=Task(rank=5, ranks=8, local_rank=1)).local_rank == 1


@pytest.mark.parametrize("part", ["", "3", "0/8", "9/8", "-1/8", "1/0", "3/8/2", "1.5/8", "a/b", "3 of 8"])
def test_a_part_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(ConfigError, match=f"--share {part}: expected a part and the number of parts, 1/8 to 8/8"):
        own_share(part, task=Task())


def test_processes_of_one_machine_take_its_gpus_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    devices = [device_of("auto", Share(rank, 4, rank)) for rank in range(4)]
    assert [str(device) for device in devices] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert str(device_of("cuda:1", Share())) == "cuda:1"


def test_without_a_gpu_the_processor_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert device_of("auto", Share()) == torch.device("cpu")
    with pytest.raises(ConfigError, match="finds no GPU"):
        device_of("cuda", Share())


def test_a_device_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="there are 1 GPUs"):
        device_of("cuda:7", Share())
    with pytest.raises(ConfigError, match="'gpu' is none"):
        device_of("gpu", Share())
