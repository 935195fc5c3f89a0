"""What is scored, and by which conventions."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from brats_lightning.errors import ConfigError
from brats_lightning.labels import EDITIONS, LABELS, MASK, WHOLE, region_labels
from brats_lightning.metrics.case_scores import ALL_SCORES, score_names
from brats_lightning.metrics.empty import empty_policy
from brats_lightning.metrics.lesion_rules import RULES
from brats_lightning.metrics.surface import CONVENTIONS, Convention

SCORES = tuple(name for name in ALL_SCORES if name != "accuracy")
"""The voxel accuracy of the whole case stands beside them."""
REGIONS = ("ET", "ED", "NCR", "WT", "TC", "RC", "CC")


@dataclass(frozen=True)
class Measures:
    """What is scored, and by which conventions.

    Args:
        regions: Label values of each region.
        scores: Of each region: any of `metrics.case_scores.ALL_SCORES`.
        empty: Name of the policy for empty masks.
        distances: Convention for distances of boundaries.
        rules: Name of lesion-wise rules, None for none.
        every_convention: Whether all of them are tried beside each other.
    """

    regions: Mapping[str, tuple[int, ...]]
    scores: tuple[str, ...] = SCORES
    empty: str = "brats"
    distances: Convention = "directed"
    rules: str | None = None
    every_convention: bool = False

    def regions_of(self, edition: str) -> dict[str, tuple[int, ...]]:
        """Regions that the references of an edition can have: one that is never drawn must not count as found."""
        known = set(EDITIONS[edition].values.values())
        return {name: values for name, values in self.regions.items() if known & set(values)}

    def of_masks(self, *, chosen: bool) -> Self:
        """The same for predictions that are masks of the whole tumour: regions that such a mask tells.

        Args:
            chosen: Whether somebody asked for these regions.

        Raises:
            ConfigError: A region was asked for that a mask does not tell, or none is left.
        """
        told = {name: values for name, values in self.regions.items() if WHOLE in values}
        absent = [name for name in self.regions if name not in told]
        if (chosen and absent) or not told:
            raise ConfigError(
                f"no region {', '.join(absent)} in predictions of the edition {MASK}, which tell tumour from all else: "
                "ask for --regions WT"
            )
        return replace(self, regions=told)

    def described(self, regions: Iterable[str]) -> dict[str, object]:
        """The conventions in types that JSON has, for these regions."""
        return {
            "empty_masks": {
                name: "nan" if isinstance(value, float) and math.isnan(value) else value  # JSON has no NaN
                for name, value in vars(empty_policy(self.empty)).items()
            },
            "distances": {"name": self.distances, "meaning": CONVENTIONS[self.distances]},
            "rules": self.rules,
            "regions": {name: list(self.regions[name]) for name in regions},
            "labels": {**LABELS, "WHOLE": WHOLE},
        }

    def __str__(self) -> str:
        lesions = f" · lesions: {self.rules}" if self.rules else ""
        return f"empty masks: {self.empty} · distances: {self.distances}{lesions}"


def chosen_measures(
    regions: Sequence[str] | Mapping[str, Sequence[int]] | None,
    *,
    scores: tuple[str, ...] = SCORES,
    empty: str = "brats",
    distances: Convention = "directed",
    rules: str | None = None,
    every_convention: bool = False,
) -> Measures:
    """The user's choice, checked.

    Args:
        regions: Names of `labels.REGIONS`, or own names with their label values; None for all that a case can have.
        scores: See `Measures`.
        empty: See `Measures`.
        distances: See `Measures`.
        rules: See `Measures`.
        every_convention: See `Measures`.

    Raises:
        ConfigError: A name that is unknown, a region of labels that there are none of.
    """
    try:
        named = region_labels(REGIONS if regions is None else regions)
        score_names(named, scores)
        empty_policy(empty)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    known = {*LABELS.values(), WHOLE}
    if foreign := [name for name, values in named.items() if not values or not set(values) <= known]:
        allowed = ", ".join(f"{value} {name}" for name, value in (*LABELS.items(), ("tumour of a mask", WHOLE)))
        raise ConfigError(f"region {', '.join(foreign)}: expected label values of {allowed}")
    if rules is not None and rules not in RULES:
        raise ConfigError(f"unknown lesion-wise rules {rules!r}: expected one of {', '.join(RULES)}")
    return Measures(named, scores, empty, distances, rules, every_convention)
