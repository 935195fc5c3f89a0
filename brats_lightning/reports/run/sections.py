"""Parts of a run's report: what it is, its data, its configuration; and what all parts are made of."""

import math
from collections.abc import Mapping

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
)
from brats_lightning.reports.run.figures import Drawn
from brats_lightning.reports.run.folder import RunFolder
from brats_lightning.reports.run.scores import part_of, spreads
from brats_lightning.reports.run.settings import Setting, class_name, flat, value_of
from brats_lightning.reports.run.wandb import duration
from brats_lightning.reports.run.words import epoch_text, in_words, many, number
from brats_lightning.reports.score_files import ScoreFile

PART_TITLES = {"train": "training", "validation": "validation", "test": "test"}
DONE_WITH = {"train": "trained on", "validation": "validated on", "test": "tested on"}
PICTURES_STYLE = """
@media screen and (max-width: 36rem) {
  main figure { overflow-x: auto; }
  main figure img { max-width: none; width: 46rem; }
  main .narrow img { max-width: 100%; width: auto; }
}
"""
"""On a phone pictures of several panels are moved, not shrunk until nobody can read them."""


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
    if run.starts:
        again = len(run.starts) - 1
        told["started"] = run.starts[0].when + (f", gone on with {many(again, 'time')}" if again else "")
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


def configuration(run: RunFolder) -> Section:
    """The resolved configuration in full."""
    if not run.config:
        return Section("Configuration", notice("The run has no readable configuration."))
    body = details("config.yaml, every setting with its value", preformatted(run.config))
    return Section("Configuration", body)


def shown(drawn: Drawn) -> Html:
    """A picture with what it shows in words."""
    figure = picture(drawn.path, description=drawn.description, caption=drawn.caption)
    return Html(f'<div class="narrow">{figure}</div>') if drawn.narrow else figure


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
