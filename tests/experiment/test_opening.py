import logging
import subprocess
from pathlib import Path

import pytest
import torch

from brats_lightning.cluster.allocation import Job, Task
from brats_lightning.experiment import opening
from brats_lightning.experiment.opening import commit, say_start

RUN = Path("runs/unet3d")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged, on a machine without a GPU and outside of a job."""
    caplog.set_level(logging.INFO, "brats_lightning")
    monkeypatch.setattr(opening, "own_job", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    return caplog


def test_a_run_says_what_it_is_made_of_where_its_settings_are_and_that_it_begins(
    said: pytest.LogCaptureFixture,
) -> None:
    say_start(Task(), run=RUN, going_on_from=None)
    first, second = said.messages
    assert f"torch {torch.__version__}" in first
    assert first.endswith("; no GPU")
    assert second == "run runs/unet3d, all settings in runs/unet3d/config.yaml; from the beginning"


def test_a_run_says_what_it_goes_on_from_and_where(
    said: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"H{100 * (index // 3 + 1)}")
    for restarts, words in ((0, ""), (3, ", restart 3")):
        said.clear()
        monkeypatch.setattr(opening, "own_job", lambda restarts=restarts: Job("120_3", "n[1-4]", restarts))
        say_start(Task(ranks=4, launcher="srun"), run=RUN, going_on_from="last.ckpt")
        first, second = said.messages
        assert first.endswith(f"; 4 × H100, H200; job 120_3 on n[1-4]{words}")
        assert second.endswith("; going on from last.ckpt")


def test_only_the_first_process_says_it(said: pytest.LogCaptureFixture) -> None:
    say_start(Task(rank=1, ranks=2), run=RUN, going_on_from=None)
    assert not said.messages


def git(folder: Path, *words: str) -> str:
    options = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *options, *words]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return answer.stdout.strip()


def test_the_commit_is_that_of_the_checkout_with_a_mark_where_files_were_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "brats_lightning" / "experiment" / "opening.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(opening, "__file__", str(module))
    assert commit() == ""  # installed, not checked out
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    git(tmp_path, "tag", "-a", "v1", "-m", "a name that says less")
    assert commit() == git(tmp_path, "rev-parse", "--short=9", "HEAD")
    module.write_text("changed")
    assert commit() == git(tmp_path, "rev-parse", "--short=9", "HEAD") + "-dirty"


def test_a_machine_without_git_tells_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "__file__", str(tmp_path / "a" / "b" / "opening.py"))
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == ""
