import pytest
import torch

from brats_lightning.errors import ConfigError
from brats_lightning.inference.shares import Share, device_of, own_share

SEVERAL = (
    "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE",
)  # fmt: skip


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in SEVERAL:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_process_by_itself_takes_every_case(alone: pytest.MonkeyPatch) -> None:
    assert own_share() == Share(0, 1, 0)


def test_tasks_of_srun_share_the_cases(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("SLURM_PROCID", "3")
    alone.setenv("SLURM_STEP_NUM_TASKS", "4")
    alone.setenv("SLURM_LOCALID", "1")
    assert own_share() == Share(3, 4, 1)


def test_a_batch_script_without_srun_is_alone_whatever_its_job_has(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("SLURM_PROCID", "0")
    alone.setenv("SLURM_NTASKS", "4")
    assert own_share() == Share(0, 1, 0)


def test_processes_of_torchrun_share_the_cases(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("RANK", "1")
    alone.setenv("WORLD_SIZE", "2")
    alone.setenv("LOCAL_RANK", "1")
    alone.setenv("LOCAL_WORLD_SIZE", "2")
    assert own_share() == Share(1, 2, 1, beside=2)


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
