import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from brats_lightning.cluster import facts as module
from brats_lightning.cluster.allocation import Task
from brats_lightning.cluster.facts import Facts, from_json, objection, own_facts, remark

GOOD = Facts(0, "n0", "1.0", "2.13", 4, 4, ("H200",), "abc", "/home")


def told(count: int, **of_the_last: object) -> list[Facts]:
    """Processes of as many machines that agree, but for what the last one says."""
    facts = [replace(GOOD, rank=rank, machine=f"n{rank}") for rank in range(count)]
    return [*facts[:-1], replace(facts[-1], **of_the_last)]  # type: ignore[arg-type]


def test_processes_that_agree_may_start() -> None:
    assert not objection(told(4))
    assert not remark(told(4))
    assert not objection([replace(GOOD, gpus=0)])


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            {"gpus": 0},
            "n2 was given 4 GPUs and PyTorch sees none: leave it out with --exclude=n2, or see what nvidia-smi says",
        ),
        ({"gpus": 3}, "n2 was given 4 GPUs and PyTorch sees 3, 4 on n0: leave it out with --exclude=n2"),
        ({"gpus": 0, "gpus_given": 0}, "PyTorch sees no GPU on n2, and some on n0, n1: see what nvidia-smi says on n2"),
        ({"program": "1.1"}, "brats_lightning is not the same everywhere (1.0 on n0, n1; 1.1 on n2): use one"),
        ({"commit": "def"}, "brats_lightning is not the same everywhere (abc on n0, n1; def on n2): use one"),
        ({"torch": "2.6"}, "PyTorch is not the same everywhere (2.13 on n0, n1; 2.6 on n2): use one installation"),
        ({"folder": "/tmp"}, "the working folder is not the same everywhere (/home on n0, n1; /tmp on n2): is the"),  # noqa: S108
        ({"unreadable": ("/data", "/x")}, "/data, /x cannot be read on n2: is the disk mounted there"),
        ({"problem": "no such file"}, "n2: no such file"),
    ],
)
def test_one_that_differs_is_named(said: dict[str, object], sentence: str) -> None:
    assert objection(told(3, **said)).startswith(sentence)
    assert "\n" not in objection(told(3, **said))


@pytest.mark.parametrize(
    "alike",
    [
        [replace(facts, gpus=0) for facts in told(3)],  # a run on CPUs, wherever it is
        told(3, gpus=2, gpus_given=2),  # machines of different size
        [replace(facts, gpus=1) for facts in told(3)],  # each task sees its own GPU alone
        told(3, commit=""),
        told(3, folder=""),
        told(3, gpu_models=("A100",)),
    ],
)
def test_what_may_differ_is_no_objection(alike: list[Facts]) -> None:
    assert not objection(alike)


def test_gpus_of_one_machine_are_counted_once() -> None:
    tasks = [replace(GOOD, rank=rank, machine=f"n{rank // 2}") for rank in range(6)]
    tasks[4:] = [replace(task, gpus=0) for task in tasks[4:]]
    assert objection(tasks).startswith("n2 was given 4 GPUs")
    assert "n2, n2" not in objection(tasks)


def test_of_many_machines_the_first_are_listed() -> None:
    facts = told(70, torch="2.6")
    assert "n0, n1, n2, n3, n4, n5, n6, n7 and 61 more; 2.6 on n69" in objection(facts)


def test_every_blind_machine_can_be_left_out_at_once() -> None:
    facts = [replace(GOOD, rank=rank, machine=f"n{rank:02}", gpus=4 * (rank < 2)) for rank in range(14)]
    excluded = re.search(r"--exclude=(\S+),", objection(facts))
    assert excluded is not None
    assert excluded.group(1).split(",") == [f"n{rank:02}" for rank in range(2, 14)]


def test_different_gpus_are_remarked_on() -> None:
    facts = told(3, gpu_models=("A100",))
    assert remark(facts) == "GPUs differ between machines (A100 on n2; H200 on n0): all wait for the slowest"
    assert not remark([replace(one, gpus=0) for one in facts])


def test_facts_come_over_whole_and_from_other_versions_in_part() -> None:
    assert from_json(GOOD.json) == GOOD
    other = {"rank": 3, "machine": "n3", "program": "9.0", "weather": "fine"}
    assert from_json(json.dumps(other)) == Facts(3, "n3", "9.0")


def test_a_process_knows_its_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {"SLURMD_NODENAME": "n7", "SLURM_GPUS_ON_NODE": "4"}
    task = Task(3, 4, 1, 2, 2, "srun")
    facts = own_facts(task, reads=[tmp_path, tmp_path / "absent"], commit="abc", variables=variables)
    assert (facts.rank, facts.machine, facts.gpus_given, facts.commit) == (3, "n7", 4, "abc")
    assert (facts.torch, facts.gpus) == (torch.__version__, torch.cuda.device_count())
    assert facts.unreadable == (str(tmp_path / "absent"),)
    assert facts.folder == str(tmp_path)
    assert not own_facts(replace(task, launcher="torchrun"), variables=variables).folder


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({}, 0),
        ({"SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_GPUS": "0,1,2"}, 2),
        ({"SLURM_STEP_GPUS": "1,3"}, 2),
        ({"SLURM_JOB_GPUS": "5"}, 1),
    ],
)
def test_the_batch_system_tells_what_it_gave(variables: dict[str, str], count: int) -> None:
    assert own_facts(Task(), variables=variables).gpus_given == count


def test_a_working_folder_that_is_gone_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    facts = own_facts(Task(launcher="srun"))
    monkeypatch.chdir(tmp_path)
    assert "working folder is not there any more" in objection([facts])


def test_the_driver_names_its_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, model in enumerate(["NVIDIA H200", "NVIDIA A100", "NVIDIA H200"]):
        path = tmp_path / str(number) / "information"
        path.parent.mkdir()
        path.write_text(f"Model: \t\t {model}\nIRQ:   \t\t 10\n")
    monkeypatch.setattr(module, "_DRIVER", tmp_path)
    assert own_facts(Task()).gpu_models == ("NVIDIA A100", "NVIDIA H200")
