"""`brats tune-postprocessing`: fit thresholds and volumes on validation cases, and say what that is worth."""

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.homes import make_home
from brats_lightning.data.reading import read_reference
from brats_lightning.data.splits import Parts
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.inference.models.checkpoints import POSTPROCESSING, Model, open_checkpoint, read_checkpoint
from brats_lightning.inference.postprocessing.postprocess import plain
from brats_lightning.inference.predictor.predictor import PredictorOptions
from brats_lightning.inference.segmenter import Segmenter
from brats_lightning.inference.shares import Share, device_of
from brats_lightning.inference.tuning.tuning import Tuned, inner_folds, tune
from brats_lightning.inference.tuning.tuning_cases import Metric, TuningCase, metric_of
from brats_lightning.inference.tuning.tuning_search import EACH_AT_HALF, MOST_PROBABLE, TUMOUR_AT_HALF, Settings
from brats_lightning.machine import usable_cores
from brats_lightning.model.outputs import Outputs
from brats_lightning.runs import SPLIT
from brats_lightning.whole_files import whole_file

_STARTS: Mapping[Outputs, Settings] = {"labels": MOST_PROBABLE, "regions": EACH_AT_HALF, "tumour": TUMOUR_AT_HALF}
STEPS, SCORES = "postprocessing.yaml", "postprocessing.csv"
Save = Literal["if-better", "always", "never"]


def tune_postprocessing(
    *,
    runs: tuple[Path, ...],
    metric: str = "dice_mean_WT_TC_ET",
    folds: int = 5,
    save: Save = "if-better",
    root: Path | None = None,
    inference: PredictorOptions | None = None,
    device: str = "auto",
    workers: int | None = None,
    seed: int = 0,
    trust: tuple[str, ...] = (),
) -> None:
    """Fit post-processing to the validation cases of runs: `brats tune-postprocessing --runs RUN …`.

    What is reported was found on other folds than those it is scored on. The steps found on all cases are written to
    each run's `postprocessing.yaml`, and into its best checkpoint, whose predictions then go through them.

    Args:
        runs: Folder of a run, or of the runs of a cross-validation.
        metric: To better: a score with a region (`hd95_mm_ET`), or with mean_WT_TC_ET or mean_ET_ED_NCR.
        folds: Of the validation cases where there is one run alone, by patient.
        save: Into the checkpoints: if the held-out folds got better, always, or never.
        root: Folder of the cases; null takes the one that a run was trained on.
        inference: How volumes are covered.
        device: auto, cpu, cuda, or cuda:1.
        workers: Processes; null takes the cores there are.
        seed: Of the folds of a single run.
        trust: Packages, besides this one, MONAI and PyTorch, whose networks may be imported.
    """
    wanted = metric_of(metric)  # a wrong name shall not cost the time of predicting
    if not runs:
        raise ConfigError("no run: give one run, or the runs of a cross-validation")
    settings, chosen = inference or PredictorOptions(), device_of(device, Share())
    if folds < 2:
        raise ConfigError(f"--folds must be at least 2, found {folds}: what is found on one is scored on the others")
    models = [open_checkpoint(run, trust=trust) for run in runs]
    start = _own_decision(models, wanted)
    validated = [_validation_cases(run, model, root) for run, model in zip(runs, models, strict=True)]
    fold_of = _folds(runs, validated, count=folds, seed=seed)
    with tempfile.TemporaryDirectory(dir=runs[0], prefix=".tuning-") as folder:
        cases: list[TuningCase] = []
        for model, found in zip(models, validated, strict=True):
            cases += _predicted(model, found, fold_of=fold_of, folder=Path(folder), options=settings, device=chosen)
        tuned = tune(
            cases,
            metric=metric,
            workers=usable_cores() if workers is None else workers,
            start=start,
        )
    report(tuned, Console())
    better = tuned.after > tuned.before if tuned.metric.better == "higher" else tuned.after < tuned.before
    for run, model in zip(runs, models, strict=True):
        _write(run, tuned)
        if save == "always" or (save == "if-better" and better and tuned.steps):
            store(model.path, plain(tuned.steps))
            print(f"saved in {model.path}")  # noqa: T201 - a command
        else:
            print(f"{model.path} is left as it was; use the steps by --config {run / STEPS}")  # noqa: T201


def _own_decision(models: Sequence[Model], metric: Metric) -> Settings:
    """What the networks decide by without steps: it is what these have to better."""
    (kind, *others) = sorted({model.spec.outputs for model in models})
    if others:
        raise ConfigError(f"some of the runs have networks of {kind}, some of {' and '.join(others)}: tune them apart")
    if kind == "tumour" and metric.regions != ("WT",):
        raise ConfigError(
            f"networks that tell tumour from all else and no tissues apart cannot be tuned for {metric.name}: "
            f"expected a score of WT, such as --metric {metric.score}_WT"
        )
    return _STARTS[kind]


def _validation_cases(run: Path, model: Model, root: Path | None) -> list[Case]:
    """The cases that a run was validated on, by its own split."""
    stored = read_checkpoint(model.path)["datamodule_hyper_parameters"]
    if root is None and not stored.get("root"):
        raise ConfigError(f"{model.path} does not say where its cases are: give their folder by --root")
    folder = root or Path(stored["root"])
    if not (run / SPLIT).is_file():
        raise ConfigError(f"{run} has no {SPLIT}: which cases it was validated on is not known")
    wanted = Parts.read(run / SPLIT).validation
    modalities, edition = model.spec.preprocessing.modalities, stored.get("edition")
    found = {case.id: case for case in find_cases(folder, modalities=modalities, edition=edition).cases}
    if missing := [case for case in wanted if case not in found]:
        raise ConfigError(
            f"{folder} does not have {missing[0]}, which {run} was validated on: give its folder by --root"
        )
    return [found[case] for case in wanted]


def _folds(runs: Sequence[Path], validated: Sequence[Sequence[Case]], *, count: int, seed: int) -> Mapping[str, str]:
    """Fold of each case: its run, or a part of the cases of a single run."""
    if len(runs) == 1:
        return inner_folds(validated[0], count=count, seed=seed)
    owners: dict[str, str] = {}
    for run, cases in zip(runs, validated, strict=True):
        if twice := [case.patient for case in cases if owners.get(case.patient, str(run)) != str(run)]:
            raise ConfigError(f"{twice[0]} was validated on by two of the runs: they are not folds of one split")
        owners |= {case.patient: str(run) for case in cases}
    return {case.id: str(run) for run, cases in zip(runs, validated, strict=True) for case in cases}


def _predicted(
    model: Model,
    cases: Sequence[Case],
    *,
    fold_of: Mapping[str, str],
    folder: Path,
    options: PredictorOptions,
    device: torch.device,
) -> Iterator[TuningCase]:
    """Probabilities of each case on its own grid, kept on the disk."""
    stored = read_checkpoint(model.path)["datamodule_hyper_parameters"]
    kept = stored.get("cache") == "disk" and stored.get("cache_dir")
    home = make_home("disk", Path(kept)) if kept else make_home("none", folder)
    cache = CaseCache(model.spec.preprocessing, home)
    segmenter = Segmenter([model], options=options, device=device, postprocessing=())
    for case in track(cases, description=f"Predicting with {model.path}", transient=True):
        sample = cache.get(case)
        found = segmenter([sample])
        reference = read_reference(case)
        # All of the grid that the reference may reach into: a lesion outside the box counts as missed.
        whole = np.zeros((len(found.probabilities), *reference.shape), np.float16)
        whole[0] = 1
        whole[(slice(None), *found.placement.box)] = found.probabilities.half().cpu().numpy()
        x, y, z = (
            slice(min(a.start, b.start), max(a.stop, b.stop))
            for a, b in zip(found.placement.box, _box_of(reference), strict=True)
        )
        paths = folder / f"{case.id}.probabilities.npy", folder / f"{case.id}.reference.npy"
        np.save(paths[0], whole[:, x, y, z])
        np.save(paths[1], reference[x, y, z])
        yield TuningCase(case.id, fold_of[case.id], *paths, sample.native.ras().spacing_mm)


def _box_of(reference: Any) -> tuple[slice, ...]:
    found = np.nonzero(reference)
    if not found[0].size:
        return tuple(slice(size // 2, size // 2) for size in reference.shape)
    return tuple(slice(int(places.min()), int(places.max()) + 1) for places in found)


def report(tuned: Tuned, console: Console) -> None:
    """Print what was found, fold by fold, and what it is worth."""
    name = f"{tuned.metric.name} ({tuned.metric.better} is better)"
    table = Table(title=f"{name}: each fold with the steps found on the others")
    for heading in ("fold", "cases", "before", "after"):
        table.add_column(heading, justify="left" if heading == "fold" else "right")
    for fold in tuned.folds:
        rows = [row for row in tuned.rows if row.fold == fold]
        before, after = (float(np.mean([getattr(row, side) for row in rows])) for side in ("before", "after"))
        table.add_row(fold, str(len(rows)), f"{before:.4f}", f"{after:.4f}")
    table.add_row("all", str(len(tuned.rows)), f"{tuned.before:.4f}", f"{tuned.after:.4f}", style="bold")
    console.print(table)
    found = (
        "\n".join(f"  {step}" for step in tuned.steps) or "  none: nothing betters what networks decide by themselves"
    )
    console.print(f"Steps found on all cases:\n{found}", markup=False, highlight=False)


def store(path: Path, steps: Sequence[Mapping[str, Any]]) -> None:
    """Put steps into a checkpoint: written whole under another name, then moved into its place.

    Raises:
        BratsError: It cannot be written.
    """
    content = read_checkpoint(path)
    content[POSTPROCESSING] = [dict(step) for step in steps]
    try:
        with whole_file(path) as half, half.open("wb") as file:
            torch.save(content, file)
    except OSError as error:
        raise BratsError(f"{path} cannot be written ({error.strerror}): it is left as it was") from error


def _write(run: Path, tuned: Tuned) -> None:
    try:
        text = yaml.safe_dump({"postprocessing": plain(tuned.steps)}, sort_keys=False)
        about = (
            f"# For {tuned.metric.name}: {tuned.before:.4f} before, {tuned.after:.4f} after, each of {len(tuned.rows)}"
        )
        (run / STEPS).write_text(
            f"{about} cases by the steps\n# found on other folds; these were found on all cases.\n{text}"
        )
        with (run / SCORES).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "fold", "metric", "before", "after"])
            writer.writerows([row.case, row.fold, tuned.metric.name, row.before, row.after] for row in tuned.rows)
    except OSError as error:
        raise BratsError(f"{run} cannot be written ({error.strerror})") from error
