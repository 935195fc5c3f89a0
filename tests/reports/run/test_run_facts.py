import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.reports.run.facts import FACTS, Start, read_starts, seconds_of, write_starts

START = Start(
    "2026-03-05T14:02:31+01:00",
    from_step=3,
    steps=7,
    seconds=2.5,
    commit="abc-dirty",
    data_sha256="d",
    split_sha256="s",
    versions={"torch": "2.9"},
    machine={"processor": "8 × Größe"},
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_starts(tmp_path) == []
    write_starts(tmp_path, [START, Start("")])
    assert read_starts(tmp_path) == [START, Start("")]
    assert [path.name for path in tmp_path.iterdir()] == [FACTS]


def test_other_versions_of_the_program_may_know_more_or_less(tmp_path: Path) -> None:
    (tmp_path / FACTS).write_text(
        json.dumps([{"started": "x", "weather": ["rain"]}, {**asdict(START), "machine": None}])
    )
    less, more = read_starts(tmp_path)
    assert (less, less.when) == (Start("x"), "x")
    assert (more.commit, more.machine) == ("abc-dirty", {})


@pytest.mark.parametrize("content", ["", "[", "3", '["a"]', '[{"steps": "many"}]', b"\xff"])
def test_a_damaged_list_is_named_with_its_cure(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / FACTS).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BratsError, match=r"facts\.json is no list of starts .*remove it, or restore it"):
        read_starts(tmp_path)


def test_the_time_of_a_run_is_known_where_its_beginning_is() -> None:
    assert seconds_of([Start("", seconds=2.0), START]) == 4.5
    assert math.isnan(seconds_of([START]))
    assert math.isnan(seconds_of([]))
