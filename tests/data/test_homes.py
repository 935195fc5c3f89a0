import errno
import logging
import os
import platform
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from brats_lightning import whole_files
from brats_lightning.data.homes import DiskHome, Home, MemoryHome, NoHome, make_home
from brats_lightning.data.preprocessing import Sample
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.nifti import Grid
from brats_lightning.whole_files import DAY, MINUTE


def make_sample(*, labelled: bool = True, seed: int = 0) -> Sample:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(4, 3, 5, 2, generator=generator).half()
    image[0, 0, 0] = torch.tensor([float("inf"), float("nan")])
    label = torch.randint(4, (1, 3, 5, 2), generator=generator, dtype=torch.uint8) if labelled else None
    affine = np.eye(4)
    affine[:3] = np.random.default_rng(seed).normal(size=(3, 4)) / 3
    return Sample("Case_1", "2021", image, label, Grid((3, 5, 2), affine), Grid((9, 8, 7), affine * 2), ("odd ü", "b"))


def same(one: Sample | None, other: Sample) -> bool:
    """Bit for bit: NaN equals NaN here."""
    return (
        one is not None
        and torch.equal(one.image.view(torch.int16), other.image.view(torch.int16))
        and one.image.dtype == other.image.dtype
        and (one.label is None) == (other.label is None)
        and (one.label is None or other.label is None or torch.equal(one.label, other.label))
        and all(
            mine.shape == its.shape and np.array_equal(mine.affine, its.affine)
            for mine, its in ((one.grid, other.grid), (one.native, other.native))
        )
        and (one.case, one.edition, one.notes) == (other.case, other.edition, other.notes)
    )


@pytest.fixture
def home(tmp_path: Path) -> DiskHome:
    return DiskHome(tmp_path / "cache")


def entry(home: DiskHome) -> Path:
    (path,) = home.folder.iterdir()
    return path


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_what_is_kept_comes_back_bit_for_bit(tmp_path: Path, kind: str, labelled: bool) -> None:
    home: Home = DiskHome(tmp_path) if kind == "disk" else MemoryHome()
    sample = make_sample(labelled=labelled)
    assert not home.has("a")
    assert home.load("a") is None
    home.save("a", sample)
    assert home.has("a")
    assert same(home.load("a"), sample)
    assert not home.has("b")
    home.save("a", make_sample(seed=1))
    assert same(home.load("a"), make_sample(seed=1))


@pytest.mark.slow
def test_another_process_finds_what_is_on_disk(home: DiskHome) -> None:
    home.save("a", make_sample())
    assert same(DiskHome(home.folder).load("a"), make_sample())


def test_an_entry_leaves_nothing_else_behind(home: DiskHome) -> None:
    assert list(home.folder.iterdir()) == []
    home.save("a", make_sample())
    assert entry(home).name == "a.safetensors"


def test_memory_keeps_a_copy() -> None:
    home, sample = MemoryHome(), make_sample()
    home.save("a", sample)
    sample.image.zero_()
    assert same(home.load("a"), make_sample())


def test_no_home_keeps_nothing() -> None:
    home = NoHome()
    home.save("a", make_sample())
    assert not home.has("a")
    assert home.load("a") is None


def test_a_flipped_bit_is_never_trusted(home: DiskHome) -> None:
    """Every byte of the file: length, header, metadata, names, types and shapes of tensors, their values."""
    sample = make_sample()
    home.save("a", sample)
    path = entry(home)
    content = path.read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 7
        path.write_bytes(damaged)
        loaded = home.load("a")
        assert loaded is None or same(loaded, sample), f"byte {at}"


def test_a_truncated_entry_is_never_trusted(home: DiskHome) -> None:
    home.save("a", make_sample())
    path = entry(home)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        assert home.load("a") is None
    path.write_bytes(content + b"more")
    assert home.load("a") is None


@pytest.mark.parametrize("at", [-1, 700])
def test_a_damaged_entry_is_reported_and_can_be_written_again(
    home: DiskHome, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    home.save("a", make_sample())
    content = bytearray(entry(home).read_bytes())
    content[at] ^= 1
    entry(home).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert home.load("a") is None
    assert "a.safetensors" in caplog.text
    assert "built again" in caplog.text
    home.save("a", make_sample())
    assert same(home.load("a"), make_sample())


def test_a_swapped_label_and_image_are_noticed(home: DiskHome) -> None:
    """A header of right lengths but with other names."""
    home.save("a", make_sample())
    path = entry(home)
    path.write_bytes(path.read_bytes().replace(b'"label":', b'"lapel":'))
    assert home.load("a") is None


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"cache folder .* cannot be written \(.*--data.cache_dir"):
            DiskHome(folder)


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refused(path: str, flags: int, *arguments: int, **options: int) -> int:
        if str(path).startswith(str(tmp_path)):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(ConfigError, match="Permission denied"):
        DiskHome(tmp_path)


def test_a_full_disk_ends_in_words_and_leaves_nothing(home: DiskHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BratsError, match=r"Case_1 could not be written to .* \(no space left\): make room or give"):
        home.save("a", make_sample())
    assert list(home.folder.iterdir()) == []


def test_a_stop_while_writing_leaves_nothing(home: DiskHome, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        home.save("a", make_sample())
    assert list(home.folder.iterdir()) == []


def test_a_folder_that_vanishes_ends_in_words(home: DiskHome) -> None:
    home.folder.rmdir()
    with pytest.raises(BratsError, match="No such file or directory"):
        home.save("a", make_sample())


def test_a_run_asks_for_a_home_by_name(tmp_path: Path) -> None:
    assert isinstance(make_home("disk", tmp_path / "new"), DiskHome)
    assert isinstance(make_home("memory", tmp_path / "unused"), MemoryHome)
    assert isinstance(make_home("none", tmp_path / "unused"), NoHome)
    assert not (tmp_path / "unused").exists()


def leave(home: DiskHome, *, machine: str, process: int, age: float) -> Path:
    """A temporary file as a killed writer leaves it."""
    path = home.folder / f".a-b.c.safetensors.{machine}.{process}"
    path.write_bytes(b"half an entry")
    then = time.time() - age
    os.utime(path, (then, then))
    return path


@pytest.mark.parametrize(
    ("machine", "runs", "age", "swept"),
    [
        ("here.domain", False, 2 * MINUTE, True),
        ("here.domain", False, 1, False),  # a container of the same name may just be writing it
        ("here.domain", True, 2 * MINUTE, False),
        ("elsewhere", False, 2 * MINUTE, False),
        ("elsewhere", False, DAY + 1, True),
        ("here.domain", True, DAY + 1, True),
    ],
)
def test_what_a_killed_writer_left_is_swept(
    home: DiskHome, monkeypatch: pytest.MonkeyPatch, *, machine: str, runs: bool, age: float, swept: bool
) -> None:
    monkeypatch.setattr(platform, "node", lambda: "here.domain")
    monkeypatch.setattr(whole_files, "is_running", lambda process: runs and process == 1234)
    home.save("a", make_sample())
    left = leave(home, machine=machine, process=1234, age=age)
    again = DiskHome(home.folder)
    assert left.exists() != swept
    assert same(again.load("a"), make_sample())


def test_a_killed_writers_own_file_is_known_again(home: DiskHome, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name under which `save` writes is the one that sweeping reads."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: 10**30)
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            home.save("a", make_sample())
    left = entry(home)
    os.utime(left, (time.time() - 2 * MINUTE,) * 2)
    DiskHome(home.folder)
    assert not left.exists()


def test_an_entry_has_the_same_bytes_whoever_writes_it(home: DiskHome) -> None:
    for name in "abcdefgh":
        home.save(name, make_sample())
    assert len({path.read_bytes() for path in home.folder.iterdir()}) == 1


def test_two_processes_may_sweep_at_the_same_time(home: DiskHome, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [leave(home, machine=f"elsewhere{number}", process=1, age=2 * DAY) for number in range(3)]
    unlink = Path.unlink

    def too_late(path: Path, *, missing_ok: bool = False) -> None:
        unlink(path)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", too_late)
        DiskHome(home.folder)
    assert not any(path.exists() for path in left)


def test_entries_are_written_where_the_system_has_no_uname(home: DiskHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "uname", raising=False)
    monkeypatch.setattr(platform, "node", lambda: "windows")
    home.save("a", make_sample())
    assert home.has("a")
