"""What one has to know beside the figures of a comparison, in sentences."""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from brats_lightning.comparison.paired import Floats, smallest_p
from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.reports.score_files import ScoreFile
from brats_lightning.reports.score_kinds import is_no_score

SHOWN_NAMES = 10
_TIME_POINT = re.compile(r"(BraTS-\w+-\d{5})-\d{3}")


def unshared_notes(files: Sequence[ScoreFile], regions: Sequence[str], scores: Sequence[str]) -> Iterator[str]:
    """Regions and scores that only some files have, or that were not asked for."""
    held: dict[str, tuple[list[list[str]], Sequence[str]]] = {
        "region": ([file.regions for file in files], regions),
        "score": ([list(file.scores) for file in files], scores),
    }
    for kind, (offered, compared) in held.items():
        for name in dict.fromkeys(name for own in offered for name in own):
            having = [file.name for file, own in zip(files, offered, strict=True) if name in own]
            if name not in compared and len(having) < len(files):
                yield f"Only {' and '.join(having)} has the {kind} {name}: left out."
    if further := [
        s for s in files[0].scores if s not in scores and not is_no_score(s) and all(s in f.scores for f in files)
    ]:
        yield f"Not compared unless --scores asks for them: {', '.join(further)}."


def left_out_notes(left_out: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Cases that not all files have."""
    for name, cases in left_out.items():
        more = f" and {len(cases) - SHOWN_NAMES} more" if len(cases) > SHOWN_NAMES else ""
        plural = "case" if len(cases) == 1 else "cases"
        yield f"{name} has {len(cases)} {plural} that not all have, left out: {', '.join(cases[:SHOWN_NAMES])}{more}."


def undefined_notes(tests: Sequence[PairedTest], skipped: Sequence[str]) -> Iterator[str]:
    """Scores that some cases do not have, or too many."""
    if skipped:
        names = ", ".join(dict.fromkeys(skipped))
        yield f"Not tested, as fewer than 2 cases define them for both: {names}."
    if undefined := [test for test in tests if test.undefined]:
        most = max(test.undefined for test in undefined)
        yield (
            f"{len(undefined)} of {len(tests)} tests leave out cases in which a method's score is undefined, "
            f"up to {most}: n in the table."
        )


def power_notes(tests: Sequence[PairedTest], cases: Sequence[str], alpha: float) -> Iterator[str]:
    """What this number of cases can show at best."""
    best = smallest_p(len(cases))
    held = min(1.0, best * len(tests))
    if held > alpha:
        yield (
            f"{len(cases)} cases are too few to conclude: the exact test cannot give a p below {best:.2g}, after "
            f"Holm's correction over {len(tests)} tests not below {held:.2g} where {alpha:g} is asked for. "
            "More cases help, or fewer regions and scores, chosen before looking at the result."
        )
    elif short := sum(test.smallest_p_holm > alpha for test in tests if test.used):
        yield (
            f"In {short} of {len(tests)} tests too few cases differ to conclude: no p could fall to {alpha:g} after "
            "Holm's correction."
        )
    if any(test.used < len(test.differences) for test in tests):
        yield "The signed-rank test leaves out cases without a difference."
    if not all(test.exact for test in tests):
        yield "Tests of many cases use the normal approximation of the signed-rank test."
    if len(cases) < 20:
        yield "Bootstrap intervals of so few cases are too narrow: read them as a hint."
    patients = {match[1] if (match := _TIME_POINT.fullmatch(case)) else case for case in cases}
    if len(patients) < len(cases):
        yield (
            f"{len(cases)} cases of {len(patients)} patients: time points of one patient are not independent, "
            "as the tests assume."
        )


def ranking_notes(quality: Floats) -> Iterator[str]:
    """What the ranking leaves out; (methods, cases, races) with NaN where undefined."""
    undefined = np.isnan(quality).any(axis=0)
    if undefined.any():
        yield f"The ranking leaves out {undefined.sum()} of {undefined.size} races in which a score is undefined."
