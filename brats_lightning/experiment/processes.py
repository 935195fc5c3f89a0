"""How many processes a run has: what srun, torchrun or the trainer's settings say, brought to agree."""

import logging
import os
from typing import Any

import torch
from jsonargparse import Namespace
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning import Trainer

from brats_lightning.cluster.allocation import Task, own_job
from brats_lightning.cluster.facts import gpus_given
from brats_lightning.cluster.rendezvous import rendezvous
from brats_lightning.errors import ConfigError
from brats_lightning.model.checkpoint_files import WholeCheckpoints
from brats_lightning.model.replicas import Replicas

ALL = ("auto", "-1", -1)
GPU = ("auto", "gpu", "cuda")
log = logging.getLogger("brats_lightning")


def trainer_settings(wished: Namespace, task: Task) -> dict[str, Any]:
    """Arguments of the trainer that follow from what launched this process.

    Args:
        wished: The trainer's settings in the configuration.
        task: This process.

    Raises:
        ConfigError: The settings contradict what was launched, or the machine.
    """
    settings: dict[str, Any] = {}
    if wished.accelerator in GPU and not _gpus() and (given := gpus_given()):
        raise ConfigError(
            f"SLURM gave this job {given} GPUs here, and PyTorch sees none: see what nvidia-smi says (a container "
            "needs --nv, and PyTorch a build for CUDA), or train without by --trainer.accelerator cpu"
        )
    if task.launcher in {"srun", "torchrun"}:
        settings = {"devices": _devices(wished, task), "num_nodes": _nodes(wished, task)}
        processes = task.ranks
    else:
        _hint_at_srun()
        processes = _count(wished.devices) or (_gpus() if wished.accelerator in GPU else 0) or 1
    if processes > 1 and isinstance(wished.strategy, str) and wished.strategy in {"auto", "ddp"}:
        settings["strategy"] = Replicas()
    plugins: list[Any] = [WholeCheckpoints()] if _writes_files(wished.strategy) else []
    if task.launcher in {"srun", "torchrun"} and task.ranks > 1:
        address, port = rendezvous()
        os.environ.update(MASTER_ADDR=address, MASTER_PORT=str(port))
    if task.launcher == "srun":
        # Lightning refuses tasks that were asked for without this, and saves in its signal handler, which can hang.
        os.environ["SLURM_NTASKS_PER_NODE"] = str(task.ranks_here)
        os.environ["SLURM_NNODES"] = str(task.nodes)
        plugins.append(SLURMEnvironment(auto_requeue=False))
    elif not task.launcher and own_job() is not None:
        # Within an allocation Lightning waits for its other tasks, which nobody has started.
        plugins.append(LightningEnvironment())
    return settings | {"plugins": plugins}


def say_processes(trainer: Trainer, *, batch_size: int) -> None:
    """One line on what several processes do together."""
    if trainer.world_size == 1 or not trainer.is_global_zero:
        return
    where = f"{trainer.num_nodes} nodes" if trainer.num_nodes > 1 else "one node"
    batches = trainer.accumulate_grad_batches
    gathered = f"{batches} batches" if batches > 1 else "a batch"
    samples = trainer.world_size * batches * batch_size
    log.info(
        "%d processes on %s: a step is %d samples, %s of %d from each",
        trainer.world_size,
        where,
        samples,
        gathered,
        batch_size,
    )


def _devices(wished: Namespace, task: Task) -> int:
    if task.ranks != task.ranks_here * task.nodes:
        raise ConfigError(
            f"{task.ranks} tasks on {task.nodes} nodes are not the same number on each: "
            "expected --nodes and --ntasks-per-node instead of --ntasks"
        )
    found = _count(wished.devices)
    asked = "--ntasks-per-node" if task.launcher == "srun" else "--nproc-per-node"
    if found and found != task.ranks_here:
        raise ConfigError(
            f"trainer.devices is {wished.devices}, and {task.launcher} has started {task.ranks_here} tasks a node: "
            f"expected the same; leave trainer.devices at auto, or ask for {asked}={found}"
        )
    if wished.accelerator in GPU and 0 < _gpus() < task.ranks_here:
        raise ConfigError(
            f"{task.ranks_here} tasks a node, each with its own GPU, and this one sees {_gpus()}: ask for as many GPUs "
            "a node (--gpus-per-node), and leave out --gpus-per-task and --gpu-bind, which hide them from each other"
        )
    return task.ranks_here


def _nodes(wished: Namespace, task: Task) -> int:
    if wished.num_nodes not in {1, task.nodes}:
        raise ConfigError(
            f"trainer.num_nodes is {wished.num_nodes}, and {task.launcher} has started tasks on {task.nodes}: expected "
            "the same; leave trainer.num_nodes out"
        )
    return task.nodes


def _count(devices: int | str | list[int]) -> int:
    """Devices wished for by number or by name, 0 for all there are."""
    if devices in ALL:
        return 0
    if not isinstance(devices, str):
        return devices if isinstance(devices, int) else len(devices)
    names = [name for name in devices.split(",") if name.strip()]
    if not all(name.strip().isdecimal() for name in names):
        raise ConfigError(f"trainer.devices is {devices!r}: expected a number, GPUs such as 0,1, or auto")
    return len(names) if "," in devices else int(devices)


def _gpus() -> int:
    return torch.cuda.device_count()


def _writes_files(strategy: str | Namespace) -> bool:
    """Whether a strategy lets others write its checkpoints: some write folders of pieces."""
    name = strategy if isinstance(strategy, str) else str(strategy.class_path)
    return not any(word in name.lower() for word in ("deepspeed", "modelparallel"))


def _hint_at_srun() -> None:
    tasks = int(os.environ.get("SLURM_NTASKS") or 1)
    if own_job() is not None and tasks > 1:
        log.warning("this job has %d tasks, and this process is one alone: start it by srun to use them all", tasks)
