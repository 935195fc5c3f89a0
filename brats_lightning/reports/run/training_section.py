"""The part of a run's report about its training: curves, what validation came to, validation cases as drawn last."""

import math
from collections.abc import Sequence

from brats_lightning.reports.html.page import Section
from brats_lightning.reports.html.parts import Html, joined, notice, paragraph, table
from brats_lightning.reports.picture_files import FIGURES, VALIDATION
from brats_lightning.reports.run.figures import Drawn
from brats_lightning.reports.run.folder import RunFolder
from brats_lightning.reports.run.history import Best, History
from brats_lightning.reports.run.pictures import MOST_VALIDATED, Album, validated_cases
from brats_lightning.reports.run.sections import PICTURES_STYLE, heading, shown
from brats_lightning.reports.run.words import epoch_text, in_words, many, number
from brats_lightning.reports.scores import SHOWN

VALIDATED = ("dice", "hd95_mm")
"""Scores of the table of the validation during training."""


def training(run: RunFolder, drawn: Sequence[Drawn], *, album: Album) -> Section:
    """Curves, the validation scores of the best and of the last epoch, and validation cases as they were drawn last.

    Args:
        run: With its history.
        drawn: The curves.
        album: Takes the pictures.
    """
    if run.history is None:
        parts = [notice("There are no curves: nothing that was logged can be read.")]
    else:
        parts = [*validated(run.history, run.best), *map(shown, drawn)]
    return Section("Training", joined(*parts, *_validation_pictures(run, album)), style=PICTURES_STYLE)


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


def _validation_pictures(run: RunFolder, album: Album) -> list[Html]:
    found = validated_cases(run.path)
    parts = []
    for case, (epoch, path) in list(found.items())[:MOST_VALIDATED]:
        said = f"{case}: image, reference and prediction after epoch {epoch}"
        if picture := album.show(path, description=said, caption=f"{case}, after epoch {epoch}"):
            parts.append(picture)
    if not parts:
        return []
    title = "Validation cases, as the network saw them last while it was trained"
    rest = len(found) - MOST_VALIDATED
    more = [paragraph(f"Pictures of {many(rest, 'further case')} lie in {FIGURES}/{VALIDATION}.")] if rest > 0 else []
    return [heading(title), *parts, *more]
