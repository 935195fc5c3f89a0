"""benchmarks/fuzzing.py in its short form, and that it sees what it is there to see."""

import ctypes
import os
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz.children import Reader, run
from benchmarks.fuzz.mutating import in_gzip, in_zip, of_bytes, of_json, of_text, zipped
from brats_lightning.errors import BratsError

ROOT = Path(__file__).parents[1]
WHOLE = b'{"a": [1, 2.5, "x"], "b": {"c": null}}\n'


def refuse(text: str) -> None:
    raise BratsError(text)


def tell(what: str) -> None:
    print(what)  # noqa: T201 - as a library does


ENDS: dict[str, tuple[Callable[[], object], str]] = {
    "success": (lambda: None, ""),
    "a sentence": (lambda: refuse("expected a, found b: do c"), ""),
    "another error": (lambda: dict[str, str]()["a"], "KeyError"),
    "no words": (lambda: refuse(" "), "no words"),
    "a crash": (lambda: ctypes.string_at(0), "crash (SIGSEGV)"),
    "an exit": (lambda: os._exit(3), "crash"),
    "no end": (lambda: time.sleep(60), "no end after 0.5 s"),
    "a huge allocation": (lambda: bytearray(3 << 30), "a huge allocation"),
    "a warning": (lambda: warnings.warn("look", stacklevel=1), "warned: look"),
    "noise": (lambda: tell("noise"), "printed: noise"),
}


@pytest.mark.parametrize("name", ENDS)
def test_every_end_is_seen_and_belongs_to_its_file(name: str) -> None:
    act, found = ENDS[name]

    def read(folder: Path) -> None:
        if (folder / "file").read_bytes() == b"1":
            act()

    def mutate(rng: random.Random, seeds: object) -> bytes:
        del seeds
        return str(rng.randrange(2)).encode()

    tally = run(Reader(name, "file", lambda _: [b"whole"], mutate, read), files=4, seed=0, processes=1, seconds=0.5)
    damaging = [index for index in range(4) if random.Random(f"0 {name} {index}").randrange(2)]
    assert [outcome.index for outcome in tally.outcomes] == [0, 1, 2, 3]
    if found:
        assert [outcome.index for outcome in tally.outcomes if outcome.kind == "finding"] == damaging
        assert all(what.startswith(found) for what in tally.findings)
    else:
        assert not tally.findings


@pytest.mark.parametrize("mutate", [of_bytes, of_text, of_json, in_gzip(of_bytes), in_zip(of_bytes)])
def test_the_same_seed_gives_the_same_damage_and_mostly_some(mutate: Callable[..., bytes]) -> None:
    seeds = [zipped({"a": WHOLE, "b": b"x" * 99})] if mutate.__qualname__.startswith("in_zip") else [WHOLE]

    def damage() -> list[bytes]:
        return [mutate(random.Random(index), seeds) for index in range(30) if index != 13]

    files = damage()
    assert files == damage()
    assert sum(file != seeds[0] for file in files) > 25


@pytest.mark.slow
def test_no_reader_ends_in_anything_but_success_or_a_sentence() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzzing.py"), "--files", "6", "--seed", "20"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = [row.split(" | ") for row in ended.stdout.splitlines() if row.startswith("| ") and "files" not in row]
    assert sum(int(row[1]) for row in rows) >= 200
