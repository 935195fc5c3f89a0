"""Does anything get lost when commands are killed, disks are full, files damaged? `kill -9` and other faults.

    python benchmarks/faults.py [--kills 20] [--commands cache fit predict report serve] [--seed 0] [--no_faults]

Commands work on small phantoms with a tiny network. Each is killed at random moments, called again, and held against
an undisturbed one; then single faults are brought about, one at a time. Children are forked from this process, which
has everything imported: what happens while Python imports is not seen. It needs Linux, and root for small disks.
"""

import argparse
import os
import platform
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # forked children must not wait for this process's threads
os.environ["WANDB_MODE"] = "disabled"
sys.path.insert(0, str(Path(__file__).parents[1]))
warnings.simplefilter("ignore")

import torch  # noqa: E402

from benchmarks.breaking.forked import brats  # noqa: E402
from benchmarks.breaking.kills import HEADER, Campaign, kill_at_random  # noqa: E402
from benchmarks.breaking.serving import kill_server  # noqa: E402
from benchmarks.breaking.single import HEADER as SINGLE  # noqa: E402
from benchmarks.breaking.single import Faults, Told, one_by_one  # noqa: E402
from benchmarks.breaking.workloads import (  # noqa: E402
    Workload,
    cache_work,
    cases,
    fit_work,
    predict_work,
    report_work,
)

COMMANDS = ("cache", "fit", "predict", "report", "serve")
MODULES = {
    "cache": ("experiment.commands",),
    "predict": ("inference.predict",),
    "report": ("reports.report", "reports.run.report"),
    "serve": ("web.serve", "web.running"),
}
"""What commands import when they are called; here it is there before they are forked."""


def workloads(home: Path, commands: Sequence[str], *, count: int, size: int, epochs: int) -> list[Workload]:
    """The commands to kill, and what they need."""
    cases(home, count=count, size=size)
    found = [cache_work(home)] if "cache" in commands else []
    fit = fit_work(home, epochs=epochs)
    found += [fit] if "fit" in commands else []
    if {"predict", "report", "serve"} & set(commands):
        folder = fit.folder(home / "trained")
        scored = [("test", "--run", "run")] if "report" in commands else []
        for arguments in (fit.arguments, *scored):
            ended = brats(arguments, folder)
            if ended.code:
                raise SystemExit(ended.said)
        found += [predict_work(home, folder / "run")] if "predict" in commands else []
        found += [report_work(folder / "run")] if "report" in commands else []
    return found


def main() -> None:
    """Run everything, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--commands", nargs="*", default=COMMANDS, choices=COMMANDS)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--size", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no_faults", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in {"cache", *options.commands} & MODULES.keys():
        for module in MODULES[name]:
            import_module(f"brats_lightning.{module}")
    since = time.monotonic()
    campaigns: list[Campaign] = []
    told: list[Told] = []
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary:
        home = Path(temporary).resolve()
        rng = random.Random(options.seed)
        works = workloads(home, options.commands, count=options.cases, size=options.size, epochs=options.epochs)
        for work in works if options.kills else ():
            campaigns.append(kill_at_random(work, home, times=options.kills, rng=rng))
            print(campaigns[-1].row, flush=True)
        if options.kills and "serve" in options.commands:
            served = sorted(path for path in (home / "cases").iterdir() if path.is_dir())[:3]
            campaigns.append(kill_server(home / "trained" / "run", served, home, times=options.kills, rng=rng))
            print(campaigns[-1].row, flush=True)
        if not options.no_faults and set(COMMANDS[:4]) <= set(options.commands):
            faults = Faults(home, {work.name: work for work in works}, rng=rng)
            told = one_by_one(faults, say=lambda row: print(row, flush=True))
    print(
        f"\n{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, "
        f"torch {torch.__version__}; {time.monotonic() - since:.0f} s\n"
    )
    print("\n".join([HEADER, *(campaign.row for campaign in campaigns)]))
    print("\n".join(["", SINGLE, *(each.row for each in told)]) if told else "")
    findings = [finding for campaign in campaigns for finding in campaign.findings]
    findings += [f"{each.fault}: {each.ended.said[-600:]}" for each in told if not each.is_well]
    print("\n".join(["", *(note for campaign in campaigns for note in campaign.notes), *findings]))
    if findings:
        raise SystemExit(f"{len(findings)} findings")


if __name__ == "__main__":
    main()
