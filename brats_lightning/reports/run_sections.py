"""The parts of a run's report: what it is, its data, its training, what it was made with, its configuration."""

import math
from collections.abc import Mapping, Sequence

from brats_lightning.data.splits import PARTS, Parts
from brats_lightning.reports.html.page import Section
from brats_lightning.reports.html.parts import (
    Html,
    details,
    escaped,
    facts,
    joined,
    listing,
    notice,
    paragraph,
    picture,
    preformatted,
    table,
)
from brats_lightning.reports.run_figures import Drawn
from brats_lightning.reports.run_folder import RunFolder
from brats_lightning.reports.run_history import Best, History
from brats_lightning.reports.run_scores import part_of, spreads
from brats_lightning.reports.run_settings import Setting, class_name, flat, value_of
from brats_lightning.reports.run_wandb import duration
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.scores import SHOWN

PART_TITLES = {"train": "training", "validation": "validation", "test": "test"}
DONE_WITH = {"train": "trained on", "validation": "validated on", "test": "tested on"}
PICTURES_STYLE = """
@media (max-width: 36rem) { main figure { overflow-x: auto; } main figure img { max-width: none; width: 46rem; } }
"""
"""On a phone pictures of several panels are moved, not shrunk until nobody can read them."""
VALIDATED = ("dice", "hd95_mm")
"""Scores of the table of the validation during training."""


def glance(run: RunFolder) -> Section:
    """What one looks for first, and all that is missing."""
    history, settings = run.history, run.settings
    told: dict[str, str] = {}
    if network := class_name(settings, "model.network"):
        inner = class_name(settings, "model.network.init_args.network")
        told["network"] = f"{network} of {inner}" if inner else network
    if run.parts is not None:
        told["cases"] = ", ".join(f"{len(getattr(run.parts, part))} {PART_TITLES[part]}" for part in PARTS)
    if history is not None:
        told["trained"] = f"{history.steps:,} steps"
        if history.epochs:
            told["trained"] = f"{many(history.epochs, 'epoch')}, {told['trained']}"
        if not math.isnan(seconds := run.seconds):
            told["trained"] += f", {duration(seconds)}"
    if run.best is not None:
        told["best network"] = f"{epoch_text(run.best)}, {in_words(run.best.by)} {run.best.value:.3f} in validation"
    for file in run.scores:
        if dice := [f"{each.region} {number(each.mean)}" for each in spreads(file) if each.score == "dice"]:
            told[f"Dice, {title_of(file)}"] = f"{', '.join(dice)}; mean of {many(len(file.cases), 'case')}"
    parts = [facts(told)] if told else []
    return Section("At a glance", joined(*parts, *map(notice, run.notes)))


def data(run: RunFolder) -> Section:
    """Which cases were trained on, and how they were prepared."""
    parts: list[Html] = []
    if run.parts is None:
        parts.append(notice("The run has no readable list of its cases."))
    else:
        parts += _cases(run.parts)
    told = _preparation(run.settings)
    return Section("Data", joined(*([facts(told)] if told else []), *parts))


def _cases(parts: Parts) -> list[Html]:
    lists = [
        details(f"{many(len(ids), 'case')} {DONE_WITH[part]}", paragraph(", ".join(ids)))
        for part in PARTS
        if (ids := getattr(parts, part))
    ]
    if parts.left_out:
        left_out = [f"{case}: {why}" for case, why in parts.left_out.items()]
        lists.append(details(f"{many(len(left_out), 'case')} left out, and why", listing(left_out)))
    return lists


def _preparation(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Edition, preprocessing and augmentation in words, of what the configuration holds."""
    chosen = value_of(settings, "data")
    if not isinstance(chosen, Mapping):
        return {}
    root, edition = str(chosen.get("root") or ""), chosen.get("edition")
    told = {"folder": root.rstrip("/").rpartition("/")[2]} if root else {}
    told["edition"] = str(edition) if edition else "recognised by names and label values, case by case"
    split = class_name(settings, "data.split")
    arguments = value_of(settings, "data.split.init_args")
    inner = _listed(arguments)
    told["split"] = f"{split}: {inner}" if split and inner else split or "as the list says"
    preprocessing = chosen.get("preprocessing")
    if listed := _listed(preprocessing):
        told["preprocessing"] = listed
    steps = chosen.get("augmentation")
    names = [_class_of(step) for step in steps] if isinstance(steps, list) else [_class_of(steps)]
    told["augmentation"] = ", ".join(filter(None, names)) or "none"
    for name in ("batch_size", "patches", "slices", "samples_per_epoch"):
        if chosen.get(name) is not None:
            told[name.replace("_", " ")] = _listed(chosen[name]) or str(chosen[name])
    return told


def _listed(settings: Setting) -> str:
    """Settings in one line, without those of their parts and those that are not set; empty of what is no mapping."""
    found = flat(settings).items() if isinstance(settings, Mapping) else ()
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in found if "." not in name and text != "null")


def _class_of(step: Setting) -> str:
    return str(step.get("class_path", "")).rpartition(".")[2] if isinstance(step, Mapping) else ""


def training(run: RunFolder, drawn: Sequence[Drawn]) -> Section:
    """Curves, and the validation scores of the best and of the last epoch."""
    if run.history is None:
        return Section("Training", notice("There are no curves: nothing that was logged can be read."))
    return Section("Training", joined(*validated(run.history, run.best), *map(shown, drawn)), style=PICTURES_STYLE)


def validated(history: History, best: Best | None) -> list[Html]:
    """A table of validation scores by region: of the best network and of the last epoch that was validated."""
    found = {score: history.regions(score) for score in VALIDATED}
    regions = list(dict.fromkeys(region for curves in found.values() for region in curves))
    scores = [score for score in VALIDATED if found[score]]
    if not regions:
        return [paragraph("No validation scores by region were logged.")]
    rows = []
    for region in regions:
        row = [region]
        for score in scores:
            curve = found[score].get(region)
            at_best = curve.at(best.step) if curve is not None and best is not None else math.nan
            row += [number(at_best, score), number(math.nan if curve is None else curve.last, score)]
        rows.append(row)
    columns = [f"{SHOWN[score]}, {which}" for score in scores for which in ("best network", "last epoch")]
    by = "no network stands out" if best is None else f"best network: {epoch_text(best)}, by {in_words(best.by)}"
    return [table(["region", *columns], rows, caption=f"{by}; validation cases on the grid of the preprocessed cases")]


def in_words(name: str) -> str:
    """What a logged number is called by people.

    Example:
        >>> in_words("val/dice_mean_ET_ED_NCR"), in_words("val/dice_WT"), in_words("speed/waiting")
        ('mean Dice of ET, ED, NCR', 'Dice of WT', 'speed/waiting')
    """
    for score, said in SHOWN.items():
        if name.startswith(f"val/{score}_"):
            first, *rest = name.removeprefix(f"val/{score}_").split("_")
            return f"mean {said} of {', '.join(rest)}" if first == "mean" else f"{said} of {'_'.join([first, *rest])}"
    return {"val/loss": "validation loss"}.get(name, name)


def made_with(*, versions: Mapping[str, str], versions_here: Mapping[str, str], machine: Mapping[str, str],
              digests: Mapping[str, str]) -> Section:  # fmt: skip
    """Versions, machine, commit and digests."""
    parts = []
    if machine:
        parts.append(facts(machine))
    else:
        parts.append(paragraph("Machine and commit were not recorded with this run."))
    if versions:
        parts.append(facts(versions))
    else:
        parts.append(paragraph("Versions were not recorded with this run. This report was made with:"))
        parts.append(facts(versions_here))
    if digests:
        parts += [paragraph("SHA-256, to tell whether two runs had the same:"), facts(digests)]
    return Section("Made with", joined(*parts))


def configuration(run: RunFolder) -> Section:
    """The resolved configuration in full."""
    if not run.config:
        return Section("Configuration", notice("The run has no readable configuration."))
    body = details("config.yaml, every setting with its value", preformatted(run.config))
    return Section("Configuration", body)


def shown(drawn: Drawn) -> Html:
    """A picture with what it shows in words."""
    return picture(drawn.path, description=drawn.description, caption=drawn.caption)


def heading(text: str) -> Html:
    """A heading within a section."""
    return Html(f"<h3>{escaped(text)}</h3>")


def title_of(file: ScoreFile) -> str:
    """`test cases` of `scores_test.csv`."""
    part = part_of(file.path)
    first, _, rest = part.partition("_")
    if not part:
        return "scored cases"
    named = f"{PART_TITLES.get(first, first)} cases"
    return f"{named} ({rest.replace('_', ' ')})" if rest else named


def epoch_text(best: Best) -> str:
    """Counted from 1, as people do; the step where no epoch is known."""
    return f"step {best.step + 1}" if math.isnan(best.epoch) else f"epoch {int(best.epoch) + 1}"


def number(value: float, score: str = "dice") -> str:
    """Three decimals, one of mm and ml, a dash for none."""
    if math.isnan(value):
        return "–"
    return f"{value:.1f}" if score.endswith(("_mm", "_ml")) else f"{value:.3f}"


def many(count: int, what: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{count} {what}{'s' * (count != 1)}"
