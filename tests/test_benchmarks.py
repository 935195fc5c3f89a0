"""Benchmarks are run by people, now and then: this keeps them running."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_training_end_to_end_is_held_against_its_bare_step() -> None:
    rows = run("training.py", "--size", "32", "--cases", "3", "--epochs", "1").splitlines()
    found = [row.split(" | ")[0].strip("| ") for row in rows if row.startswith("| ")]
    assert found == ["what", "bare step", "brats fit", "the same, MONAI's transforms in workers"]


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.name)
def test_every_benchmark_says_how_it_is_called(path: Path) -> None:
    assert f"python benchmarks/{path.name}" in path.read_text()
