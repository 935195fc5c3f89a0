"""Everything of this program that reads a file, given damaged ones: does each end in success or in a sentence?

    python benchmarks/fuzzing.py [--files 2000] [--seed 0] [--readers NIfTI split …] [--real DIR] [--only 17 23]

Files are damaged by a generator of its own, from small whole ones and from headers of real cases: bits, lengths,
fields, pieces of other files, huge and missing numbers, keys that come twice, deep nesting, other encodings; inside of
gzip and zip too, with checksums put right. Each file is read in a child process that is killed after 10 s and may take
2 GiB of addresses above its start. A finding is a crash, no end, a huge allocation, any other error than `BratsError`,
a text of one that is no sentence, and anything printed.
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # to a script Python gives no more than its own folder

import torch

from benchmarks.fuzz.children import Reader, Tally, run
from benchmarks.fuzz.read_images import image_readers
from benchmarks.fuzz.read_models import model_readers
from benchmarks.fuzz.read_texts import text_readers

LIBRARIES = ("torch", "nibabel", "itk", "h5py", "pillow", "onnxruntime", "safetensors")


def row(tally: Tally) -> str:
    """A line of the table."""
    slowest = max((outcome.seconds for outcome in tally.outcomes), default=0.0)
    most = max((outcome.mb for outcome in tally.outcomes), default=0.0)
    counts = " | ".join(f"{tally.count(kind):,}" for kind in ("success", "refusal", "finding"))
    return f"| {tally.reader} | {len(tally.outcomes):,} | {counts} | {slowest:.2f} | {most:.0f} |"


def chosen(readers: Sequence[Reader], wanted: Sequence[str]) -> list[Reader]:
    """Readers whose names begin with one of the wanted ones; all where none is wanted."""
    return [reader for reader in readers if not wanted or any(reader.name.startswith(name) for name in wanted)]


def main() -> None:
    """Run everything, and print; the exit code is 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="*", default=())
    parser.add_argument("--real", type=Path)
    parser.add_argument("--only", type=int, nargs="*", default=(), help="indices of files, to look at a finding")
    parser.add_argument("--processes", type=int, default=min(2, len(os.sched_getaffinity(0))))
    options = parser.parse_args()
    torch.set_num_threads(1)  # children are forked: other threads would not be there
    readers = chosen([*image_readers(options.real), *model_readers(), *text_readers()], options.readers)
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    )
    print("\n| reader | files | success | a sentence | findings | slowest s | most MB |\n|---|---|---|---|---|---|---|")
    tallies = []
    for reader in readers:
        settings = {"files": options.files, "seed": options.seed, "processes": options.processes}
        tallies.append(run(reader, **settings, only=options.only))
        print(row(tallies[-1]), flush=True)
    for tally in tallies:
        for what, indices in tally.findings.items():
            shown = " ".join(map(str, indices[:5]))
            print(f"\n{tally.reader}: {what} ({len(indices)} files, such as {shown})")
    if options.only:
        for outcome in (outcome for tally in tallies for outcome in tally.outcomes):
            print(f"\n{outcome}")
    raise SystemExit(any(tally.findings for tally in tallies))


if __name__ == "__main__":
    main()
