"""Whose label values a folder of label maps holds: names tell, the values of the whole folder confirm or contradict."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from brats_lightning.errors import ConfigError, Problem
from brats_lightning.evaluation.label_files import LabelMap
from brats_lightning.labels import EDITIONS, LABELS, WHOLE

_SHAPE_2023, _SHAPE_2024_GLI = (240, 240, 155), (182, 218, 182)
_TISSUE = {**{value: name for name, value in LABELS.items()}, WHOLE: "whole tumour"}


def recognise_editions(
    maps: Iterable[LabelMap], *, told: str | None, option: str, problems: list[Problem], otherwise: str | None = None
) -> dict[str, str]:
    """Edition of each label map, by the lower-case id of its case.

    Args:
        maps: One side, references or predictions.
        told: Edition of all of them as the user says, None to recognise it.
        option: Of the command line, by which the user can say so.
        problems: Gets maps whose values are not the edition's, and folders whose edition remains open.
        otherwise: Edition of maps whose names are the user's own.

    Returns:
        Maps without a problem.

    Raises:
        ConfigError: An edition that is none.
    """
    for name in (told, otherwise):
        if name is not None and name not in EDITIONS:
            raise ConfigError(f"edition {name!r} is unknown: expected one of {', '.join(EDITIONS)}")
    groups: dict[tuple[tuple[str, ...], Path | None], list[LabelMap]] = {}
    maps = list(maps)
    in_folder = Counter(one.file.path.parent for one in maps)
    for one in maps:
        named = (told,) if told else _named(one)
        if not named:
            named = (otherwise,) if otherwise else tuple(EDITIONS)
        # One folder may hold both years of pediatric cases in two others: values speak for what lies beside them.
        folder = one.file.path.parent
        beside = folder if in_folder[folder] > 1 else folder.parent
        groups.setdefault((named, beside if one.file.family == "PED" else None), []).append(one)
    editions: dict[str, str] = {}
    for (candidates, _), group in groups.items():
        edition = _settle(candidates, group, option, problems)
        if edition is not None:
            misfits = _misfits(edition, group)
            if misfits and told is None and _in_doubt(edition, group):
                problems.append(_contradicted(edition, group, option))
                continue
            problems += [_misfit(edition, one, option) for one in misfits]
            editions |= {one.file.case.lower(): edition for one in group if one not in misfits}
    return editions


def _named(one: LabelMap) -> tuple[str, ...]:
    """Editions that the name and the grid leave."""
    family = one.file.family
    if family == "GLI":  # 1, 2 and 3 mean the same in both
        known = {_SHAPE_2023: ("2023",), _SHAPE_2024_GLI: ("2024-GLI",)}
        return known.get(one.grid.shape, ("2023", "2024-GLI"))
    if family == "PED":
        return "2023", "2024-PED"
    return (family,) if family else ()


def _values(maps: Iterable[LabelMap]) -> frozenset[int]:
    return frozenset(value for one in maps for value in one.values)


def _fits(edition: str, values: Iterable[int]) -> bool:
    return set(values) <= EDITIONS[edition].values.keys()


def _misfits(edition: str, maps: Iterable[LabelMap]) -> list[LabelMap]:
    return [one for one in maps if not _fits(edition, one.values)]


def _settle(candidates: tuple[str, ...], group: Sequence[LabelMap], option: str, problems: list[Problem]) -> str | None:
    """The one edition that is left, or the first of several that agree on every value of the group."""
    if len(candidates) == 1:
        return candidates[0]
    values = _values(group)
    meanings: dict[tuple[str, ...], str] = {}
    for edition in candidates:
        if _fits(edition, values):
            meanings.setdefault(tuple(_meaning(edition, values)), edition)
    if len(meanings) == 1:
        return next(iter(meanings.values()))
    shown = " ".join(map(str, sorted(values)))
    if meanings:
        readings = "; ".join(f"{edition}: {', '.join(meaning)}" for meaning, edition in meanings.items())
        what = f"the labels {shown} of {len(group)} files, {_some(group)}, have several meanings ({readings})"
        problems.append(Problem(_folder(group), "", what, f"say which with {option}"))
        return None
    if len(candidates) == len(EDITIONS):
        what = f"the labels {shown} of {len(group)} files, {_some(group)}, are of no edition"
        problems.append(Problem(_folder(group), "", what, f"translate them, or say with {option} which holds"))
        return None
    return candidates[-1]  # each file that does not fit will be named


def _meaning(edition: str, values: Iterable[int]) -> list[str]:
    return [f"{value} {_TISSUE[EDITIONS[edition].values[value]]}" for value in sorted(values)]


def _in_doubt(edition: str, group: Sequence[LabelMap]) -> bool:
    """Whether the maps that fit may only do so because they lack a label: then all may be of another edition."""
    fitting = _values(one for one in group if _fits(edition, one.values))
    return fitting != EDITIONS[edition].values.keys() and any(_fits(other, _values(group)) for other in EDITIONS)


def _contradicted(edition: str, group: Sequence[LabelMap], option: str) -> Problem:
    values = _values(group)
    others = ", ".join(other for other in EDITIONS if _fits(other, values))
    what = (
        f"{len(group)} files, {_some(group)}, are named as BraTS {edition}, which has the labels "
        f"{' '.join(map(str, sorted(EDITIONS[edition].values)))}, but hold {' '.join(map(str, sorted(values)))} "
        f"(they would fit {others})"
    )
    return Problem(_folder(group), "", what, f"say with {option} which labels they hold")


def _misfit(edition: str, one: LabelMap, option: str) -> Problem:
    try:
        EDITIONS[edition].decode(np.array(sorted(one.values)))
    except ValueError as error:
        what = str(error)
    return Problem(one.file.case, one.file.path.name, what, f"mend the file; of another edition, say so with {option}")


def _folder(group: Sequence[LabelMap]) -> str:
    return group[0].file.path.parent.name


def _some(group: Sequence[LabelMap]) -> str:
    names = sorted(one.file.path.name for one in group)
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
