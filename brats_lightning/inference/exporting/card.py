"""A model card: what a network is, was trained on and scores, and what only people can say of it."""

import csv
import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brats_lightning.inference.models.checkpoints import Model
from brats_lightning.inference.models.sidecar import versions
from brats_lightning.inference.models.spec import ModelSpec
from brats_lightning.labels import REGIONS
from brats_lightning.runs import SPLIT, run_of_checkpoint

SCORES = "scores_test.csv"
PARTS = {"train": "trained on", "validation": "validated on", "test": "set aside"}
TO_FILL_IN = "*To be filled in:*"


def model_card(model: Model, *, name: str, files: Sequence[str]) -> str:
    """A card in Markdown, in the order of Mitchell et al., Model Cards for Model Reporting, 2019.

    What the run's folder tells is filled in, if the checkpoint lies in one; what no program knows is asked for.

    Args:
        model: The checkpoint.
        name: Of the network.
        files: Names of what was exported.
    """
    spec, run = model.spec, run_of_checkpoint(model.path)
    return f"""\
# {name}

Research software, not a medical device. Written by `brats export`; complete it before you pass the network on.

## The network

| | |
|---|---|
| network | `{spec.network["class_path"]}` |
| input | {", ".join(spec.preprocessing.modalities)}, in this order |
| output | {", ".join(spec.output_channels)} ({_meaning(spec)}) |
| preprocessing | {_preprocessing(spec)} |
| regions | {"; ".join(_region(name, values) for name, values in spec.regions.items())} |
| checkpoint | SHA-256 `{model.digest}` |
| files | {", ".join(f"`{file}`" for file in files)} |
| versions | {", ".join(f"{package} {version}" for package, version in versions().items())} |

{TO_FILL_IN} who trained it, when, its version and licence, whom to ask.

## Intended use

{TO_FILL_IN} for what, by whom, on which patients and scanners; and for what not.

## Training data

{_training(run)}

{TO_FILL_IN} which data set, of which hospitals and patients (age, sex, tumour, treatment), under which terms; who drew
the references.

## Scores

{_scores(run)}

{TO_FILL_IN} by scanner, hospital, age and sex where that is known; on data of others.

## What to look out for

{TO_FILL_IN} where it fails (`brats report` shows the worst cases), which patients it has never seen, what it may do
to them.
"""


def _meaning(spec: ModelSpec) -> str:
    return {"labels": "one label a voxel", "regions": "nested regions", "tumour": "one mask"}[spec.outputs]


def _preprocessing(spec: ModelSpec) -> str:
    settings = spec.preprocessing
    where = f"{settings.spacing_mm:g} mm" if isinstance(settings.spacing_mm, int | float) else ""
    size = "×".join("as it is" if length is None else str(length) for length in settings.size or ())
    done = ["RAS", "N4" if settings.bias_field else "", "noise reduction" if settings.denoise else "", where, size]
    return ", ".join(filter(None, [*done, "normalised inside the brain"]))


def _region(name: str, values: Sequence[int]) -> str:
    own = tuple(values) == tuple(REGIONS.get(name, ()))
    return name if own else f"{name} (labels {', '.join(map(str, values))})"


def _training(run: Path | None) -> str:
    """Numbers of cases and digests, as the run's folder has them."""
    split = _json(run / SPLIT) if run else None
    if not isinstance(split, Mapping):
        return "The checkpoint lies in no run's folder that says what it was trained on."
    sizes = {words: len(split[part]) for part, words in PARTS.items() if split.get(part)}
    counts = [f"{count} case{'s' if count > 1 else ''} {words}" for words, count in sizes.items()]
    starts = _json(run / "facts.json") if run else None
    last = starts[-1] if isinstance(starts, list) and starts and isinstance(starts[-1], Mapping) else {}
    told = {"data_sha256": "SHA-256 of the data", "split_sha256": "of the split", "commit": "commit of the program"}
    digests = [f"{words} `{last[name]}`" for name, words in told.items() if last.get(name)]
    return "; ".join([", ".join(counts), *digests]) + "."


def _scores(run: Path | None) -> str:
    """Mean and standard deviation of Dice over the cases of `brats test`."""
    rows = _rows(run / SCORES) if run else []
    dice: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        value = _number(row.get("dice"))
        if row.get("region") and value is not None:
            dice[row["region"]].append(value)
    if not dice:
        return f"{TO_FILL_IN} `brats test` has not scored it."
    first = rows[0]
    about = f"`brats test`, {first.get('grid', '')} grid, empty masks by `{first.get('empty_masks', '')}`"
    table = "\n".join(
        f"| {region} | {len(values)} | {statistics.fmean(values):.3f} | {_spread(values)} |"
        for region, values in dice.items()
    )
    return f"{about}:\n\n| region | cases | Dice | standard deviation |\n|---|---|---|---|\n{table}"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.stdev(values):.3f}" if len(values) > 1 else "–"


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if value == value else None  # noqa: PLR0124 - not a number is not itself


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return []


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
