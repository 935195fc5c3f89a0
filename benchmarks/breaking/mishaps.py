"""What goes wrong: damaged files, small disks, a network's disk, processes that are killed, memory that runs out."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.breaking.forked import Child

DAY = 24 * 60 * 60


def damage(path: Path, how: str, rng: random.Random) -> None:
    """Cut a file short, or flip one of its bits."""
    content = bytearray(path.read_bytes())
    if how == "cut short":
        content = content[: rng.randrange(len(content))]
    else:
        content[rng.randrange(len(content) // 4, 3 * len(content) // 4)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def network_disk() -> None:
    """In a child: renames take their time, and a name that was not there is not looked up again for a second."""
    rename, exists = Path.replace, Path.exists
    missed: dict[str, float] = {}

    def late(path: Path, target: str | Path) -> Path:
        time.sleep(random.uniform(0, 0.2))
        return rename(path, target)

    def remembered(path: Path, **options: Any) -> bool:
        if time.monotonic() - missed.get(str(path), -DAY) < 1:
            return False
        found = exists(path, **options)
        if not found:
            missed[str(path)] = time.monotonic()
        return found

    Path.replace, Path.exists = late, remembered  # type: ignore[method-assign, assignment]


def slow_loading() -> None:
    """In a child: a case takes a while, so that a loading process can be met at work."""
    from brats_lightning.data.preprocessing import Preprocessing  # noqa: PLC0415

    build = Preprocessing.__call__

    def slowly(*arguments: Any, **settings: Any) -> Any:
        time.sleep(0.3)
        return build(*arguments, **settings)

    Preprocessing.__call__ = slowly  # type: ignore[method-assign]


def kill_a_worker(process: int, child: Child, *, after: float) -> bool:
    """Kill the first process that a command has started, once it is there; whether there was one."""
    deadline = time.monotonic() + 60
    children = Path(f"/proc/{process}/task/{process}/children")
    time.sleep(after)
    while time.monotonic() < deadline and child.code is None:
        with contextlib.suppress(OSError):
            for number in children.read_text().split():
                time.sleep(0.1)
                os.kill(int(number), signal.SIGKILL)
                return True
        time.sleep(0.005)
    return False


def no_gpu_memory() -> None:
    """In a child: what PyTorch says when a GPU is full, in the first training step."""
    from brats_lightning.model.module import SegmentationModule  # noqa: PLC0415

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of ..."
        )

    SegmentationModule.training_step = full  # type: ignore[assignment, method-assign]


def little_memory() -> None:
    """In a child: 400 MiB more than it has."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (400 << 20), taken + (400 << 20)))


@contextmanager
def small_disk(path: Path, *, megabytes: int) -> Iterator[Path]:
    """A small disk in memory."""
    path.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path))
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # noqa: S603, S607


def may_mount(home: Path) -> bool:
    """Whether this user may have disks of a given size."""
    try:
        with small_disk(home / "tried", megabytes=1):
            return True
    except (OSError, subprocess.CalledProcessError):
        print("disks cannot be mounted here: full and read-only ones are left out")
        return False


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)  # noqa: S603, S607


def resize(disk: Path, size: int) -> None:
    """Give a small disk another size in bytes."""
    _mount("-o", f"remount,size={max(size, 4096)}", str(disk))


def remount(disk: Path, how: str) -> None:
    """Make a small disk `ro` or `rw`."""
    _mount("-o", f"remount,{how}", str(disk))


def used(folder: Path) -> int:
    """Bytes that are taken on the disk of a folder."""
    about = os.statvfs(folder)
    return (about.f_blocks - about.f_bfree) * about.f_frsize
