"""Errors of the user's making: what was expected, what was found, where, and the cure.

The command line prints a `BratsError` as one sentence and exits with 1; anything else is a bug and keeps its traceback.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

SHOWN_PROBLEMS = 10
LONGEST_SENTENCE = 1000
_KEPT = 700, 250
"""Of a longer one: how it begins, and how it ends, which is where the cure stands."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")


def one_line(text: str) -> str:
    r"""A text that may quote a damaged file, without what would break a line or a terminal, and not too long.

    >>> one_line("found 'ca\x00se\n'")
    "found 'ca se '"
    """
    plain = _UNPRINTABLE.sub(" ", text)
    start, end = _KEPT
    return plain if len(plain) <= LONGEST_SENTENCE else f"{plain[:start]} … {plain[-end:]}"


class BratsError(Exception):
    """Something the user can put right; its text says how."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class ConfigError(BratsError):
    """A configuration that contradicts itself, the data or the machine."""


class CheckpointError(BratsError):
    """A checkpoint that is missing, broken or made for something else."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one case.

    Args:
        case: The case's id, or the folder's name where there is no case.
        file: The file's name, empty where it concerns the whole case.
        what: What was found, and what was expected.
        cure: What to do about it.
    """

    case: str
    file: str
    what: str
    cure: str

    def __str__(self) -> str:
        where = f"{self.case}, {self.file}" if self.file else self.case
        return one_line(f"{where}: {self.what}; {self.cure}")


class DatasetError(BratsError):
    """Cases that cannot be used.

    Args:
        problems: What is wrong, case by case; the text names the first ten and the count.
    """

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        shown = [str(problem) for problem in self.problems[:SHOWN_PROBLEMS]]
        if len(self.problems) > 1:
            cases = len({problem.case for problem in self.problems})
            shown.insert(0, f"{len(self.problems)} problems in {cases} cases:")
        if len(self.problems) > SHOWN_PROBLEMS:
            shown.append(f"… and {len(self.problems) - SHOWN_PROBLEMS} more")
        self._text = "\n  ".join(shown)
        super().__init__(self._text)

    def __str__(self) -> str:
        return self._text

    def __reduce__(self) -> tuple[type["DatasetError"], tuple[tuple[Problem, ...]]]:
        return DatasetError, (self.problems,)
