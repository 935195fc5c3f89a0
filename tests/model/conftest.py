"""Fixtures of the tests of what learns."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "share_on_rank.py"


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes found when they shared everything that a run's processes share."""
    folder = tmp_path_factory.mktemp("shared")
    results = [folder / f"{rank}.json" for rank in range(2)]
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", SCRIPT, str(rank), "2", str(folder / "rendezvous"), str(result)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, result in enumerate(results)
    ]
    try:
        said = [process.communicate(timeout=120)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said
    return [json.loads(result.read_text()) for result in results]
