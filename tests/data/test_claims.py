import os
import time
from pathlib import Path

import pytest

from brats_lightning.data.claims import claim
from brats_lightning.data.homes import DiskHome
from brats_lightning.whole_files import DAY


def test_an_entry_is_claimed_by_one_at_a_time(tmp_path: Path) -> None:
    with claim(tmp_path, "a") as mine:
        assert mine
        with claim(tmp_path, "a") as also_mine, claim(tmp_path, "b") as another:
            assert (also_mine, another) == (False, True)
        with claim(tmp_path, "a") as also_mine:
            assert not also_mine  # who was refused has not taken the mark away
    with claim(tmp_path, "a") as mine:
        assert mine
    assert not list(tmp_path.iterdir())


def test_a_mark_that_was_left_behind_can_be_overruled_and_goes(tmp_path: Path) -> None:
    (tmp_path / ".a.safetensors.claim").touch()
    with claim(tmp_path, "a") as mine:
        assert not mine
    with claim(tmp_path, "a", anyway=True) as mine:
        assert mine
    assert not list(tmp_path.iterdir())


def test_a_failure_in_the_block_takes_the_mark_away(tmp_path: Path) -> None:
    with pytest.raises(KeyError), claim(tmp_path, "a"):
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_where_no_mark_can_be_made_the_work_is_done_all_the_same(tmp_path: Path) -> None:
    with claim(tmp_path / "absent", "a") as mine:
        assert mine


def test_the_home_sweeps_marks_of_the_day_before(tmp_path: Path) -> None:
    for name, age in (("old", DAY + 60), ("young", 3600)):
        path = tmp_path / f".{name}.safetensors.claim"
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    DiskHome(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".young.safetensors.claim"]
