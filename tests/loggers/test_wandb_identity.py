import re
import shutil
from pathlib import Path

import pytest

from brats_lightning.loggers.wandb_identity import FILE, LONGEST, identity


@pytest.fixture(autouse=True)
def without_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)


def test_every_restart_of_a_run_has_its_id(tmp_path: Path) -> None:
    made = identity(tmp_path / "unet3d-7")
    assert re.fullmatch(r"unet3d-7-[0-9a-f]{8}", made)
    assert identity(tmp_path / "unet3d-7") == made
    assert identity(tmp_path / "other" / ".." / "unet3d-7") == made
    assert [path.name for path in (tmp_path / "unet3d-7").iterdir()] == [FILE]


def test_a_folder_that_is_moved_keeps_it_even_when_another_takes_its_place(tmp_path: Path) -> None:
    made = identity(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    assert identity(tmp_path / "run") != made
    assert identity(tmp_path / "moved") == made
    assert identity(tmp_path / "moved") == made


def test_a_folder_deleted_and_trained_anew_gets_another(tmp_path: Path) -> None:
    made = identity(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    assert identity(tmp_path / "run") != made


def test_a_copy_is_another_run_and_stays_one(tmp_path: Path) -> None:
    made = identity(tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    copied = identity(tmp_path / "copy")
    assert copied != made
    shutil.rmtree(tmp_path / "run")
    assert identity(tmp_path / "copy") == copied


def test_a_folder_seen_under_two_paths_is_no_copy(tmp_path: Path) -> None:
    made = identity(tmp_path / "scratch" / "run")
    (tmp_path / "mount").symlink_to(tmp_path / "scratch", target_is_directory=True)
    assert identity(tmp_path / "mount" / "run") == made


def test_the_id_of_an_agent_or_a_user_is_used_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = identity(tmp_path / "run")
    monkeypatch.setenv("WANDB_RUN_ID", "trial-5")
    assert identity(tmp_path / "run") == "trial-5"
    monkeypatch.delenv("WANDB_RUN_ID")
    assert identity(tmp_path / "run") == "trial-5" != own


@pytest.mark.parametrize("name", ["a b#c?d%e:f", "é", "x" * 200, "...", "run\\1"])
def test_whatever_a_folder_is_called_w_and_b_takes_the_id(tmp_path: Path, name: str) -> None:
    made = identity(tmp_path / name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", made)
    assert len(made) <= LONGEST


def test_a_torn_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("")
    assert identity(tmp_path) == identity(tmp_path) != ""


@pytest.mark.parametrize(
    "rest", [b"\xff\xfe\n/home\n", b"a/b\n\n", b"\x00\x01\n", b"run-1\n\x00\n", b"run-1\n" + b"x" * 9000]
)
def test_a_damaged_file_names_no_run_and_no_folder(tmp_path: Path, rest: bytes) -> None:
    (tmp_path / FILE).write_bytes(rest)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", made := identity(tmp_path))
    assert identity(tmp_path) == made
