import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from brats_lightning.errors import CheckpointError, ConfigError
from brats_lightning.runs import (
    CHECKPOINTS,
    CONFIG,
    claim_run,
    discard_if_empty,
    find_checkpoint,
    last_checkpoint,
    name_of_run,
    run_of_checkpoint,
)

STEP = {
    "SLURM_JOB_ID": "1234",
    "SLURM_PROCID": "0",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NUM_NODES": "2",
}
"""What `srun` tells the first of two tasks."""
ARRAY = {"SLURM_ARRAY_JOB_ID": "1200", "SLURM_ARRAY_TASK_ID": "3"}
TASK_VARIABLES = ("BRATS_RUN", "LOCAL_RANK", "RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", *STEP, *ARRAY)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A shell in an empty folder that no launcher has started anything from."""
    for name in TASK_VARIABLES:
        monkeypatch.setenv(name, "")  # recorded, so that what the program sets is undone
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def launch(shell: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """A process that a launcher has told these."""
    for name in TASK_VARIABLES:
        shell.delenv(name, raising=False)
    for name, value in variables.items():
        shell.setenv(name, value)


def claim(name: str = "unet3d", *, given: Path | None = None, continues: bool = False, again: bool = False) -> Path:
    return claim_run(name, given=given, continues=continues, again=again)


def checkpoint_in(run: Path, name: str = "last") -> Path:
    path = run / CHECKPOINTS / f"{name}.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"epoch": torch.tensor(1)}, path)
    return path


def test_a_run_is_named_and_numbered() -> None:
    assert [str(claim()) for _ in range(3)] == ["runs/unet3d", "runs/unet3d-2", "runs/unet3d-3"]
    assert claim("other") == Path("runs/other")
    assert all(Path(name).is_dir() for name in ("runs/unet3d", "runs/unet3d-3", "runs/other"))


def test_a_freed_number_is_taken_again_and_a_file_is_passed_by() -> None:
    Path("runs").mkdir()
    Path("runs/unet3d").write_text("no folder")
    assert claim() == Path("runs/unet3d-2")
    discard_if_empty(Path("runs/unet3d-2"))
    assert claim() == Path("runs/unet3d-2")


def test_threads_claim_folders_of_their_own() -> None:
    together = threading.Barrier(16)

    def rush() -> Path:
        together.wait()
        return claim()

    with ThreadPoolExecutor(16) as pool:
        claimed = [task.result() for task in [pool.submit(rush) for _ in range(16)]]
    assert {path.name for path in claimed} == {"unet3d", *(f"unet3d-{number}" for number in range(2, 17))}


def test_processes_claim_folders_of_their_own(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    code = "from brats_lightning.runs import *; input(); print(claim_run('unet3d', given=None, continues=False))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    claimed = [process.communicate(timeout=60)[0].strip() for process in started]
    assert sorted(claimed) == ["runs/unet3d", "runs/unet3d-2", "runs/unet3d-3", "runs/unet3d-4"]


def test_a_given_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "b"
    assert claim(given=wanted) == wanted
    assert wanted.is_dir()
    assert claim(given=wanted) == wanted  # nothing in it is lost


def test_a_folder_with_checkpoints_is_only_gone_on_with(tmp_path: Path) -> None:
    checkpoint_in(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"run holds a run with checkpoints: go on with it by --ckpt_path last"):
        claim(given=tmp_path / "run")
    assert "BRATS_RUN" not in os.environ
    assert claim(given=tmp_path / "run", continues=True) == tmp_path / "run"


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file cannot be made \(File exists\): give another --run"):
        claim(given=tmp_path / "file")
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match=r"runs/unet3d cannot be made \(Not a directory\)"):
        claim()


def test_processes_for_further_gpus_inherit_the_folder(alone: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = claim()
    assert claim() != first  # another run of the same shell does not
    inherited = Path(os.environ["BRATS_RUN"])
    checkpoint_in(inherited)
    alone.setenv("LOCAL_RANK", "1")
    alone.chdir("/")
    assert claim() == claim(given=Path("elsewhere")) == inherited == tmp_path / "runs" / "unet3d-2"


def test_a_copy_of_this_process_may_be_the_first_of_another_run(alone: pytest.MonkeyPatch) -> None:
    """Only further processes inherit: what a run starts by itself, such as another training, has its own."""
    first = claim()
    launch(alone, {"BRATS_RUN": str(first.resolve()), "LOCAL_RANK": "0"})
    assert claim() != first


def test_a_slurm_run_is_named_after_its_job(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("SLURM_JOB_ID", "1234")
    assert claim() == Path("runs/unet3d")  # a shell inside an allocation is no task
    launch(alone, STEP)
    assert claim() == Path("runs/unet3d-1234")
    launch(alone, STEP | ARRAY)
    assert claim() == Path("runs/unet3d-1200_3")


def test_all_tasks_of_a_slurm_job_share_a_folder(alone: pytest.MonkeyPatch) -> None:
    """The first one's, which the others are told."""
    launch(alone, STEP)
    first = claim().absolute()
    alone.setenv("SLURM_PROCID", "1")
    checkpoint_in(first)
    alone.chdir("/")
    assert claim() == first == Path(os.environ["BRATS_RUN"])


def test_steps_of_a_slurm_job_that_run_side_by_side_have_folders_of_their_own(alone: pytest.MonkeyPatch) -> None:
    launch(alone, STEP)
    for step, name in (("0", "unet3d-1234"), ("1", "unet3d-1234.1"), ("2", "unet3d-1234.2")):
        alone.setenv("SLURM_STEP_ID", step)
        assert claim().name == name


def test_a_second_training_in_a_slurm_job_leaves_the_first_alone(alone: pytest.MonkeyPatch) -> None:
    launch(alone, STEP)
    checkpoint_in(claim())
    launch(alone, STEP)
    assert [claim().name, claim().name] == ["unet3d-1234-2", "unet3d-1234-2"]


def test_torchrun_has_its_folder_numbered_as_a_process_alone_has(alone: pytest.MonkeyPatch) -> None:
    """Its processes meet before the first one claims a folder for all."""
    torchrun = {"TORCHELASTIC_RUN_ID": "none", "LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}
    for name in ("unet3d", "unet3d-2"):
        launch(alone, torchrun)
        assert claim() == Path("runs") / name
    alone.setenv("RANK", "1")
    assert claim() == Path("runs/unet3d-2").absolute()


@pytest.mark.parametrize(
    ("variables", "name"), [({}, "unet3d"), (STEP, "unet3d-1234"), (STEP | ARRAY, "unet3d-1200_3")]
)
def test_the_same_command_again_has_the_same_folder(
    alone: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    """A job that was put back into the queue has its number still, and goes on with what it has saved."""
    for restart in ("", "1", "2"):
        launch(alone, variables | {"SLURM_RESTART_COUNT": restart})
        run = claim(again=True)
        assert run == Path("runs") / name
        checkpoint_in(run)
    launch(alone, variables)
    assert claim() == Path("runs") / f"{name}-2"  # without the wish it is another run


def test_a_given_folder_is_taken_again_too(alone: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checkpoint_in(tmp_path / "mine")
    assert claim(given=tmp_path / "mine", again=True) == tmp_path / "mine"
    assert not Path("runs").exists()


def test_the_last_checkpoint_is_the_runs_own_or_none(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "run") is None
    checkpoint_in(tmp_path / "run", "best")
    (tmp_path / "run" / CHECKPOINTS / ".last.ckpt.n1.17").write_bytes(b"half of one")
    assert last_checkpoint(tmp_path / "run") is None
    assert last_checkpoint(tmp_path / "run") != checkpoint_in(tmp_path / "run")
    assert last_checkpoint(tmp_path / "run") == tmp_path / "run" / CHECKPOINTS / "last.ckpt"


def test_a_folder_is_discarded_only_if_nothing_lies_in_it(tmp_path: Path) -> None:
    run = claim(given=tmp_path / "run")
    (run / CONFIG).write_text("")
    discard_if_empty(run)
    assert run.is_dir()
    (run / CONFIG).unlink()
    discard_if_empty(run)
    assert not run.exists()
    discard_if_empty(run)


def test_best_and_last_are_those_of_the_run(tmp_path: Path) -> None:
    best, last = (checkpoint_in(tmp_path / "run", name) for name in ("best", "last"))
    assert find_checkpoint("best", tmp_path / "run") == best
    assert find_checkpoint("last", tmp_path / "run") == last
    assert find_checkpoint(str(best), None) == find_checkpoint(str(best), tmp_path / "other") == best


def test_a_checkpoint_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--ckpt_path last needs a --run whose last checkpoint is meant"):
        find_checkpoint("last", None)
    with pytest.raises(CheckpointError, match=r"no checkpoint .*checkpoints/best.ckpt: expected a file, or `best`"):
        find_checkpoint("best", tmp_path)
    for wanted in ("missing.ckpt", str(tmp_path), ""):
        with pytest.raises(CheckpointError, match="no checkpoint"):
            find_checkpoint(wanted, tmp_path)


def test_a_checkpoint_that_was_cut_short_is_told(tmp_path: Path) -> None:
    path = checkpoint_in(tmp_path)
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match=r"last\.ckpt is no checkpoint, or one that was cut short"):
            find_checkpoint("last", tmp_path)


def test_the_run_of_a_checkpoint_is_the_folder_that_has_its_configuration(
    alone: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = checkpoint_in(tmp_path / "run")
    assert run_of_checkpoint(path) is None
    (tmp_path / "run" / CONFIG).write_text("")
    assert run_of_checkpoint(path) == tmp_path / "run"
    alone.chdir(path.parent)
    assert run_of_checkpoint(Path("last.ckpt")) == tmp_path / "run"
    assert run_of_checkpoint(path.replace(tmp_path / "run" / "last.ckpt")) is None


def test_without_a_best_checkpoint_the_last_is_named(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no checkpoint .*best.ckpt \(its last one is there: --ckpt_path last\)"):
        find_checkpoint("best", tmp_path)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("runs/unet3d", "unet3d"),
        ("runs/folds/fold-0", "folds/fold-0"),
        ("project/runs/runs-2", "runs-2"),
        ("somebody/unet3d", "unet3d"),
        ("somebody/runs", "runs"),  # a folder of that name with a run in it
        ("runs/archive/runs/old", "old"),
    ],
)
def test_a_run_is_called_by_what_stands_behind_runs(tmp_path: Path, folder: str, name: str) -> None:
    assert name_of_run(tmp_path / folder) == name
    assert name_of_run(Path(folder)) == name
