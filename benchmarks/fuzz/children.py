"""Readers run in child processes with little memory and little time, so that what a file does to them is seen."""

import contextlib
import faulthandler
import logging
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Literal

from benchmarks.fuzz.mutating import Mutate
from brats_lightning.errors import BratsError, DatasetError

SECONDS = 10.0
ADDRESSES = 2 << 30
"""Bytes that a child may take above what it had at its start."""
LONGEST_SENTENCE = 1000
MOST_LINES_LOGGED = 5
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_DETAILS = re.compile(r"\d{3,}|position \d+|byte 0x\w+|/tmp/\S+|'[^']{9,}'")
"""Of what was found, in which files differ that have the same to say."""
Kind = Literal["success", "refusal", "finding"]


@dataclass(frozen=True)
class Reader:
    """Something that reads a file.

    Args:
        name: For people.
        file: Which is damaged, inside the reader's own folder.
        prepare: Writes what else must lie in that folder, and gives whole files.
        mutate: Damages one of them.
        read: Reads the folder, or refuses it by a `BratsError`.
        finish: Puts right around the damaged file what an attacker would, such as a checksum.
    """

    name: str
    file: str
    prepare: Callable[[Path], list[bytes]]
    mutate: Mutate
    read: Callable[[Path], object]
    finish: Callable[[Path], object] | None = None


@dataclass(frozen=True)
class Outcome:
    """What reading one file came to.

    Args:
        index: Of the file.
        kind: A finding is anything but success and a sentence.
        what: The sentence, or what was found.
        seconds: That reading took.
        mb: Of memory that it took at most, above what the process had before.
    """

    index: int
    kind: Kind
    what: str
    seconds: float = 0.0
    mb: float = 0.0


@dataclass
class Tally:
    """What came of all files of one reader."""

    reader: str
    outcomes: list[Outcome] = field(default_factory=list)

    def count(self, kind: Kind) -> int:
        """How many ended so."""
        return sum(outcome.kind == kind for outcome in self.outcomes)

    @property
    def findings(self) -> dict[str, list[int]]:
        """Indices of files by what was found, which is said without numbers."""
        found: dict[str, list[int]] = {}
        for outcome in self.outcomes:
            if outcome.kind == "finding":
                found.setdefault(_DETAILS.sub("…", outcome.what)[:160], []).append(outcome.index)
        return found


def run(
    reader: Reader, *, files: int, seed: int, processes: int = 2, seconds: float = SECONDS, only: Sequence[int] = ()
) -> Tally:
    """Have one reader read damaged files, each in a child process.

    Args:
        reader: Which one.
        files: How many.
        seed: Of the damage.
        processes: At once.
        seconds: After which a child is killed.
        only: Indices of files, in place of all of them.
    """
    tally, waiting = Tally(reader.name), list(only or range(files))[::-1]
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        template = Path(folder) / "template"
        template.mkdir()
        seeds = reader.prepare(template)
        children = [
            _Child(reader, seeds, template, Path(folder) / str(n), seed) for n in range(min(processes, len(waiting)))
        ]
        try:
            while waiting or any(child.busy for child in children):
                for child in children:
                    if not child.busy and waiting:
                        child.give(waiting.pop())
                busy = [child for child in children if child.busy]
                wait(
                    [child.answers for child in busy],
                    timeout=max(0.0, min(c.since + seconds for c in busy) - time.monotonic()),
                )
                tally.outcomes += [outcome for child in busy if (outcome := child.outcome(seconds)) is not None]
        finally:
            for child in children:
                child.end()
    tally.outcomes.sort(key=lambda outcome: outcome.index)
    return tally


class _Child:
    """A process that reads one file after the other; another one takes its place where it dies."""

    def __init__(self, reader: Reader, seeds: Sequence[bytes], template: Path, folder: Path, seed: int) -> None:
        self._arguments = (reader, seeds, template, folder, seed)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.answers, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(self._arguments, theirs), daemon=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # libraries keep threads, which do nothing now
            self._process.start()
        theirs.close()
        self.busy, self.since, self._index = True, time.monotonic() + 60, -1  # until it says that it is ready

    def give(self, index: int) -> None:
        """Have it read a file."""
        self.busy, self.since, self._index = True, time.monotonic(), index
        self.answers.send(index)

    def outcome(self, seconds: float) -> Outcome | None:
        """What it came to, None where it is still at work or has only begun."""
        try:
            if self.answers.poll():
                found: Outcome = self.answers.recv()
                self.busy = False
                if found.index < 0 and found.kind == "finding":
                    raise RuntimeError(found.what)
                return None if found.index < 0 else found
        except (EOFError, OSError):
            return self._replaced("crash")
        if time.monotonic() - self.since >= seconds:
            return self._replaced(f"no end after {seconds:g} s")
        return None

    def _replaced(self, what: str) -> Outcome:
        self.end()
        code = self._process.exitcode
        if self._index < 0:
            raise RuntimeError(f"{self._arguments[0].name}: the child could not start ({code})")
        died = f" ({signal.Signals(-code).name})" if what == "crash" and code is not None and code < 0 else ""
        outcome = Outcome(self._index, "finding", f"{what}{died}", time.monotonic() - self.since)
        self._start()
        return outcome

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.join()
        self.answers.close()


def _work(arguments: tuple[Reader, Sequence[bytes], Path, Path, int], answers: Connection) -> None:
    """What a child does: read the whole files, then one damaged file for each index that it is given."""
    reader, seeds, template, folder, seed = arguments
    shutil.copytree(template, folder, dirs_exist_ok=True)
    said = folder.with_suffix(".said").open("w+b")
    for stream in (1, 2):
        os.dup2(said.fileno(), stream)
    faulthandler.disable()
    log: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: log.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    whole = [_read(reader, folder, content) for content in seeds]  # which loads what is loaded once
    if not any(kind == "success" for kind, _ in whole):
        answers.send(Outcome(-1, "finding", f"{reader.name} reads no whole file: {whole[0][1]}"))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + ADDRESSES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers.send(Outcome(-1, "success", ""))
    while True:
        index = answers.recv()
        try:
            content = reader.mutate(random.Random(f"{seed} {reader.name} {index}"), seeds)
        except Exception as error:  # noqa: BLE001 - of this benchmark: shown like the others, to be put right
            answers.send(
                Outcome(index, "finding", f"not damaged: {error!r} {traceback.extract_tb(error.__traceback__)[-2:]}")
            )
            continue
        log.clear()
        os.ftruncate(said.fileno(), 0)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the highest mark of memory begins anew
        before, started = _status("VmRSS"), time.perf_counter()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            kind, what = _read(reader, folder, content)
        seconds, mb = time.perf_counter() - started, (_status("VmHWM") - before) / 1000
        sys.stderr.flush()
        printed = os.pread(said.fileno(), 4000, 0).strip(b"\0").decode(errors="replace").strip()
        if kind != "finding" and warned:
            kind, what = "finding", f"warned: {str(warned[0].message)[:150]}"
        lines = [line for text in log for line in text.splitlines()]
        if kind != "finding" and printed:
            kind, what = "finding", f"printed: {' '.join(printed.split())[:150]}"
        elif kind != "finding" and (len(lines) > MOST_LINES_LOGGED or any(len(x) > LONGEST_SENTENCE for x in lines)):
            kind, what = "finding", f"logged {len(lines)} lines: {lines[0][:100]}"
        answers.send(Outcome(index, kind, what, seconds, max(0.0, mb)))


def _read(reader: Reader, folder: Path, content: bytes) -> tuple[Kind, str]:
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if reader.finish is not None:
        reader.finish(folder)
    try:
        reader.read(folder)
    except BratsError as error:
        wrong = _wrong_with(error)
        return (
            ("finding", f"{wrong}: {type(error).__name__} {str(error)[:120]!r}") if wrong else ("refusal", str(error))
        )
    except MemoryError:
        return "finding", f"a huge allocation{_where()}"
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is found
        first = next(iter(str(error).strip().splitlines()), "")
        return "finding", f"{type(error).__name__}: {first[:80]}{_where()}"
    return "success", ""


def _wrong_with(error: BratsError) -> str:
    """Why an error's text is not one sentence for people; empty where it is. Several problems have a line each."""
    parts = [str(problem) for problem in error.problems] if isinstance(error, DatasetError) else [str(error)]
    for part in parts:
        if not part.strip():
            return "no words"
        if _CONTROL.search(part):
            return "lines or control characters in a sentence"
        if len(part) > LONGEST_SENTENCE:
            return f"a sentence of {len(part)} characters"
        if "Traceback" in part:
            return "a traceback in a sentence"
    return ""


def _where() -> str:
    """The last line of this program that an error came through."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    own = [frame for frame in frames if "brats_lightning" in Path(frame.filename).parts]
    return f" at {Path(own[-1].filename).name} {own[-1].name}" if own else ""


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
