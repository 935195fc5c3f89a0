"""The part of a run's report about the scores of one file: table, plots, the worst and the best cases."""

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from brats_lightning.errors import BratsError
from brats_lightning.reports.html.page import Section
from brats_lightning.reports.html.parts import Html, details, facts, joined, notice, paragraph, picture, table
from brats_lightning.reports.run_figures import Drawn
from brats_lightning.reports.run_folder import FIGURES, without_place
from brats_lightning.reports.run_scores import Spread, conventions, empties, named_checkpoints, ranked_cases, spreads
from brats_lightning.reports.run_sections import PICTURES_STYLE, heading, many, number, shown, title_of
from brats_lightning.reports.score_files import ScoreFile, read_score_file
from brats_lightning.reports.score_kinds import is_no_score
from brats_lightning.reports.scores import SHOWN

AT_EACH_END = 5
"""Cases shown as the worst, and as the best."""
FEW = 5
_CONVENTIONS = {
    "brats": "both masks empty: Dice 1 and 0 mm; one empty: 0 and 373.13 mm",
    "brats-diagonal": "both masks empty: Dice 1 and 0 mm; one empty: 0 and the image's diagonal",
    "nan": "scores that the formula leaves undefined are left out",
    "exclude": "regions that the reference does not have are left out",
}


def scores(
    file: ScoreFile, drawn: Sequence[Drawn], *, pictures: Mapping[str, Path], above: Collection[str] = ()
) -> Section:
    """Everything about the scores of one file.

    Args:
        file: The scores.
        drawn: Plots of them.
        pictures: Of cases, small enough for a page.
        above: Cases whose pictures an earlier section shows.
    """
    every = spreads(file)
    main = [each for each in every if each.score in SHOWN or each.score == "accuracy"]
    further = [each for each in every if each not in main]
    parts = [facts(_about(file))]
    if len(file.cases) < FEW:
        parts.append(notice(f"{many(len(file.cases), 'case')}: too few for an estimate of accuracy."))
    parts.append(_table(main, file))
    if further:
        parts.append(details("further scores", _table(further, file)))
    parts += map(paragraph, _of_empty_masks(file, every))
    parts += _classes(file.path.with_name(file.path.name.replace("scores", "scores_classes", 1)))
    parts += map(shown, drawn)
    parts += _ends(file, pictures, above)
    return Section(f"Scores: {title_of(file)}", joined(*parts), style=PICTURES_STYLE)


def _about(file: ScoreFile) -> dict[str, str]:
    told = {"cases": str(len(file.cases)), "file": file.path.name}
    if checkpoints := named_checkpoints(file.path):
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


def _classes(path: Path) -> list[Html]:
    """What the callback ClassScores has counted: precision and the like by class, voxels of all cases pooled."""
    try:
        file = read_score_file(path) if path.is_file() else None
    except BratsError as error:
        return [notice(f"{path.name} is left out: {without_place(path, error)}.")]
    if file is None:
        return []
    measures = [column for column in file.scores if not is_no_score(column)]
    rows = [
        [row[1].removeprefix("class_").replace("_", " "), *(f"{file.scores[column][row]:.4f}" for column in measures)]
        for row in file.rows
    ]
    columns = ["class", *(SHOWN.get(column, column) for column in measures)]
    caption = "accuracy is that of all voxels; micro averages count voxels, macro averages classes"
    return [details("classes, voxels of all cases pooled", table(columns, rows, caption=caption))]


def worst_and_best(file: ScoreFile) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Cases with their mean Dice, five from each end of the ranking, none in both; the first is at the end."""
    ranked, _ = ranked_cases(file)
    half = math.ceil(len(ranked) / 2)
    return ranked[: min(AT_EACH_END, half)], ranked[max(len(ranked) - AT_EACH_END, half) :][::-1]


def _ends(file: ScoreFile, pictures: Mapping[str, Path], above: Collection[str]) -> list[Html]:
    """The worst and the best cases by mean Dice."""
    worst, best = worst_and_best(file)
    if not worst:
        return [notice("No case has a defined Dice: there are no worst and best ones.")]
    parts = []
    for name, ends in (("worst", worst), ("best", best)):
        title = f"The {name} case" if len(ends) == 1 else f"The {len(ends)} {name} cases"
        if ends:
            parts += [heading(title if best else "The only case"), _cases(file, ends)]
            parts += [
                picture(
                    pictures[case], description=f"{case}: image, reference and prediction", caption=_caption(case, mean)
                )
                for case, mean in ends
                if case in pictures and case not in above
            ]
    return [*parts, *map(paragraph, _without_picture([case for case, _ in worst + best], pictures, above))]


def _caption(case: str, mean: float) -> str:
    return f"{case}: mean Dice {number(mean)}"


def _cases(file: ScoreFile, ends: Sequence[tuple[str, float]]) -> Html:
    _, regions = ranked_cases(file)
    distance = file.scores.get("hd95_mm", {})
    columns = ["case", "mean Dice", *(f"Dice {region}" for region in regions)]
    columns += [f"HD95 mm {region}" for region in regions] if distance else []
    rows = []
    for case, mean in ends:
        row = [case, number(mean)]
        row += [number(file.scores["dice"].get((case, region), math.nan)) for region in regions]
        row += [number(distance.get((case, region), math.nan), "hd95_mm") for region in regions] if distance else []
        rows.append(row)
    return table(columns, rows, caption=f"by mean Dice of {', '.join(regions)}")


def _without_picture(cases: Sequence[str], pictures: Mapping[str, Path], above: Collection[str]) -> list[str]:
    said = []
    if again := [case for case in cases if case in above]:
        said.append(f"Pictures stand above of {', '.join(again)}.")
    if without := [case for case in cases if case not in pictures and case not in above]:
        said.append(
            f"There is no picture of {', '.join(without)} in {FIGURES}. The callback OverlayPictures draws cases while "
            "they are tested, as many as it is told."
        )
    return said
