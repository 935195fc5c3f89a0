"""Preprocessed cases by case: each is built once, by as many processes as one likes.

An entry's key covers the contents of the case's files and what each of them stands for, the pipeline's settings and
the format's version, so that an entry can be missing but never stale.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
import xxhash
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.data import DataLoader, Dataset

from brats_lightning.cluster.signals import stop_if_asked
from brats_lightning.data.case import Case, Volume4D
from brats_lightning.data.claims import claim
from brats_lightning.data.homes import DiskHome, Home, NoHome
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.data.reading import read_case
from brats_lightning.errors import BratsError, DatasetError, Problem
from brats_lightning.machine import usable_cores
from brats_lightning.parallel import lost_a_worker

FORMAT_VERSION = 2
MOST_WORKERS = 16
"""Each holds a whole case several times over; where 16 are not enough, the disk is what one waits for."""
POLL_SECONDS = 0.5
FileKey = Literal["content", "stat"]


class CaseCache:
    """Preprocessed cases by case. The files of a case are looked at once: make another cache where they change.

    Args:
        preprocessing: Makes a sample from a case.
        home: Where samples are kept.
        file_key: How a changed file is noticed: by its contents, or faster by its size and time of change.
    """

    def __init__(self, preprocessing: Preprocessing, home: Home, *, file_key: FileKey = "content") -> None:
        self.preprocessing = preprocessing
        self.home = home
        self.file_key = file_key
        self._names: dict[str, str] = {}

    def get(self, case: Case) -> Sample:
        """The case's sample, built where it is not there.

        Raises:
            DatasetError: Its files cannot be used.
        """
        if not self._keeps:
            return self.preprocessing(case)
        name = self._name(case)
        sample = self.home.load(name)
        if sample is None:
            sample = self.preprocessing(case)
            self.home.save(name, sample)
        return sample

    def key(self, case: Case) -> str:
        """Digits that stand for the contents of a case's files and the settings; empty where nothing is kept."""
        return self._name(case).rpartition("-")[2] if self._keeps else ""

    def missing(self, cases: Sequence[Case]) -> list[Case]:
        """Cases that have no entry yet."""
        if not self._keeps:
            return list(cases)
        with ThreadPoolExecutor(min(16, 4 * usable_cores())) as pool:  # reading files, not computing
            names = list(pool.map(self._name, cases))
        return [case for case, name in zip(cases, names, strict=True) if not self.home.has(name)]

    def fill(self, cases: Sequence[Case], *, workers: int, start: float = 0.0, show: bool = True) -> list[Problem]:
        """Build every entry that is missing, several cases at a time, with a progress bar.

        Can be stopped at any moment: what is finished stays. Any number of processes, on any machines that share a
        folder, may fill it at once: they share the work, and each returns when all entries are there.

        Args:
            cases: All that will be used.
            workers: Processes beside this one, at most 16; 0 builds in this one.
            start: Where in the list to begin, 0 to 1: processes that begin at different places meet less often.
            show: The progress bar.

        Returns:
            What is wrong with the cases that could not be built.

        Raises:
            BratsError: The home cannot take the entries.
            Stopped: A signal asked for it.
        """
        missing = self.missing(cases)
        first = int(start * len(missing))
        waiting = missing[first:] + missing[:first]
        if not waiting:
            return []
        problems: list[Problem] = []
        claimed: list[Case] = []
        longest = 0.0
        with _progress(show=show) as progress:
            bar = progress.add_task(self._doing(), total=len(waiting))
            for built in self._build(waiting, workers=workers):
                problems += built.problems
                longest = max(longest, built.seconds)
                claimed += [built.case] if built.claimed else []
                progress.advance(bar, 0 if built.claimed else 1)
            # Others are at these, and take about as long as was taken here; unless they have been killed.
            left = self._await(claimed, seconds=longest)
            progress.update(bar, completed=len(waiting) - len(left))
            for built in self._build(left, workers=workers, anyway=True):
                problems += built.problems
                progress.advance(bar)
        return problems

    def _build(self, cases: Sequence[Case], *, workers: int, anyway: bool = False) -> Iterator["_Built"]:
        if not cases:
            return
        loader = DataLoader(
            _Building(self, cases, anyway=anyway),
            batch_size=None,
            num_workers=min(workers, len(cases), MOST_WORKERS),
            collate_fn=cast("Any", _as_is),  # without a batch size it gets one item, not a list
            prefetch_factor=1 if workers else None,
            generator=torch.Generator(),  # the global one belongs to the network: a cold cache must not move it
        )
        stop_if_asked()
        for number, built in enumerate(_unless_killed(loader), start=1):
            if built.error is not None:
                raise BratsError(built.error)
            if built.sample is not None:
                self.home.save(self._name(built.case), built.sample)
            yield built
            if number < len(cases):
                stop_if_asked()

    def _await(self, cases: Sequence[Case], *, seconds: float) -> list[Case]:
        """Those that are still missing after some time, at the most."""
        left, deadline = list(cases), time.monotonic() + seconds
        while left := [case for case in left if not self.home.has(self._name(case))]:
            if time.monotonic() > deadline:
                break
            stop_if_asked()
            time.sleep(POLL_SECONDS)
        return left

    def _doing(self) -> str:
        return "Preprocessing cases" if self._keeps else "Checking cases"

    @property
    def _keeps(self) -> bool:
        return not isinstance(self.home, NoHome)

    def _name(self, case: Case) -> str:
        """The entry's name: the case's id for people, the key for the program."""
        if case.id not in self._names:
            about = f"{FORMAT_VERSION} {case.id} {case.edition} {self.preprocessing.fingerprint}"
            digest = xxhash.xxh3_128(about.encode())
            key = cache(partial(_file_key, kind=self.file_key))  # a 4-D file holds several modalities
            for modality in self.preprocessing.modalities:
                image = case.images[modality]
                path, channel = (image.path, image.channel) if isinstance(image, Volume4D) else (image, 0)
                # What a file stands for goes with its contents: files whose names were swapped make another entry.
                digest.update(f"{modality} {channel} ".encode() + key(path))
            digest.update(b"label " + (key(case.label) if case.label else b"none"))
            self._names[case.id] = f"{case.id}-{digest.hexdigest()[:20]}"
        return self._names[case.id]


def _file_key(path: Path, kind: FileKey) -> bytes:
    try:
        if kind == "stat":
            about = path.stat()
            return f"{path.name} {about.st_size} {about.st_mtime_ns}".encode()
        digest = xxhash.xxh3_128()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.digest()
    except OSError:
        return os.urandom(16)  # building the entry will say why, or else give one that no other file can be taken for


@dataclass(frozen=True)
class _Built:
    case: Case
    sample: Sample | None = None
    problems: tuple[Problem, ...] = ()
    error: str | None = None
    claimed: bool = False
    seconds: float = 0.0


class _Building(Dataset[_Built]):
    """Builds entries in worker processes; what went wrong comes back as a value, with its words."""

    def __init__(self, cache: CaseCache, cases: Sequence[Case], *, anyway: bool) -> None:
        self.cache = cache
        self.cases = cases
        self.anyway = anyway

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> _Built:
        case = self.cases[index]
        started = time.monotonic()
        try:
            built = self._build(case)
        except DatasetError as error:
            return _Built(case, problems=error.problems)
        except BratsError as error:
            return _Built(case, error=str(error))
        return replace(built, seconds=time.monotonic() - started)

    def _build(self, case: Case) -> _Built:
        home, pipeline = self.cache.home, self.cache.preprocessing
        if isinstance(home, NoHome):
            read_case(case, modalities=pipeline.modalities)
        elif not isinstance(home, DiskHome):
            return _Built(case, pipeline(case))
        elif not home.has(name := self.cache._name(case)):  # since the list was made, another process may have built it
            with claim(home.folder, name, anyway=self.anyway) as mine:
                if not mine:
                    return _Built(case, claimed=True)
                # Once more: a network's disk may tell of an entry only when something was written beside it.
                if not home.has(name):
                    home.save(name, pipeline(case))
        return _Built(case)


def _as_is(built: _Built) -> _Built:
    return built


def _unless_killed(loader: "DataLoader[_Built]") -> "Iterator[_Built]":
    try:
        yield from loader
    except RuntimeError as error:
        if not lost_a_worker(error):
            raise
        raise BratsError(
            f"one of {loader.num_workers} processes that preprocess cases was killed, often for want of memory: fewer "
            "--data.workers; what is finished stays"
        ) from error


def _progress(*, show: bool) -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, disable=not show)
