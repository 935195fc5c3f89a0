"""Pool the folds of a cross-validation: every case scored once, by a network that never saw it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from brats_lightning.data.splits import Parts
from brats_lightning.errors import ConfigError, Problem
from brats_lightning.reports.score_files import Part, read_score_file
from brats_lightning.reports.score_kinds import CONVENTIONS, is_no_score
from brats_lightning.reports.scores import RegionRow
from brats_lightning.runs import SPLIT


def pool_folds(runs: Sequence[Path], *, part: Part) -> tuple[dict[str, list[RegionRow]], list[Problem]]:
    """Scores of the cases that each run held out, by the name of the fold.

    Args:
        runs: Folders of the runs, one a fold.
        part: Which of its cases.

    Returns:
        Rows of the cases that may be pooled; those that a run was trained on, that were scored in two folds, or that
        do not belong to the part, are problems instead.

    Raises:
        BratsError: A folder, its `split.json` or its scores are absent or broken, or two runs were not scored alike.
    """
    names = _fold_names(runs)
    rows = {name: _rows(_scores_file(run, part)) for name, run in zip(names, runs, strict=True)}
    _require_one_convention(rows)
    problems: list[Problem] = []
    refused: set[str] = set()
    held_by: dict[str, str] = {}
    for name, run in zip(names, runs, strict=True):
        parts = Parts.read(run / SPLIT)
        held_out = getattr(parts, part)
        scored = list(dict.fromkeys(row.case for row in rows[name]))
        again = f"score it anew: brats {'test' if part == 'test' else 'validate'} --run {run}"
        for case in scored:
            if case in parts.train:
                what, cure = f"{run} was trained on this case", "leave the fold out, or score the cases it held out"
            elif case not in held_out:
                what, cure = f"{run / SPLIT} does not have this case in {part}", again
            elif case in held_by:
                what = f"scored in two folds, {held_by[case]} and {name}"
                cure = "give each fold once, from one and the same split"
            else:
                held_by[case] = name
                continue
            refused.add(case)
            problems.append(Problem(case, _scores_file(run, part).name, what, cure))
        problems += [
            Problem(case, _scores_file(run, part).name, f"{run} held this case out and has no scores of it", again)
            for case in held_out
            if case not in scored
        ]
    pooled = {
        name: [
            RegionRow(row.case, row.region, row.scores, {**row.about, "fold": name})
            for row in own
            if row.case not in refused
        ]
        for name, own in rows.items()
    }
    return pooled, problems


def _fold_names(runs: Sequence[Path]) -> list[str]:
    if len(runs) < 2:
        raise ConfigError("a cross-validation pools two runs at least: --runs RUN RUN …")
    resolved = [run.resolve() for run in runs]
    if twice := sorted({str(run) for run, path in zip(runs, resolved, strict=True) if resolved.count(path) > 1}):
        raise ConfigError(f"{', '.join(twice)} is given more than once: expected one run a fold")
    names = [path.name for path in resolved]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def _scores_file(run: Path, part: Part) -> Path:
    path = run / f"scores_{part}.csv"
    if not path.is_file():
        command = "test" if part == "test" else "validate"
        raise ConfigError(f"no {path}: score the run first, by brats {command} --run {run}")
    return path


def _rows(path: Path) -> list[RegionRow]:
    file = read_score_file(path)
    return [
        RegionRow(
            *row,
            {name: values[row] for name, values in file.scores.items()},
            {name: words[row] for name, words in file.words.items()},
        )
        for row in file.rows
    ]


def _require_one_convention(rows: dict[str, list[RegionRow]]) -> None:
    """Refuse folds whose numbers are not of one kind.

    Raises:
        ConfigError: They differ in regions, scores or conventions; the text names two folds.
    """
    (first, sample), *others = rows.items()
    for fold, own in others:
        for what, one, other in (
            ("regions", *({row.region for row in side} for side in (sample, own))),
            ("scores", *(_qualities(side) for side in (sample, own))),
            ("conventions", *(_conventions(side) for side in (sample, own))),
        ):
            if one != other:
                raise ConfigError(
                    f"{first} has the {what} {', '.join(sorted(one))}; {fold} has {', '.join(sorted(other))}: "
                    "score all folds alike"
                )


def _qualities(rows: Iterable[RegionRow]) -> set[str]:
    """Without volumes and counts, which not every version of the program has written."""
    return {name for row in rows for name in row.scores if not is_no_score(name)}


def _conventions(rows: Iterable[RegionRow]) -> set[str]:
    return {f"{name}: {row.about[name]}" for row in rows for name in CONVENTIONS if name in row.about}
