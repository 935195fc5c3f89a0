import pytest

from brats_lightning.cluster.allocation import Job, Task, in_step, own_job, own_task

# Of `sbatch --nodes=3 --ntasks-per-node=2 --array=3-3`, SLURM 22.05: what its script sees, and what a step adds.
BATCH = {
    "SLURM_ARRAY_JOB_ID": "1153",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_GTIDS": "0",
    "SLURM_JOB_ID": "1154",
    "SLURM_JOB_NODELIST": "n[2-4]",
    "SLURM_LOCALID": "0",
    "SLURM_NNODES": "3",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "6",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "0",
    "SLURM_TASKS_PER_NODE": "2(x3)",
}
STEP = BATCH | {
    "SLURM_GTIDS": "4,5",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_PROCID": "5",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "n[2-4]",
    "SLURM_STEP_NUM_NODES": "3",
    "SLURM_STEP_NUM_TASKS": "6",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
}
SMALL_STEP = STEP | {  # srun --nodes=2 --ntasks=3, of which this is the last
    "SLURM_GTIDS": "2",
    "SLURM_LOCALID": "0",
    "SLURM_NNODES": "2",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "3",
    "SLURM_PROCID": "2",
    "SLURM_STEP_ID": "1",
    "SLURM_STEP_NODELIST": "n[2-3]",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_TASKS_PER_NODE": "2,1",
}
TORCHRUN = {
    "GROUP_RANK": "1",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "n1",
    "MASTER_PORT": "29500",
    "RANK": "5",
    "TORCHELASTIC_RUN_ID": "none",
    "WORLD_SIZE": "8",
}


def test_a_person_starts_one() -> None:
    assert own_task({}) == own_task({"PATH": "/bin"}) == Task(0, 1, 0, 1, 1, "")


def test_a_batch_script_is_one_whatever_its_job_asked_for() -> None:
    assert own_task(BATCH) == Task()
    assert not in_step(BATCH)


def test_tasks_of_steps_are_counted_by_the_step() -> None:
    assert own_task(STEP) == Task(rank=5, ranks=6, local_rank=1, ranks_here=2, nodes=3, launcher="srun")
    assert own_task(SMALL_STEP) == Task(rank=2, ranks=3, local_rank=0, ranks_here=1, nodes=2, launcher="srun")
    assert own_task(SMALL_STEP | {"SLURM_PROCID": "1", "SLURM_NODEID": "0"}).ranks_here == 2
    assert in_step(STEP)


def test_one_task_of_srun_is_started_by_srun() -> None:
    alone = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}
    assert own_task(alone) == Task(launcher="srun")


@pytest.mark.parametrize("around", [{}, BATCH, STEP], ids=["person", "batch", "srun"])
def test_torchrun_counts_wherever_it_was_started(around: dict[str, str]) -> None:
    assert own_task(around | TORCHRUN) == Task(5, 8, 1, 4, 2, "torchrun")


@pytest.mark.parametrize("around", [{}, BATCH], ids=["person", "batch"])
def test_copies_that_lightning_starts_know_their_number(around: dict[str, str]) -> None:
    assert own_task(around | {"LOCAL_RANK": "1", "WORLD_SIZE": "2"}) == Task(1, 2, 1, 2, 1, "lightning")


def test_a_job_is_called_as_scontrol_takes_it() -> None:
    assert own_job({}) is None
    assert own_job({"SLURM_JOB_ID": ""}) is None
    assert own_job({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1"}) == Job("7", "n1", 0)
    assert own_job(STEP) == Job("1153_3", "n[2-4]", 0)


def test_a_job_counts_how_often_it_was_put_back() -> None:
    job = own_job(STEP | {"SLURM_RESTART_COUNT": "2"})
    assert job is not None
    assert job.facts == {"job": "1153_3", "nodes": "n[2-4]", "restarts": 2}
