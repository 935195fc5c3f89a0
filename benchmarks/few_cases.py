"""What `configs/few_cases.yaml` makes of few cases in a few minutes a fold: a cross-validation in one command.

    python benchmarks/few_cases.py ROOT [--minutes 7] [--folds 3] [--flips] [--output runs/few_cases] [-- OPTIONS]

Each fold trains on the other folds' cases alone and is scored on its own, on the patients' grids. With `--final` a last
network is trained on all cases. OPTIONS go to `brats fit`, such as another `--config` or a smaller patch.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "configs" / "few_cases.yaml"
KFOLD = "brats_lightning.data.splits.KFold"
REGIONS = ("WT", "TC", "ET", "ED", "NCR")


def brats(*arguments: str) -> None:
    """Call the command."""
    subprocess.run([sys.executable, "-m", "brats_lightning", *arguments], check=True)  # noqa: S603


def train(run: Path, root: Path, minutes: float, more: Sequence[str]) -> None:
    """Train for some minutes."""
    hours, rest = divmod(round(minutes * 60), 3600)
    limit = f"00:{hours:02}:{rest // 60:02}:{rest % 60:02}"
    settings = [f"--config={CONFIG}", f"--data.root={root}", f"--run={run}", f"--trainer.max_time={limit}"]
    brats("fit", *settings, "--trainer.logger=false", *more)


def scores_of(run: Path, flips: bool) -> list[dict[str, str]]:
    """Scores of the last weights on the fold's own cases."""
    more = ["--inference.flips=[0,1,2]"] if flips else []
    brats("validate", f"--run={run}", "--ckpt_path=last", *more)
    with (run / "scores_validation_last.csv").open() as file:
        return list(csv.DictReader(file))


def main() -> None:
    """Train every fold, score it, print the mean and spread over all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--minutes", type=float, default=7)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--flips", action="store_true", help="score with eight flips")
    parser.add_argument("--final", action="store_true", help="also train on all cases")
    parser.add_argument("--output", type=Path, default=Path("runs/few_cases"))
    options, more = parser.parse_known_args()
    more = [word for word in more if word != "--"]
    rows: list[dict[str, str]] = []
    for fold in range(options.folds):
        run = options.output / f"fold-{fold}"
        split = [f"--data.split={KFOLD}", f"--data.split.folds={options.folds}", f"--data.split.fold={fold}"]
        train(run, options.root, options.minutes, [*split, *more])
        rows += scores_of(run, options.flips)
    report(rows)
    if options.final:
        listed = options.output / "all.json"
        listed.write_text(json.dumps({"train": sorted({row["case"] for row in rows}), "validation": [], "test": []}))
        split = ["--data.split=brats_lightning.data.splits.Listed", f"--data.split.file={listed}"]
        train(options.output / "all", options.root, options.minutes, [*split, *more])
        print(f"trained on all cases: {options.output / 'all' / 'checkpoints' / 'last.ckpt'}")


def report(rows: Sequence[dict[str, str]]) -> None:
    """Print a table of regions."""
    cases = sorted({row["case"] for row in rows})
    print(f"\n{len(cases)} cases, each scored by the network that has not seen it: {', '.join(cases)}\n")
    print("| region | Dice, mean ± deviation | HD95 mm |\n|---|---|---|")
    for region in REGIONS:
        found = [row for row in rows if row["region"] == region]
        dice, hd95 = ([float(row[name]) for row in found] for name in ("dice", "hd95_mm"))
        print(
            f"| {region} | {statistics.mean(dice):.3f} ± {statistics.stdev(dice):.3f} "
            f"| {statistics.mean(hd95):.1f} ± {statistics.stdev(hd95):.1f} |"
        )


if __name__ == "__main__":
    main()
