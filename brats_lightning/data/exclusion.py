"""Unusable cases left out of a run, on the user's word."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from brats_lightning.data.splits import PARTS, Parts
from brats_lightning.errors import ConfigError, Problem


def reasons_of(problems: Sequence[Problem]) -> dict[str, str]:
    """Everything that is wrong with each unusable case."""
    left_out: dict[str, str] = {}
    for problem in problems:
        before = f"{left_out[problem.case]}; " if problem.case in left_out else ""
        left_out[problem.case] = f"{before}{problem}"
    return left_out


def without(parts: Parts, left_out: Mapping[str, str]) -> Parts:
    """Parts that record which cases were left out of them, and why.

    Args:
        parts: Of all cases.
        left_out: From `reasons_of`.

    Raises:
        ConfigError: A part loses all it has.
    """
    kept = {part: tuple(case for case in getattr(parts, part) if case not in left_out) for part in PARTS}
    if emptied := [part for part in PARTS if getattr(parts, part) and not kept[part]]:
        raise ConfigError(f"no usable case is left for {' and '.join(emptied)}")
    return replace(parts, **kept, left_out={**parts.left_out, **left_out})
