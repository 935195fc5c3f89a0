import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from jsonargparse import Namespace
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import Trainer

from brats_lightning.cluster.allocation import Task
from brats_lightning.errors import ConfigError
from brats_lightning.experiment.processes import say_processes, trainer_settings
from brats_lightning.model.checkpoint_files import WholeCheckpoints
from brats_lightning.model.replicas import Replicas

ALONE = Task()
NODES = Task(rank=5, ranks=6, local_rank=1, ranks_here=2, nodes=3, launcher="srun")
"""Two tasks on each of three nodes."""
TORCHRUN = Task(rank=1, ranks=2, local_rank=1, ranks_here=2, launcher="torchrun")
VARIABLES = ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NNODES", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One without a GPU, outside of SLURM, where rank 0 can be met."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # recorded, so that what the program sets is undone
        monkeypatch.delenv(name)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("brats_lightning.experiment.processes.rendezvous", lambda: ("n1", 15234))
    return monkeypatch


def wished(**settings: Any) -> Namespace:
    return Namespace(**({"devices": "auto", "num_nodes": 1, "accelerator": "auto", "strategy": "auto"} | settings))


def kinds(settings: dict[str, Any]) -> list[type]:
    return [type(plugin) for plugin in settings["plugins"]]


def test_a_process_alone_only_saves_whole_checkpoints() -> None:
    settings = trainer_settings(wished(), ALONE)
    assert kinds(settings) == [WholeCheckpoints]
    assert settings.keys() == {"plugins"}


@pytest.mark.parametrize(("task", "expected"), [(NODES, (2, 3)), (TORCHRUN, (2, 1)), (Task(launcher="srun"), (1, 1))])
@pytest.mark.parametrize("devices", ["auto", -1, "-1"])
def test_what_was_launched_is_what_trains(task: Task, expected: tuple[int, int], devices: int | str) -> None:
    settings = trainer_settings(wished(devices=devices), task)
    assert (settings["devices"], settings["num_nodes"]) == expected
    assert isinstance(settings.get("strategy"), Replicas) is (task.ranks > 1)


@pytest.mark.parametrize("devices", [2, "2", [0, 1], "0,1", "0, 1", "0,1,"])
def test_settings_that_say_the_same_are_welcome(devices: Any) -> None:
    settings = trainer_settings(wished(devices=devices, num_nodes=3), NODES)
    assert (settings["devices"], settings["num_nodes"]) == (2, 3)


@pytest.mark.parametrize(
    ("settings", "task", "words"),
    [
        ({"devices": 1}, NODES, r"trainer.devices is 1, and srun has started 2 tasks a node.*--ntasks-per-node=1$"),
        ({"devices": "3"}, TORCHRUN, "trainer.devices is 3, and torchrun has started 2 tasks a node"),
        ({"devices": "0,"}, NODES, "trainer.devices is 0,, and srun has started 2 tasks a node"),
        ({"num_nodes": 2}, NODES, "trainer.num_nodes is 2, and srun has started tasks on 3: expected the same"),
        ({}, Task(0, 3, 0, 2, 2, "srun"), "3 tasks on 2 nodes are not the same number on each: expected --nodes"),
        ({"devices": "two"}, NODES, "trainer.devices is 'two': expected a number, GPUs such as 0,1, or auto"),
        ({"devices": "two"}, ALONE, "trainer.devices is 'two'"),
        ({"devices": "0,x"}, ALONE, "trainer.devices is '0,x'"),
    ],
)
def test_settings_that_contradict_are_refused_in_a_sentence(settings: dict[str, Any], task: Task, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        trainer_settings(wished(**settings), task)


@pytest.mark.parametrize(
    ("accelerator", "gpus", "refused"),
    [("auto", 1, True), ("gpu", 1, True), ("gpu", 2, False), ("auto", 0, False), ("cpu", 1, False)],
)
def test_tasks_that_would_share_a_gpu_are_refused(
    machine: pytest.MonkeyPatch, accelerator: str, gpus: int, refused: bool
) -> None:
    machine.setattr(torch.cuda, "device_count", lambda: gpus)
    if refused:
        with pytest.raises(ConfigError, match=r"each with its own GPU, and this one sees 1: .*--gpus-per-node"):
            trainer_settings(wished(accelerator=accelerator), NODES)
    else:
        assert trainer_settings(wished(accelerator=accelerator), NODES)["devices"] == 2


@pytest.mark.parametrize(
    ("settings", "gpus", "replicas"),
    [
        ({}, 0, False),
        ({}, 1, False),
        ({}, 4, True),
        ({"accelerator": "cpu"}, 4, False),
        ({"accelerator": "cpu", "devices": 2}, 0, True),
        ({"devices": "2"}, 4, True),
        ({"devices": [1]}, 4, False),
        ({"devices": "1,"}, 4, False),  # Lightning's way to name the second GPU
        ({"devices": "1,3", "strategy": "ddp"}, 4, True),
        ({"devices": 2, "strategy": "fsdp"}, 4, False),
        ({"devices": 2, "strategy": Namespace(class_path="pytorch_lightning.strategies.DDPStrategy")}, 4, False),
    ],
)
def test_several_processes_without_a_launcher_are_replicas_unless_chosen_otherwise(
    machine: pytest.MonkeyPatch, settings: dict[str, Any], gpus: int, replicas: bool
) -> None:
    machine.setattr(torch.cuda, "device_count", lambda: gpus)
    assert isinstance(trainer_settings(wished(**settings), ALONE).get("strategy"), Replicas) is replicas


def test_a_slurm_step_is_lightnings_too_but_it_does_not_put_the_job_back(machine: pytest.MonkeyPatch) -> None:
    """The batch script's numbers are those of another step where a step has fewer tasks than its job."""
    machine.setenv("SLURM_NTASKS_PER_NODE", "7")
    settings = trainer_settings(wished(), NODES)
    (slurm,) = [plugin for plugin in settings["plugins"] if isinstance(plugin, SLURMEnvironment)]
    assert not slurm.auto_requeue
    names = ("SLURM_NTASKS_PER_NODE", "SLURM_NNODES", "MASTER_ADDR", "MASTER_PORT")
    assert [os.environ[name] for name in names] == ["2", "3", "n1", "15234"]


def test_a_process_that_srun_did_not_start_is_alone_in_its_job(
    machine: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine.setenv("SLURM_JOB_ID", "17")
    machine.setenv("SLURM_NTASKS", "4")
    assert kinds(trainer_settings(wished(), ALONE)) == [WholeCheckpoints, LightningEnvironment]
    assert "this job has 4 tasks, and this process is one alone: start it by srun" in caplog.text
    caplog.clear()
    machine.setenv("SLURM_NTASKS", "1")
    trainer_settings(wished(), ALONE)
    assert not caplog.text


@pytest.mark.parametrize("strategy", ["deepspeed_stage_2", Namespace(class_path="x.ModelParallelStrategy")])
def test_a_strategy_that_writes_folders_does_so_itself(strategy: Any) -> None:
    assert kinds(trainer_settings(wished(devices=2, strategy=strategy), ALONE)) == []


@pytest.mark.parametrize(
    ("world", "nodes", "batches", "words"),
    [
        (1, 1, 1, ""),
        (2, 1, 1, "2 processes on one node: a step is 6 samples, a batch of 3 from each"),
        (8, 2, 4, "8 processes on 2 nodes: a step is 96 samples, 4 batches of 3 from each"),
    ],
)
def test_what_several_processes_do_together_is_said_once(
    caplog: pytest.LogCaptureFixture, world: int, nodes: int, batches: int, words: str
) -> None:
    caplog.set_level(logging.INFO, "brats_lightning")
    for first in (True, False):
        trainer: Any = SimpleNamespace(
            world_size=world, is_global_zero=first, num_nodes=nodes, accumulate_grad_batches=batches
        )
        say_processes(trainer, batch_size=3)
    assert caplog.messages == [words] * bool(words)


def test_a_trainer_takes_these_settings() -> None:
    settings = trainer_settings(wished(devices=2, accelerator="cpu"), ALONE)
    trainer = Trainer(accelerator="cpu", devices=2, logger=False, **settings)
    assert isinstance(trainer.strategy, Replicas)
    assert trainer.world_size == 2
    assert isinstance(trainer.strategy.checkpoint_io, WholeCheckpoints)


@pytest.mark.parametrize("task", [ALONE, Task(launcher="srun"), NODES])
@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
def test_gpus_that_were_given_and_are_not_seen_are_missed(
    machine: pytest.MonkeyPatch, task: Task, accelerator: str
) -> None:
    """Otherwise a broken driver, or a container without GPUs, would train on the CPU for days."""
    machine.setenv("SLURM_GPUS_ON_NODE", "4")
    with pytest.raises(ConfigError, match=r"gave this job 4 GPUs here, and PyTorch sees none: .*accelerator cpu"):
        trainer_settings(wished(accelerator=accelerator), task)
    trainer_settings(wished(accelerator="cpu"), task)
    machine.setattr(torch.cuda, "device_count", lambda: 4)
    trainer_settings(wished(accelerator=accelerator), task)
