"""Search for the post-processing that betters a score, and say what it is worth on cases that were not searched on."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context

from brats_lightning.data.case import Case
from brats_lightning.data.splits import KFold
from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.postprocess import Step
from brats_lightning.inference.tuning.tuning_cases import Box, Metric, Trial, TuningCase, box_of, metric_of, scores_of
from brats_lightning.inference.tuning.tuning_search import MOST_PROBABLE, Search, Settings, search
from brats_lightning.parallel import in_parallel

ALL = ""
"""Name of the search on all cases; no fold is named so."""


@dataclass(frozen=True)
class TunedCase:
    """A case before and after post-processing.

    Args:
        case: Its id.
        fold: Its fold.
        before: Score of what the networks decide by of themselves.
        after: Score with the steps found on the other folds.
    """

    case: str
    fold: str
    before: float
    after: float


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Args:
        steps: Found on all cases; none where nothing betters the most probable label.
        metric: Searched for.
        folds: Steps by fold, found on the cases of the other folds.
        rows: Score of each case before and after, the latter with the steps of its fold: an honest guess at what such
            a search is worth on new cases. The score of `steps` on the very cases they were chosen by would not be.
    """

    steps: tuple[Step, ...]
    metric: Metric
    folds: Mapping[str, tuple[Step, ...]]
    rows: tuple[TunedCase, ...]

    @property
    def before(self) -> float:
        """Mean over the cases."""
        return _mean(row.before for row in self.rows)

    @property
    def after(self) -> float:
        """Mean over the cases, each with the steps found on the other folds."""
        return _mean(row.after for row in self.rows)


def tune(
    cases: Sequence[TuningCase],
    *,
    metric: str = "dice_mean_WT_TC_ET",
    workers: int = 1,
    start: Settings = MOST_PROBABLE,
) -> Tuned:
    """Search for thresholds and volumes that better the mean of a score over the cases.

    One setting is changed at a time, starting from the networks' own decision: a threshold for each of WT, TC and ET,
    the volume under which their pieces are removed, the volume under which ET as a whole becomes NCR.

    Args:
        cases: In at least two folds.
        metric: A score with a region, such as `hd95_mm_ET`, or its mean over WT, TC and ET (or ET, ED and NCR).
        workers: Processes.
        start: What the networks decide by of themselves.

    Raises:
        ConfigError: An unknown metric, cases named twice or all in one fold.
    """
    folds = sorted({case.fold for case in cases})
    if len(folds) < 2 or ALL in folds:
        raise ConfigError(
            f"tuning needs cases in at least two named folds, found {', '.join(map(repr, folds)) or 'none'}"
        )
    if len({case.case for case in cases}) < len(cases):
        raise ConfigError("tuning needs each case once")
    if workers > 1:  # every round starts processes: they shall not import PyTorch anew each time
        get_context("forkserver").set_forkserver_preload([scores_of.__module__])
    scores = _Scores(sorted(cases, key=lambda case: case.case), metric_of(metric), workers)
    searched = {fold: [case.case for case in scores.cases if case.fold != fold] for fold in (*folds, ALL)}
    found = _search(scores, searched, start)
    scores.want({case.case: [found[case.fold]] for case in cases}, doing="Scoring held-out folds")
    rows = tuple(
        TunedCase(
            case.case,
            case.fold,
            scores.known[case.case, start],
            scores.known[case.case, found[case.fold]],
        )
        for case in scores.cases
    )
    return Tuned(found[ALL].steps, scores.metric, {fold: found[fold].steps for fold in folds}, rows)


def inner_folds(cases: Sequence[Case], *, count: int = 5, seed: int = 0) -> dict[str, str]:
    """Fold of each case by id, drawn so that all cases of a patient are in one.

    Raises:
        ConfigError: Fewer patients than folds.
    """
    return {
        case: f"inner {fold}"
        for fold in range(count)
        for case in KFold(folds=count, fold=fold, seed=seed)(cases).validation
    }


@dataclass
class _Scores:
    """Scores by case and settings: searches on overlapping cases ask for much the same.

    Args:
        cases: Ordered by id.
        metric: The score.
        workers: Processes.
        known: Scores so far.
        boxes: Of each case, where it may have labels.
    """

    cases: Sequence[TuningCase]
    metric: Metric
    workers: int
    known: dict[tuple[str, Settings], float] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for case, box in in_parallel(box_of, self.cases, workers=self.workers, doing="Reading cases"):
            self.boxes[case.case] = box

    def want(self, wanted: Mapping[str, Iterable[Settings]], *, doing: str) -> None:
        """Score cases, each under the settings wanted for it, unless that is known."""
        missing: dict[str, list[Settings]] = {}
        trials = []
        for case in self.cases:
            new = [one for one in dict.fromkeys(wanted[case.case]) if (case.case, one) not in self.known]
            if new:
                missing[case.case] = new
                trials.append(Trial(case, self.boxes[case.case], self.metric, tuple(one.steps for one in new)))
        for trial, scores in in_parallel(scores_of, trials, workers=self.workers, doing=doing):
            case_id = trial.case.case
            self.known |= {(case_id, one): score for one, score in zip(missing[case_id], scores, strict=True)}

    def mean(self, cases: Sequence[str], settings: Settings) -> float:
        """Mean score of these cases, turned so that higher is better."""
        sign = 1 if self.metric.better == "higher" else -1
        return sign * _mean(self.known[case, settings] for case in cases)


def _search(scores: _Scores, cases: Mapping[str, Sequence[str]], start: Settings) -> dict[str, Settings]:
    """Search on several sets of cases at once, so that each round reads a case once.

    Args:
        scores: Of cases under settings.
        cases: Ids by the search's name.
        start: Of every search.
    """
    searches: dict[str, Search] = {name: search(scores.metric.tunable, start=start) for name in cases}
    asked = {name: next(one) for name, one in searches.items()}
    found: dict[str, Settings] = {}
    while asked:
        wanted: dict[str, list[Settings]] = {case.case: [] for case in scores.cases}
        for name, settings in asked.items():
            for case in cases[name]:
                wanted[case] += settings
        scores.want(wanted, doing="Tuning post-processing")
        for name, settings in list(asked.items()):
            try:
                asked[name] = searches[name].send([scores.mean(cases[name], one) for one in settings])
            except StopIteration as stopped:
                found[name] = stopped.value
                del asked[name]
    return found


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return math.fsum(values) / len(values)
