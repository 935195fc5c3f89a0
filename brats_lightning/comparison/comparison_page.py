"""A comparison as a page: one HTML file that needs nothing beside it."""

from collections.abc import Sequence
from pathlib import Path

from brats_lightning.comparison.compared import Compared
from brats_lightning.comparison.extremes import counted_regions, extremes
from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.comparison.results import Comparison
from brats_lightning.comparison.run_rows import RunRow, run_rows, setting_rows
from brats_lightning.comparison.table import p_text
from brats_lightning.reports.html.page import Section, page
from brats_lightning.reports.html.parts import Html, details, facts, joined, listing, notice, paragraph, picture, table
from brats_lightning.reports.run.sections import PICTURES_STYLE, heading
from brats_lightning.reports.run.words import NONE
from brats_lightning.reports.scores import SHOWN

CURVES, SPEED, PICTURE = "comparison_curves.png", "comparison_speed.png", "comparison.png"
LONGEST_HEADING = 20
"""Characters of a name that stands above a column with its letter."""
_SHOWN = {"first": 0, "second": 1}


def comparison_page(found: Compared, folder: Path) -> str:
    """The whole page as text.

    Args:
        found: What was found out.
        folder: With the pictures that were drawn.
    """
    letters = found.letters
    sections = [_glance(found, letters)]
    if found.members:
        own = [_headed(letters[member.name], member.name) for member in found.members]
        sections += [_runs(found, own), _curves(folder)]
    if found.scores is not None:
        sections += [_statistics(found.scores, letters, folder), _ranking(found.scores)]
    names = " · ".join(found.names)
    kind = "methods" if len(found.members) < len(found.names) else "runs"
    return page(f"Comparison of {len(found.names)} {kind}", sections, subtitle=names)


def _headed(letter: str, name: str) -> str:
    return f"{letter} · {name}" if len(name) <= LONGEST_HEADING else letter


def _glance(found: Compared, letters: dict[str, str]) -> Section:
    parts = [facts({letter: name for name, letter in letters.items()}), *map(notice, found.all_notes)]
    if found.scores is not None:
        parts += [_verdict(found.scores), *map(notice, (n for n in found.scores.notes if n.startswith("MIXED")))]
        if rest := [note for note in found.scores.notes if not note.startswith("MIXED")]:
            parts.append(listing(rest))
    return Section("At a glance", joined(*parts))


def _verdict(scores: Comparison) -> Html:
    """What the tests show, in a sentence."""
    shown = [(test, test.verdict(scores.alpha)) for test in scores.tests]
    better = [(t, (t.first, t.second)[_SHOWN[verdict]]) for t, verdict in shown if verdict in _SHOWN]
    if not better:
        return paragraph(
            f"No difference is shown at {scores.alpha:g} in any of {len(shown)} tests over {len(scores.cases)} cases. "
            "That does not show that the methods are equal."
        )
    said = [f"{name} is better in {SHOWN.get(test.score, test.score)} of {test.region}" for test, name in better]
    return joined(
        paragraph(f"Shown at {scores.alpha:g}, after Holm's correction of {len(shown)} tests:"), listing(said)
    )


def _runs(found: Compared, letters: Sequence[str]) -> Section:
    caption = "scores of validation: best network / last epoch, on the grid of the preprocessed cases"
    parts = [_rows("", run_rows(found.members), letters, caption=caption)]
    settings = setting_rows(found.members)
    if settings:
        parts += [heading("Settings that differ"), _rows("setting", settings, letters)]
    elif all(member.settings for member in found.members):
        parts.append(paragraph("The runs have the same settings."))
    else:
        parts.append(notice("Not every run's configuration is known: settings are not compared."))
    return Section("Runs", joined(*parts))


def _rows(name: str, rows: Sequence[RunRow], letters: Sequence[str], *, caption: str = "") -> Html:
    return table([name, *letters], [[row.name, *row.cells] for row in rows], caption=caption)


def _curves(folder: Path) -> Section:
    drawn = {CURVES: "Loss and validation scores of the runs", SPEED: "Learning rate and speed of the runs"}
    parts = [picture(folder / name, description=said) for name, said in drawn.items() if (folder / name).is_file()]
    return Section("Curves", joined(*parts or [notice("No run has logged anything.")]), style=PICTURES_STYLE)


def _statistics(scores: Comparison, letters: dict[str, str], folder: Path) -> Section:
    told = {column.replace("_", " "): " / ".join(values) for column, values in scores.conventions.items()}
    parts = [facts({"cases in common": str(len(scores.cases)), **told})]
    panels: dict[tuple[str, str, str], list[PairedTest]] = {}
    for test in scores.tests:
        panels.setdefault((test.first, test.second, test.score), []).append(test)
    for (first, second, score), tests in panels.items():
        parts += [heading(f"{SHOWN.get(score, score)}: {first} against {second}"), _tests(tests, letters, scores.alpha)]
    for first, second in dict.fromkeys((test.first, test.second) for test in scores.tests):
        parts += _extremes([t for t in scores.tests if (t.first, t.second) == (first, second)], letters)
    drawn = "Differences of every case, their mean and its interval; right is where the first is better"
    parts.append(picture(folder / PICTURE, description=drawn, caption=drawn))
    parts.append(details(f"{len(scores.cases)} cases", paragraph(", ".join(scores.cases))))
    return Section("Case by case", joined(*parts), style=PICTURES_STYLE)


def _extremes(tests: Sequence[PairedTest], letters: dict[str, str]) -> list[Html]:
    """Which cases of a pair to look at."""
    found = extremes(tests)
    if not found:
        return []
    first, second = tests[0].first, tests[0].second
    regions = list(dict.fromkeys(region for each in found for region in each.differences))
    rows = [
        [each.case, f"{each.mean:+.3f}", *(_signed(each.differences.get(region)) for region in regions)]
        for each in found
    ]
    caption = (
        f"Dice, {letters[first]} − {letters[second]}; the mean is over {', '.join(counted_regions(tests))}. "
        "The report of a case shows what differs: brats report --case"
    )
    return [
        heading(f"Cases that differ most: {first} against {second}"),
        table(["case", "mean", *regions], rows, caption=caption),
    ]


def _signed(difference: float | None) -> str:
    return NONE if difference is None else f"{difference:+.3f}"


def _tests(tests: Sequence[PairedTest], letters: dict[str, str], alpha: float) -> Html:
    first, second = letters[tests[0].first], letters[tests[0].second]
    shown = {"first": first, "second": second, "none shown": "–", "too few cases": "too few cases"}
    digits = 2 if tests[0].score.endswith(("_mm", "_ml")) else 3
    columns = ["region", first, second, f"{first} − {second}", "95 %", "n", "won / tied / lost", "p", "Holm", "better"]
    rows = [
        [
            test.region,
            *(f"{mean:.{digits}f}" for mean in test.means),
            f"{test.difference:+.{digits}f}",
            f"{test.interval[0]:+.{digits}f} … {test.interval[1]:+.{digits}f}",
            str(len(test.differences)),
            f"{test.won} / {test.tied} / {test.lost}",
            p_text(test.p),
            p_text(test.p_holm),
            shown[test.verdict(alpha)],
        ]
        for test in tests
    ]
    caption = f"{tests[0].better} is better; bootstrap interval of the mean difference; Wilcoxon signed-rank, two-sided"
    return table(columns, rows, caption=caption)


def _ranking(scores: Comparison) -> Section:
    rows = [
        [str(s.place), s.name, f"{s.rank:.3f}", "" if s.p_next is None else p_text(s.p_next)] for s in scores.standings
    ]
    regions, kinds = ([*dict.fromkeys(names)] for names in zip(*scores.ranked_on, strict=True))
    caption = (
        f"mean rank over cases, regions ({', '.join(regions)}) and scores ({', '.join(kinds)}); p: permutation test "
        "against the next, one-sided, not corrected"
    )
    return Section("BraTS ranking", table(["place", "method", "mean rank", "p"], rows, caption=caption, words=2))
