"""The part of a run's report about the scores of one file: table, plots, the worst and the best cases."""

import math
from collections.abc import Mapping, Sequence

from brats_lightning.reports.html.page import Section
from brats_lightning.reports.html.parts import Html, details, facts, joined, notice, paragraph, table
from brats_lightning.reports.picture_files import FIGURES, pictures_of
from brats_lightning.reports.ranking import averaged, ends
from brats_lightning.reports.run.figures import Drawn
from brats_lightning.reports.run.pictures import Album
from brats_lightning.reports.run.scores import (
    Spread,
    conventions,
    empties,
    means_of_cases,
    named_checkpoints,
    part_of,
    spreads,
)
from brats_lightning.reports.run.sections import PICTURES_STYLE, heading, shown, title_of
from brats_lightning.reports.run.words import many, number
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.scores import SHOWN

FEW = 5
_CONVENTIONS = {
    "brats": "both masks empty: Dice 1 and 0 mm; one empty: 0 and 373.13 mm",
    "brats-diagonal": "both masks empty: Dice 1 and 0 mm; one empty: 0 and the image's diagonal",
    "nan": "scores that the formula leaves undefined are left out",
    "exclude": "regions that the reference does not have are left out",
}


def scores(file: ScoreFile, drawn: Sequence[Drawn], *, classes: Sequence[Html] = (), album: Album) -> Section:
    """Everything about the scores of one file.

    Args:
        file: The scores.
        drawn: Plots of them.
        classes: What `classes_of` says of the same cases.
        album: Takes pictures of the worst and the best cases.
    """
    every = spreads(file)
    main = [each for each in every if each.score in SHOWN or each.score == "accuracy"]
    further = [each for each in every if each not in main]
    parts = [facts(_about(file)), *map(notice, file.notes)]
    if len(file.cases) < FEW:
        parts.append(notice(f"{many(len(file.cases), 'case')}: too few for an estimate of accuracy."))
    parts.append(_table(main, file))
    if further:
        parts.append(details("further scores", _table(further, file)))
    parts += map(paragraph, _of_empty_masks(file, every))
    parts += map(shown, drawn)
    parts += classes
    parts += _ends(file, album)
    return Section(f"Scores: {title_of(file)}", joined(*parts), style=PICTURES_STYLE)


def _about(file: ScoreFile) -> dict[str, str]:
    told = {"cases": str(len(file.cases)), "file": file.path.name}
    if checkpoints := named_checkpoints(file):
        told["checkpoint"] = ", ".join(checkpoints)
    words = conventions(file)
    for column, name in (("grid", "grid"), ("empty_masks", "empty masks"), ("distances", "distances")):
        if value := words.pop(column, ""):
            told[name] = f"{value} convention: {_CONVENTIONS[value]}" if value in _CONVENTIONS else value
    return told | {column.replace("_", " "): value for column, value in words.items() if value}


def _table(found: Sequence[Spread], file: ScoreFile) -> Html:
    rows, before = [], ""
    for each in found:
        low, high = each.quartiles
        spread = "" if math.isnan(each.std) else f" ± {number(each.std, each.score)}"
        rows.append(
            [
                SHOWN.get(each.score, each.score.replace("_", " ")) if each.score != before else "",
                each.region,
                number(each.mean, each.score) + spread,
                number(each.median, each.score),
                f"{number(low, each.score)} – {number(high, each.score)}" if len(each.values) > 1 else "–",
                str(len(each.values)),
            ]
        )
        before = each.score
    undefined = sum(each.undefined > 0 for each in found)
    caption = "standard deviation of a sample (n − 1); quartiles interpolated between cases"
    if undefined:
        caption += f"; undefined scores are left out: n below {len(file.cases)}"
    return table(["score", "region", "mean ± std", "median", "quartiles", "n"], rows, caption=caption, words=2)


def _of_empty_masks(file: ScoreFile, found: Sequence[Spread]) -> list[str]:
    """How often a region was missed or was not there: means hide it."""
    said = []
    zeros = {each.region: sum(v == 0 for v in each.values.values()) for each in found if each.score == "dice"}
    if told := [f"{region} in {many(count, 'case')}" for region, count in zeros.items() if count]:
        said.append(f"Dice is 0, where a region was missed, invented or found elsewhere: {', '.join(told)}.")
    undefined = {each.region: each.undefined for each in found if each.score == "dice" and each.undefined}
    if undefined:
        told = [f"{region} in {many(count, 'case')}" for region, count in undefined.items()]
        said.append(f"Dice is undefined and left out: {', '.join(told)}.")
    told = [f"{region} in {many(absent, 'reference')}, {many(missed, 'prediction')}"
            for region, (absent, missed) in empties(file).items() if absent or missed]  # fmt: skip
    if told:
        said.append(f"Regions that are not there: {'; '.join(told)}.")
    return said


def _ends(file: ScoreFile, album: Album) -> list[Html]:
    """The worst and the best cases by mean Dice."""
    means = means_of_cases(file)
    worst, best = ends(means)
    if not worst:
        return [notice("No case has a defined Dice: there are no worst and best ones.")]
    parts: list[Html] = []
    without: list[str] = []
    for name, cases in (("worst", worst), ("best", best)):
        title = f"The {name} case" if len(cases) == 1 else f"The {len(cases)} {name} cases"
        if cases:
            parts += [heading(title if best else "The only case"), _cases(file, cases, means)]
        for case in cases:
            path = pictures_of(file.path) / f"{case}.png"
            said = f"{case}: image, reference and prediction"
            picture = album.show(path, description=said, caption=f"{case}: mean Dice {number(means[case])}")
            parts += [] if picture is None else [picture]
            without += [case] if picture is None else []
    return [*parts, *map(paragraph, _without_picture(file, without, album))]


def _cases(file: ScoreFile, cases: Sequence[str], means: Mapping[str, float]) -> Html:
    regions = averaged(file.regions)
    distance = file.scores.get("hd95_mm", {})
    columns = ["case", "mean Dice", *(f"Dice {region}" for region in regions)]
    columns += [f"HD95 mm {region}" for region in regions] if distance else []
    rows = []
    for case in cases:
        row = [case, number(means[case])]
        row += [number(file.scores["dice"].get((case, region), math.nan)) for region in regions]
        row += [number(distance.get((case, region), math.nan), "hd95_mm") for region in regions] if distance else []
        rows.append(row)
    return table(columns, rows, caption=f"by mean Dice of {', '.join(regions)}")


def _without_picture(file: ScoreFile, cases: Sequence[str], album: Album) -> list[str]:
    crowded_out = [case for case in cases if pictures_of(file.path) / f"{case}.png" in album.crowded_out]
    said = []
    if crowded_out:
        said.append(f"No room on this page for pictures of {', '.join(crowded_out)}: they lie in the run's {FIGURES}.")
    if absent := [case for case in cases if case not in crowded_out]:
        part = part_of(file.path).partition("_")[0]
        command = {"train": "validate --part train", "validation": "validate"}.get(part, "test")
        said.append(
            f"There is no picture of {', '.join(absent)}: `brats {command} --run RUN` draws the worst and the best "
            "cases where trainer.callbacks has OverlayPictures."
        )
    return said
