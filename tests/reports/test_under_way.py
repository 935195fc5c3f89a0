from pathlib import Path

import pytest

from brats_lightning.reports.under_way import under_way


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("before")
    with under_way(path) as part:
        part.write_text("half")
        assert path.read_text() == "before"
        assert part.parent == tmp_path
        assert list(tmp_path.glob("*.png")) == [path]  # who looks for pictures does not find the half one
    assert path.read_text() == "half"
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("before")

    def fail() -> None:
        with under_way(path) as part:
            part.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]
