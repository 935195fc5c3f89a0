"""Which case is trained on, validated on and tested on: seeded, no patient in two parts, stored with the run."""

import json
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol

from brats_lightning.data.case import Case
from brats_lightning.errors import ConfigError
from brats_lightning.whole_files import whole_file

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Parts:
    """Ids of the cases of each part.

    Args:
        train: Seen by the optimiser.
        validation: Choose the checkpoint and the learning rate.
        test: Seen once, at the end.
        left_out: Unusable cases that `skip_invalid` passed over, with what is wrong.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Store as JSON.

        Raises:
            ConfigError: The folder cannot be written, or is full.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as half:
                half.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written ({error.strerror}): make room, or give another --run"
            ) from error

    @staticmethod
    def read(path: Path) -> "Parts":
        """Load what `write` stored, or a hand-written file with `train`, `validation` and `test`.

        Raises:
            ConfigError: The file is absent or no such file.
        """
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            parts = {part: tuple(map(str, stored.get(part, ()))) for part in PARTS}
            return Parts(**parts, left_out=dict(stored.get("left_out", {})))
        except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
            raise ConfigError(
                f"{path} is no list of cases ({error}): expected JSON with train, validation and test, "
                "each a list of case ids"
            ) from error


class Split(Protocol):
    """A way to share cases out."""

    def __call__(self, cases: Sequence[Case]) -> Parts:
        """Share out the labelled cases."""


class HoldOut:
    """Draw validation and test cases once, train on the rest.

    Args:
        validation: Share of the cases (below 1) or their number.
        test: Share or number.
        train: Number of training cases; null takes all that are left.
        seed: Of the draw.
    """

    def __init__(self, *, validation: float = 0.2, test: float = 0, train: int | None = None, seed: int = 0) -> None:
        if validation < 0 or test < 0 or (train is not None and train < 1):
            raise ConfigError("shares and numbers of cases must not be negative")
        self.validation = validation
        self.test = test
        self.train = train
        self.seed = seed

    def __call__(self, cases: Sequence[Case]) -> Parts:
        """See `Split`.

        Raises:
            ConfigError: Too few cases.
        """
        patients = _patients(cases, self.seed)
        test = _take(patients, _count(self.test, len(cases)))
        validation = _take(patients, _count(self.validation, len(cases)))
        train = _take(patients, sum(map(len, patients)) if self.train is None else self.train)
        if self.train is not None and len(train) < self.train:
            raise ConfigError(
                f"a split of {self.train} + {len(validation)} + {len(test)} cases asked for, {len(cases)} found"
            )
        return _parts(train, validation, test)


class KFold:
    """Cross-validation: one of k folds validates, the others train.

    Args:
        folds: Number of folds.
        fold: The one that validates, from 0.
        test: Share (below 1) or number of cases kept out of every fold.
        seed: Of the draw.
    """

    def __init__(self, *, folds: int = 5, fold: int = 0, test: float = 0, seed: int = 0) -> None:
        if folds < 2 or not 0 <= fold < folds:
            raise ConfigError(f"fold must lie in 0 … folds − 1 and folds be at least 2, found {fold} of {folds}")
        self.folds = folds
        self.fold = fold
        self.test = test
        self.seed = seed

    def __call__(self, cases: Sequence[Case]) -> Parts:
        """See `Split`.

        Raises:
            ConfigError: Fewer patients than folds.
        """
        patients = _patients(cases, self.seed)
        test = _take(patients, _count(self.test, len(cases)))
        if len(patients) < self.folds:
            raise ConfigError(f"{self.folds} folds need as many patients, found {len(patients)}")
        folds: list[list[str]] = [[] for _ in range(self.folds)]
        for patient in sorted(patients, key=len, reverse=True):  # stable: the draw decides among equals
            min(folds, key=len).extend(patient)
        train = [case for number, fold in enumerate(folds) if number != self.fold for case in fold]
        return _parts(train, folds[self.fold], test)


class RepeatedHoldOut:
    """Draw validation and test cases several times over, a run for each draw: `brats repeats` says how scores spread.

    Draws are independent of each other, so that a case may be tested in several of them and in none; for every case
    once see `KFold`.

    Args:
        repeats: Number of draws.
        repeat: The one of this run, from 0.
        validation: Share of the cases (below 1) or their number.
        test: Share or number.
        train: Number of training cases; null takes all that are left.
        seed: Of all draws.
    """

    def __init__(
        self,
        *,
        repeats: int = 5,
        repeat: int = 0,
        validation: float = 0.2,
        test: float = 0,
        train: int | None = None,
        seed: int = 0,
    ) -> None:
        if not 0 <= repeat < repeats:
            raise ConfigError(f"repeat must lie in 0 … repeats − 1, found {repeat} of {repeats}")
        self.repeats = repeats
        self.repeat = repeat
        # Not their sum: repeat 1 of seed 0 would be repeat 0 of seed 1.
        own = random.Random(f"{seed} {repeat}").getrandbits(32)
        self._draw = HoldOut(validation=validation, test=test, train=train, seed=own)

    def __call__(self, cases: Sequence[Case]) -> Parts:
        """See `Split`.

        Raises:
            ConfigError: Too few cases.
        """
        return self._draw(cases)


class Listed:
    """Parts as a JSON file lists them.

    Args:
        file: With `train`, `validation` and `test`, each a list of case ids.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def __call__(self, cases: Sequence[Case]) -> Parts:  # noqa: ARG002
        """See `Split`; the data module compares the list with the cases at hand.

        Raises:
            ConfigError: The file is unusable.
        """
        return Parts.read(self.file)


class EveryCase:
    """All labelled cases in one part: to score a network on data that it was not made from.

    Args:
        part: The part.
        unseen_by: A run's `split.json`, none of whose training and validation cases may be among them.
    """

    def __init__(self, *, part: Literal["validation", "test"] = "test", unseen_by: Path | None = None) -> None:
        self.part = part
        self.unseen_by = unseen_by

    def __call__(self, cases: Sequence[Case]) -> Parts:
        """See `Split`.

        Raises:
            ConfigError: The run has seen one of the cases.
        """
        ids = sorted(case.id for case in cases)
        if self.unseen_by is not None:
            stored = Parts.read(self.unseen_by)
            if seen := sorted({*stored.train, *stored.validation} & set(ids)):
                raise ConfigError(
                    f"{_shown(seen)}: trained on or validated on by the run of {self.unseen_by}; "
                    "score a network on cases that it has not seen"
                )
        parts = Parts((), ())
        return replace(parts, test=tuple(ids)) if self.part == "test" else replace(parts, validation=tuple(ids))


def require_cases(parts: Parts, cases: Iterable[Case], *, source: object, needed: Sequence[str] = PARTS) -> None:
    """Check parts against the cases at hand.

    Args:
        parts: From `source`.
        cases: All that were found, unlabelled ones too.
        source: Named in the error.
        needed: Parts whose cases must be there.

    Raises:
        ConfigError: A needed case is absent, has no segmentation or is listed twice, or a patient is in two parts.
    """
    found = {case.id: case for case in cases}
    patients = {case.id: case.patient for case in found.values()}
    wanted = [case for part in needed for case in getattr(parts, part)]
    if absent := sorted(set(wanted) - set(found)):
        raise ConfigError(f"{source} lists {len(absent)} cases that are not in the data: {_shown(absent)}")
    if unlabelled := sorted(case for case in set(wanted) if found[case].label is None):
        raise ConfigError(f"{source} lists {len(unlabelled)} cases without segmentation: {_shown(unlabelled)}")
    listed = [case for part in PARTS for case in getattr(parts, part)]
    if twice := sorted(case for case, count in Counter(listed).items() if count > 1):
        raise ConfigError(f"{source} lists {', '.join(twice[:10])} more than once")
    seen: dict[str, str] = {}
    for part in PARTS:
        for case in getattr(parts, part):
            patient = patients.get(case, case)
            if seen.setdefault(patient, part) != part:
                raise ConfigError(f"{source} has patient {patient} in both {seen[patient]} and {part}")


def _shown(cases: Sequence[str]) -> str:
    return ", ".join(cases[:10]) + (" …" if len(cases) > 10 else "")


def _patients(cases: Sequence[Case], seed: int) -> list[list[str]]:
    """Case ids by patient, in an order that the seed alone decides."""
    groups: dict[str, list[str]] = {}
    for case in sorted(cases, key=lambda case: case.id):
        groups.setdefault(case.patient, []).append(case.id)
    patients = list(groups.values())
    random.Random(seed).shuffle(patients)
    return patients


def _count(wanted: float, total: int) -> int:
    """A share rounded to at least one case, or a number as it is."""
    if wanted >= 1 or wanted == 0:
        return round(wanted)
    return max(1, round(wanted * total))


def _take(patients: list[list[str]], count: int) -> list[str]:
    """Remove whole patients from the list until `count` cases are reached; those that would exceed it stay.

    Where each of them alone exceeds it, the smallest is taken: a part that is asked for is never empty.
    """
    taken: list[str] = []
    kept = []
    for patient in patients:
        if len(taken) + len(patient) <= count:
            taken += patient
        else:
            kept.append(patient)
    if count and not taken and kept:
        taken = kept.pop(kept.index(min(kept, key=len)))
    patients[:] = kept
    return taken


def _parts(train: Iterable[str], validation: Iterable[str], test: Iterable[str]) -> Parts:
    parts = Parts(tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)))
    if not parts.train:
        raise ConfigError("no case is left to train on: ask for fewer validation and test cases")
    return parts
