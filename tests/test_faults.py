"""The short form of benchmarks/faults.py: commands killed, called again, held against undisturbed ones."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.breaking.forked import Ended, Moment, brats, start
from benchmarks.breaking.single import Told
from benchmarks.breaking.workloads import bytes_lost

ROOT = Path(__file__).parents[1]
SMALL = ("--cases", "3", "--size", "24", "--epochs", "1", "--no_faults")
CELLS = ("command", "kills", "before changes", "equal", "lost", "finished", "again", "left", "seconds")


@pytest.mark.slow
def test_killed_commands_lose_nothing() -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "faults.py"), *SMALL, "--kills", "2"]
    script += ["--commands", "cache", "predict"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line.strip("| ").split(" | ") for line in done.stdout.rpartition("| command |")[2].splitlines()]
    rows = {row[0]: dict(zip(CELLS, row, strict=True)) for row in table if len(row) == len(CELLS)}
    for name in ("cache", "predict"):
        row = rows[name]
        assert (row["kills"], row["equal"], row["lost"], row["again"]) == ("2", "2", "0", "0")


def test_what_differs_is_counted_in_bytes() -> None:
    assert bytes_lost({"a": b"four", "b": b"xx"}, {"a": b"four", "b": b"xx"}) == 0
    assert bytes_lost({"a": b"four", "b": b"xx"}, {"a": b"five"}) == 6
    assert bytes_lost({}, {"left": b"rubbish"}) == 7
    assert bytes_lost({"a": b""}, {}) == 1


def test_a_command_is_killed_before_the_change_that_was_named(tmp_path: Path) -> None:
    """The first change of this one is its folder, the second a file in it."""
    phantoms = ("phantom", "made", "--cases", "1", "--size", "[24, 24, 24]", "--workers", "1")
    whole = brats(phantoms, tmp_path)
    assert (whole.code, whole.sentence) == (0, "")
    assert whole.changes > 5
    for change in (1, 2):
        folder = tmp_path / f"killed-{change}"
        folder.mkdir()
        killed = brats(phantoms, folder, moment=Moment(change=change))
        assert killed.code == -signal.SIGKILL
        assert killed.changes == change
        assert (folder / "made").exists() == (change == 2)


def test_what_hangs_is_noticed(tmp_path: Path) -> None:
    ended = start(("--help",), tmp_path, prepare=signal.pause).wait(0.5)
    assert ended.code < -signal.SIGKILL


@pytest.mark.parametrize(
    ("code", "said", "expected", "well"),
    [
        (1, "brats: the disk is full\n", "refused", True),
        (1, "Traceback (most recent call last):\nbrats: the disk is full\n", "refused", False),
        (1, "", "refused", False),
        (0, "", "refused", False),
        (0, "done\n", "unharmed", True),
        (1, "brats: no\n", "unharmed", False),
    ],
)
def test_a_fault_is_met_in_words_or_not_at_all(code: int, said: str, expected: str, well: bool) -> None:
    assert Told("a fault", expected, Ended(code, said, 0, 0), equal=True).is_well is well
    assert not Told("a fault", expected, Ended(code, said, 0, 0), equal=False).is_well
