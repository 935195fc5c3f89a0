import logging
import subprocess
import time
from pathlib import Path

import pytest

from brats_lightning.cluster import requeue as module
from brats_lightning.cluster.allocation import Job
from brats_lightning.cluster.requeue import RESUBMIT, requeue

JOB = Job("120_3", "n[1-2]", 1)
SHOWN = """JobId=121 ArrayJobId=120 ArrayTaskId=3 JobName=fit
   Requeue=0 Restarts=1 BatchFlag=1 Reboot=0 ExitCode=0:0
   Command=/home/a b/fit.sbatch configs/unet3d.yaml --data.root /data
   WorkDir=/home/a
"""


class Scontrol:
    """A stand-in for the site's, at the head of the path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "calls"

    def does(self, requeueing: str, *, showing: str = f"cat <<'END'\n{SHOWN}END") -> None:
        program = self._folder / "scontrol"
        program.write_text(
            f'#!/bin/sh\necho "$@" >> {self._log}\ncase $1 in\nrequeue) {requeueing} ;;\nshow) {showing}\n;;\nesac\n'
        )
        program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._log.read_text().splitlines()


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scontrol:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return Scontrol(folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "a run"
    folder.mkdir()
    return folder


def command_in(run: Path) -> str:
    """What is left in a run's folder for a person, without its comment."""
    comment, command = (run / RESUBMIT).read_text().splitlines()
    assert comment.startswith("# Job 120_3 was stopped and could not be re-queued (")
    return command


def test_a_job_is_put_back_by_its_number(scontrol: Scontrol, run: Path) -> None:
    scontrol.does("exit 0")
    assert requeue(JOB, run=run)
    assert scontrol.calls == ["requeue 120_3"]
    assert not list(run.iterdir())


def test_a_site_that_allows_none_leaves_the_command(
    scontrol: Scontrol, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scontrol.does("echo 'Requested operation is presently disabled' >&2; exit 1")
    with caplog.at_level(logging.WARNING, "brats_lightning"):
        assert not requeue(JOB, run=run)
    assert "job 120_3 cannot be re-queued here (Requested operation is presently disabled): submit it" in caplog.text
    assert command_in(run).startswith(f"cd /home/a && RUN='{run}' sbatch ")
    assert command_in(run).endswith("fit.sbatch configs/unet3d.yaml --data.root /data")
    assert command_in(run) in caplog.text


def test_a_line_left_behind_is_one_a_shell_reads_anywhere(
    scontrol: Scontrol, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    scontrol.does("exit 1", showing="printf 'Command=fit.sbatch configs/a;b.yaml\\n WorkDir=/tmp/..\\n'")
    assert not requeue(JOB, run=Path(run.name))
    shell = subprocess.run(
        ["/bin/sh", "-c", f'sbatch() {{ printf "%s\\n" "$PWD" "$RUN" "$@"; }}\n{command_in(run)}'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shell.stdout.splitlines() == ["/", str(run), "fit.sbatch", "configs/a;b.yaml"]


def test_where_there_is_no_scontrol_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert not requeue(JOB, run=run)
    assert "(scontrol: No such file or directory)" in caplog.text
    assert command_in(run) == f"RUN='{run}' sbatch JOB.sbatch"


def test_a_controller_that_does_not_answer_is_waited_for_only_so_long(
    scontrol: Scontrol, run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.3)
    scontrol.does("exec sleep 30", showing="exec sleep 30")
    began = time.monotonic()
    assert not requeue(JOB, run=run)
    assert time.monotonic() - began < 10
    assert "scontrol gave no answer within 0.3 s" in caplog.text
    assert command_in(run).endswith("sbatch JOB.sbatch")


def test_work_without_a_run_leaves_the_command_in_the_log_alone(
    scontrol: Scontrol, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scontrol.does("exit 3")
    assert not requeue(JOB)
    assert "(exit code 3)" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin"]
