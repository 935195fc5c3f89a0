"""`brats evaluate`: score anybody's predictions, pool a cross-validation, or check a submission."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console

from brats_lightning.errors import SHOWN_PROBLEMS, BratsError, ConfigError, DatasetError, Problem
from brats_lightning.evaluation.conventions import print_conventions
from brats_lightning.evaluation.cross_validation import pool_folds
from brats_lightning.evaluation.matching import Matched, Missing, match
from brats_lightning.evaluation.measures import SCORES, Measures, chosen_measures
from brats_lightning.evaluation.results import CONVENTIONS_FILE, SCORES_FILE, write_results
from brats_lightning.evaluation.scoring import score_pairs
from brats_lightning.evaluation.submission import Season, check_submission
from brats_lightning.evaluation.summary import RESAMPLES, as_json, summarise
from brats_lightning.evaluation.tables import print_folds, print_problems, print_summary, print_worst
from brats_lightning.labels import MASK
from brats_lightning.machine import usable_cores
from brats_lightning.metrics.surface import Convention
from brats_lightning.reports.score_files import Part
from brats_lightning.reports.score_kinds import CONVENTIONS

_COUNTED: Mapping[Missing, str] = {"empty": "counted as empty predictions", "skip": "skipped"}


def evaluate(
    *,
    predictions: Path | None = None,
    references: Path | None = None,
    output: Path = Path("evaluation"),
    edition: str | None = None,
    prediction_edition: str | None = None,
    missing: Missing = "empty",
    resample: bool = False,
    regions: tuple[str, ...] | dict[str, tuple[int, ...]] | None = None,
    scores: tuple[str, ...] = SCORES,
    empty: str = "brats",
    distances: Convention = "directed",
    rules: str | None = None,
    conventions: Literal["all"] | None = None,
    submission: Season | None = None,
    runs: tuple[Path, ...] = (),
    part: Part = "validation",
    keep_going: bool = False,
    seed: int = 0,
    workers: int | None = None,
) -> None:
    """Score predicted label maps against references, case by case; exit code 1 if anything is wrong.

    Needs two folders of NIfTI label maps and nothing else. With --submission it checks one folder as the challenge's
    validator does; with --runs it pools the folds of a cross-validation.

    Args:
        predictions: Folder of label maps: <case>.nii.gz, <case>_seg, <case>_pred…, flat or in case folders.
        references: Folder of label maps, or of cases of any edition.
        output: Folder for scores.csv and summary.json.
        edition: Edition whose label values the references hold, where names and values do not tell; mask: 1 is tumour
            of any tissue.
        prediction_edition: The same for the predictions.
        missing: A reference without a prediction counts as an empty prediction, or is skipped.
        resample: Bring predictions on another grid to that of the reference, each voxel taking its nearest label.
        regions: Names such as WT, TC, ET, or own names with label values 1 NCR, 2 ED, 3 ET, 4 RC, 5 CC, 6 tumour of a
            mask; null takes ET, ED, NCR, WT, TC, and RC and CC where the edition has them.
        scores: Scores of each region; nsd at any tolerance, as nsd_2mm.
        empty: What a score is where a mask is empty: brats, brats-diagonal, nan or exclude.
        distances: How distances of boundaries become a score: directed, pooled, averaged or surfel.
        rules: Lesion-wise rules to score by as well, such as 2023-GLI or 2024-GLI-corrected.
        conventions: all prints the same predictions under every convention side by side.
        submission: Season whose rules for submissions the predictions are checked by, without scoring them.
        runs: Folders of the runs of a cross-validation, whose held-out cases are pooled.
        part: Which cases of these runs.
        keep_going: Score the rest where something is wrong; the exit code is 1 all the same.
        seed: Of the bootstrap.
        workers: Processes; null takes the cores this process may use.
    """
    processes = workers or usable_cores()
    console = Console(markup=False, emoji=False, highlight=False)  # brackets in a file's name are no markup
    if runs:
        if predictions or references or submission:
            raise ConfigError("--runs reads the scores of runs: leave --predictions, --references, --submission out")
        problems = _pool(runs, part, output, keep_going=keep_going, seed=seed, console=console)
    elif predictions is None:
        raise ConfigError("expected --predictions and --references, --predictions and --submission, or --runs")
    elif submission is not None:
        _check(predictions, references, season=submission, workers=processes, console=console)
        return
    elif references is None:
        raise ConfigError("--predictions are scored against --references: give the folder of these, too")
    else:
        measures = chosen_measures(
            regions,
            scores=scores,
            empty=empty,
            distances=distances,
            rules=rules,
            every_convention=conventions == "all",
        )
        matched = match(
            predictions,
            references,
            edition=edition,
            prediction_edition=prediction_edition,
            missing=missing,
            resample=resample,
            workers=processes,
        )
        if matched.problems and not keep_going:
            raise _refusal(matched.problems, console)
        if regions is not None:
            _require_regions(measures, {pair.reference_edition for pair in matched.pairs})
        if MASK in {prediction_edition, *(pair.prediction_edition for pair in matched.pairs)}:
            measures = measures.of_masks(chosen=regions is not None)
            console.print("The predictions are masks of the whole tumour: scored for WT alone.", soft_wrap=True)
        about = {"predictions": str(predictions), "references": str(references), "bootstrap": _bootstrap(seed)}
        about["missing"] = {"counted": missing, "cases": list(matched.missing)}
        problems = _score(matched, measures, output, about=about, workers=processes, seed=seed, console=console)
        _tell(matched.missing, f"references without a prediction, {_COUNTED[missing]}", console)
    if problems:
        raise _refusal(problems, console)


def _require_regions(measures: Measures, editions: set[str]) -> None:
    known = {name for edition in editions for name in measures.regions_of(edition)}
    if editions and (absent := [name for name in measures.regions if name not in known]):
        masks = f"{MASK}, which tell tumour from all else" if editions == {MASK} else ""
        named = masks or f"BraTS {', '.join(sorted(editions))}"
        raise ConfigError(f"no region {', '.join(absent)} in references of {named}")


def _score(
    matched: Matched,
    measures: Measures,
    output: Path,
    *,
    about: Mapping[str, object],
    workers: int,
    seed: int,
    console: Console,
) -> list[Problem]:
    """Score, write and print; gives everything that was wrong."""
    scored, more = score_pairs(matched.pairs, measures, workers=workers)
    problems = [*matched.problems, *more]
    if not scored:
        raise _refusal(problems, console) if problems else ConfigError("no case is left to score")
    rows = [row for result in scored.values() for row in result.rows]
    tried = {case: result.conventions for case, result in scored.items() if result.conventions}
    summary = summarise(rows, seed=seed)
    resampled = [pair.case for pair in matched.pairs if pair.resampled and pair.case in scored]
    about = {"convention": measures.described(summary), **about, "resampled": resampled}
    write_results(output, rows, summary, about=about, problems=problems, tried=tried)
    title = f"Scores of {_cases(len(scored))}"
    print_summary(summary, cases=len(scored), title=title, caption=str(measures), console=console)
    print_worst(rows, console=console)
    if tried:
        print_conventions(tried, console)
        console.print(f"means under every convention: {output / CONVENTIONS_FILE}", soft_wrap=True)
    console.print(f"scores of each case: {output / SCORES_FILE}", soft_wrap=True)
    _tell(resampled, "predictions resampled to the grid of their reference", console)
    return problems


def _bootstrap(seed: int) -> dict[str, object]:
    return {"resamples": RESAMPLES, "seed": seed, "drawn": "cases"}


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _tell(cases: Sequence[str], what: str, console: Console) -> None:
    if cases:
        shown = ", ".join(cases[:SHOWN_PROBLEMS]) + (" …" if len(cases) > SHOWN_PROBLEMS else "")
        console.print(f"{len(cases)} {what}: {shown}", soft_wrap=True)


def _pool(
    runs: tuple[Path, ...], part: Part, output: Path, *, keep_going: bool, seed: int, console: Console
) -> list[Problem]:
    """Pool, write and print; gives everything that was wrong."""
    folds, problems = pool_folds(runs, part=part)
    rows = sorted((row for own in folds.values() for row in own), key=lambda row: row.case)
    if problems and not (keep_going and rows):
        raise _refusal(problems, console)
    summaries = {name: summarise(own, seed=seed) for name, own in folds.items()}
    overall = summarise(rows, seed=seed)
    conventions = {name: rows[0].about[name] for name in CONVENTIONS if name in rows[0].about}
    about = {
        "convention": conventions,
        "runs": [str(run) for run in runs],
        "part": part,
        "bootstrap": _bootstrap(seed),
        "folds": {name: as_json(summary) for name, summary in summaries.items()},
    }
    write_results(output, rows, overall, about=about, problems=problems)
    cases = len({row.case for row in rows})
    caption = " · ".join(f"{name}: {value}" for name, value in conventions.items())
    title = f"{len(folds)} folds, {_cases(cases)} of {part}, each scored once"
    print_folds(summaries, overall, title=title, caption=caption, console=console)
    title = f"All {_cases(cases)} together"
    print_summary(overall, cases=cases, title=title, caption=caption, console=console)
    print_worst(rows, console=console)
    console.print(f"scores of each case: {output / SCORES_FILE}", soft_wrap=True)
    return problems


def _check(predictions: Path, references: Path | None, *, season: Season, workers: int, console: Console) -> None:
    files, problems = check_submission(predictions, season=season, references=references, workers=workers)
    if problems:
        print_problems(problems, console=console)
        raise BratsError(f"{len(problems)} problems in {files} files: BraTS {season} would refuse {predictions}")
    console.print(f"{files} files pass as a submission to BraTS {season}.", soft_wrap=True)


def _refusal(problems: Sequence[Problem], console: Console) -> DatasetError:
    """The error that ends the command; where there are more problems than it names, all are printed before."""
    if len(problems) > SHOWN_PROBLEMS:
        print_problems(problems, console=console)
    return DatasetError(problems)
