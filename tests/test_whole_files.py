import os
import platform
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from brats_lightning.whole_files import DAY, MINUTE, damaged_part, half_name, sweep_halves, whole_file

NOBODY = 4_194_305
"""More than Linux gives as a process number."""
OWN = 0


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("before")
    with whole_file(path) as half:
        half.write_text("half")
        assert path.read_text() == "before"
        assert half.parent == tmp_path
        assert list(tmp_path.glob("*.png")) == [path]  # who looks for pictures does not find the half one
    assert path.read_text() == "half"
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("before")

    def fail() -> None:
        with whole_file(path) as half:
            half.write_text("half")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_it_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "a.json", list[tuple[Path, bool, int]]()

    def flushed(file: int) -> None:
        about = os.fstat(file)
        seen.append((Path(f"/proc/self/fd/{file}").readlink(), path.exists(), about.st_size))

    monkeypatch.setattr(os, "fsync", flushed)
    with whole_file(path) as half:
        half.write_text("four")
    assert seen[0] == (half, False, 4)
    assert [(name, is_there) for name, is_there, _ in seen[1:]] == [(tmp_path, True)]


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, flags: int) -> int:
        raise OSError("folders are not opened here")

    monkeypatch.setattr(os, "open", refuse)
    with whole_file(tmp_path / "a") as half:
        half.write_text("whole")
    assert (tmp_path / "a").read_text() == "whole"


@pytest.mark.parametrize(
    ("machine", "process", "age", "goes"),
    [
        (platform.node(), NOBODY, 2 * MINUTE, True),
        (platform.node(), NOBODY, MINUTE / 2, False),
        (platform.node(), OWN, 2 * MINUTE, False),
        ("elsewhere", NOBODY, 2 * MINUTE, False),
        ("elsewhere", NOBODY, 2 * DAY, True),
        (platform.node(), NOBODY, -DAY, False),  # the clock was moved back
    ],
)
def test_halves_are_swept_when_nobody_can_be_writing_them(
    tmp_path: Path, machine: str, process: int, age: float, goes: bool
) -> None:
    half = tmp_path / f".a.b.nii.gz.{machine}.{process or os.getpid()}"
    whole = tmp_path / "a.b.nii.gz"
    for path in (half, whole):
        path.touch()
        os.utime(path, (time.time() - age, time.time() - age))
    sweep_halves(tmp_path, "*.gz")
    assert half.exists() is not goes
    assert whole.exists()


def test_only_halves_of_the_names_given_are_swept(tmp_path: Path) -> None:
    others = [half_name(tmp_path / "a.txt"), tmp_path / ".a.bin.swp"]
    paths = [*others, half_name(tmp_path / "a.bin"), tmp_path / ".a.bin.mark"]
    for path in paths:
        path.touch()
        os.utime(path, (0, 0))
    sweep_halves(tmp_path, "*.bin", marks=["mark"])
    assert [path.exists() for path in paths] == [True, True, False, False]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in "ab":
            file.writestr(name, name * 10_000)
    return path


def test_a_flipped_bit_of_an_archive_is_noticed(archive: Path) -> None:
    assert damaged_part(archive) is None
    content = bytearray(archive.read_bytes())
    content[content.index(b"bbb") + random.Random(0).randrange(9_000)] ^= 4
    archive.write_bytes(content)
    assert damaged_part(archive) == "b"


@pytest.mark.parametrize("cut", [lambda content: content[: len(content) // 2], lambda _: b"", lambda _: b"PK" * 50])
def test_what_is_no_archive_is_said(archive: Path, cut: Callable[[bytes], bytes]) -> None:
    archive.write_bytes(cut(archive.read_bytes()))
    with pytest.raises(ValueError, match="no readable zip archive"):
        damaged_part(archive)
