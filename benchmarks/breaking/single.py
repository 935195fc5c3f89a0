"""Faults brought about one at a time: what a command says of them, and what is left afterwards."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.breaking.forked import Ended, brats, start
from benchmarks.breaking.mishaps import (
    DAY,
    damage,
    kill_a_worker,
    little_memory,
    may_mount,
    network_disk,
    no_gpu_memory,
    remount,
    resize,
    slow_loading,
    small_disk,
    used,
)
from benchmarks.breaking.workloads import Workload, bytes_lost

LONGEST_SENTENCE = 1000


@dataclass(frozen=True)
class Told:
    """What came of a fault.

    Args:
        fault: In words.
        expected: `refused` in a sentence, or `unharmed`: it ends as if nothing were wrong.
        ended: How the command ended that met it.
        equal: Whether what is there in the end is what an undisturbed call leaves.
    """

    fault: str
    expected: str
    ended: Ended
    equal: bool

    @property
    def is_well(self) -> bool:
        """Whether that was as it should be."""
        refused = self.ended.code == 1 and 0 < len(self.ended.sentence) <= LONGEST_SENTENCE
        unharmed = self.ended.code == 0 and "Traceback" not in self.ended.said
        return self.equal and (refused if self.expected == "refused" else unharmed)

    @property
    def row(self) -> str:
        """Of the table."""
        said = self.ended.sentence or ("goes on" if self.ended.code == 0 else self.ended.said[-400:].replace("\n", " "))
        return f"| {self.fault} | {said} | {'yes' if self.equal else 'no'} | {'yes' if self.is_well else 'NO'} |"


HEADER = "| fault | what the command says | result equal in the end | as it should be |\n|---|---|---|---|"


class Faults:
    """Faults of one machine.

    Args:
        home: Folder for what they need.
        works: Workloads by their names: cache, fit, predict, report.
        rng: Of places in files.
    """

    def __init__(self, home: Path, works: dict[str, Workload], *, rng: random.Random) -> None:
        self.home = home
        self.works = works
        self.rng = rng
        self.expected: dict[str, dict[str, bytes]] = {}
        for name, work in works.items():
            folder = work.folder(home / f"{name}-whole")
            if (ended := brats(work.arguments, folder)).code:
                raise RuntimeError(ended.said)
            self.expected[name] = work.results(folder)

    def all(self) -> Iterator[Told]:
        """Bring about one after the other."""
        if may_mount(self.home):
            for name in self.works:
                yield from self._full_disk(name)
                yield self._read_only(name)
        yield from self._damaged_entries()
        yield from self._damaged_checkpoints()
        yield self._clock_moved_back()
        yield from self._two_jobs()
        yield self._slow_renames()
        yield from self._killed_workers()
        yield from self._out_of_memory()

    def _equal(self, name: str, folder: Path) -> bool:
        try:
            return not bytes_lost(self.expected[name], self.works[name].results(folder))
        except (OSError, ValueError, LookupError):
            return False

    def _full_disk(self, name: str) -> Iterator[Told]:
        """A disk with room for a part of it, and the same call when there is room."""
        work = self.works[name]
        made = self.home / f"{name}-whole"
        for share in (0.02, 0.3, 0.6, 0.95):
            with small_disk(self.home / "disk", megabytes=64) as disk:
                folder = work.folder(disk / "folder")
                before = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                needed = sum(path.stat().st_size for path in made.rglob("*") if path.is_file()) - before
                room = used(folder) + max(8192, int(share * needed))
                resize(disk, room)
                ended = brats(work.arguments, folder)
                resize(disk, 64 << 20)
                expected = "refused" if ended.code else "unharmed"
                brats(work.arguments, folder)
                yield Told(
                    f"disk full, {name}, at {share:.0%} of what it writes", expected, ended, self._equal(name, folder)
                )

    def _read_only(self, name: str) -> Told:
        work = self.works[name]
        with small_disk(self.home / "disk", megabytes=64) as disk:
            folder = work.folder(disk / "folder")
            remount(disk, "ro")
            ended = brats(work.arguments, folder)
            remount(disk, "rw")
            brats(work.arguments, folder)
            return Told(f"read-only folder, {name}", "refused", ended, self._equal(name, folder))

    def _damaged_entries(self) -> Iterator[Told]:
        for how in ("cut short", "one bit flipped"):
            work = self.works["cache"]
            folder = self._copy("cache")
            for path in sorted((folder / "cache").glob("[!.]*")):
                damage(path, how, self.rng)
            config = folder / "config.yaml"
            config.write_text((self.home / "fit.yaml").read_text().replace(str(self.home / "full-cache"), "cache"))
            ended = brats(("fit", "--config", str(config), "--run", "run"), folder)
            found, used = work.results(folder), json.loads((folder / "run" / "split.json").read_text())
            trained = tuple(used["train"] + used["validation"])  # the entry of the test case is read by nobody yet
            mended = {name: found[name] for name in self.expected["cache"] if name.startswith(trained)}
            equal = self._equal("fit", folder) and all(self.expected["cache"][name] == mended[name] for name in mended)
            yield Told(f"every cache entry {how}, then fit", "unharmed", ended, equal and "damaged" in _words(ended))

    def _damaged_checkpoints(self) -> Iterator[Told]:
        """Which no kill of this program leaves; disks and copies do."""
        for how in ("cut short", "one bit flipped"):
            folder = self._copy("fit")
            last = folder / "run" / "checkpoints" / "last.ckpt"
            damage(last, how, self.rng)
            ended = brats(("fit", "--run", "run", "--ckpt_path", "auto"), folder)
            yield Told(f"last.ckpt {how}, then fit", "refused", ended, self._best_is_whole(folder))
        folder = self._copy("fit")
        half = folder / "run" / "checkpoints" / ".last.ckpt.elsewhere.1"
        half.write_bytes((folder / "run" / "checkpoints" / "last.ckpt").read_bytes()[:1000])
        ended = brats((*self.works["fit"].arguments, "--trainer.max_epochs", "3"), folder)
        yield Told("a half checkpoint beside the last one", "unharmed", ended, self._best_is_whole(folder))

    def _best_is_whole(self, folder: Path) -> bool:
        best = torch.load(folder / "run" / "checkpoints" / "best.ckpt", weights_only=True)
        return bool(best["state_dict"])

    def _clock_moved_back(self) -> Told:
        """Everything that is there seems to be of the day after; then the rest of the run."""
        work = self.works["fit"]
        folder = work.folder(self.home / "clock")
        child = start(work.arguments, folder)
        while not (folder / "run" / "checkpoints" / "last.ckpt").exists() and child.code is None:
            time.sleep(0.01)
        child.kill()
        child.wait()
        now = time.time()
        for path in folder.rglob("*"):
            os.utime(path, (now + DAY, now + DAY))
        ended = brats(work.arguments, folder)
        equal = self._equal("fit", folder)
        shutil.rmtree(folder)
        return Told("clock moved back a day while a run was down", "unharmed", ended, equal)

    def _two_jobs(self) -> Iterator[Told]:
        fit = self.works["fit"]
        folder = fit.folder(self.home / "twice")
        first = start((*fit.arguments, "--trainer.max_epochs", "1000"), folder)
        while not (folder / "run" / "checkpoints" / "last.ckpt").exists() and first.code is None:
            time.sleep(0.01)
        before = (folder / "run" / "config.yaml").read_bytes()
        second = brats(fit.arguments, folder)
        unchanged = (folder / "run" / "config.yaml").read_bytes() == before and first.code is None
        yield Told("two fits on one run folder", "refused", second, unchanged)
        first.kill()
        first.wait()
        shutil.rmtree(folder)
        folder = fit.folder(self.home / "twice")
        nameless = ("fit", "--config", str(self.home / "fit.yaml"))
        children = [start(nameless, folder) for _ in range(2)]
        ended = [child.wait() for child in children]
        runs = sorted(path.name for path in (folder / "runs").iterdir())
        yield Told(
            "two fits without a --run", "unharmed", max(ended, key=lambda each: each.code), runs == ["fit", "fit-2"]
        )
        shutil.rmtree(folder)
        folder = self.works["cache"].folder(self.home / "shared")
        children = [start(self.works["cache"].arguments, folder) for _ in range(2)]
        ended = [child.wait() for child in children]
        worst = max(ended, key=lambda each: each.code)
        yield Told("two caches on one folder", "unharmed", worst, self._equal("cache", folder))
        shutil.rmtree(folder)

    def _slow_renames(self) -> Told:
        """Two caches on a disk as a network has it: names change late, and what was not there stays so for a while."""
        work = self.works["cache"]
        folder = work.folder(self.home / "network")
        children = [start(work.arguments, folder, prepare=network_disk) for _ in range(2)]
        ended = [child.wait() for child in children]
        for child in children:
            child.bury()
        equal = self._equal("cache", folder)
        shutil.rmtree(folder)
        worst = max(ended, key=lambda each: each.code)
        return Told("two caches on one folder whose names come late, as with NFS", "unharmed", worst, equal)

    def _killed_workers(self) -> Iterator[Told]:
        for name in ("cache", "fit", "predict"):
            work = self.works[name]
            folder = work.folder(self.home / f"{name}-worker")
            options = ("--data.workers", "2", "--trainer.max_epochs", "1000") if name == "fit" else ()
            child = start((*work.arguments, *options), folder, prepare=slow_loading)
            killed = kill_a_worker(child.process, child, after=1.5 if name == "fit" else 0.0)
            ended = child.wait()
            child.bury()
            if name != "fit":
                brats(work.arguments, folder)
            equal = killed and (name == "fit" or self._equal(name, folder))
            yield Told(f"a loading process of {name} killed", "refused", ended, equal)

    def _out_of_memory(self) -> Iterator[Told]:
        fit = self.works["fit"]
        for what, prepare in (("of the GPU (pretended)", no_gpu_memory), ("of the machine", little_memory)):
            folder = fit.folder(self.home / "memory")
            options = ("--data.preprocessing.size", "[160, 160, 160]") if prepare is little_memory else ()
            ended = brats((*fit.arguments, *options), folder, prepare=prepare)
            yield Told(f"out of memory {what}, fit", "refused", ended, True)
            shutil.rmtree(folder)

    def _copy(self, name: str) -> Path:
        folder = self.home / f"{name}-damaged"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.home / f"{name}-whole", folder)
        return folder


def _words(ended: Ended) -> str:
    return ended.said.replace("does not match its checksum", "damaged")


def one_by_one(faults: Faults, *, say: Callable[[str], None]) -> list[Told]:
    """Bring about all of them."""
    told = []
    for each in faults.all():
        told.append(each)
        say(each.row)
    return told
