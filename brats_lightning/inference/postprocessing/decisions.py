"""Which label a voxel has, given the probability of each: the first step of post-processing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.steps import Decision, is_positive
from brats_lightning.labels import CHALLENGE_REGIONS, LABELS, REGIONS, WHOLE
from brats_lightning.model.outputs import TUMOUR, channel_labels, channels_within

Nesting = Literal["shrink", "grow"]
EVEN = 0.5
"""Threshold of a region unless another is given."""


@dataclass(frozen=True)
class Argmax(Decision):
    """Each voxel gets its most probable label, the one of lower number where two are equal."""

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        """See `Decision`."""
        labels_of(probabilities)
        # On a processor ten times as fast as argmax over the channels, whose voxels lie far apart in memory.
        best = probabilities[0].clone()
        labels = torch.zeros_like(best, dtype=torch.uint8)
        for label, channel in zip(channel_labels(len(probabilities))[1:], probabilities[1:], strict=True):
            labels.masked_fill_(channel > best, label)
            torch.maximum(best, channel, out=best)
        return labels


@dataclass(frozen=True)
class Thresholds(Decision):
    """Each region is where the probabilities of its labels together reach a threshold.

    A voxel of ET becomes ET, of the rest of TC becomes NCR (CC where that is more probable), of the rest of WT becomes
    ED. A resection cavity (RC) is where it reaches its threshold outside WT. Where a network tells no tissues apart, WT
    is WHOLE.

    Args:
        thresholds: Above 0 and below 1, of any of WT, TC, ET and RC; 0.5 for those not given.
        nesting: What happens where ET is not inside TC, or TC not inside WT: `shrink` drops what sticks out of the
            outer region, `grow` adds it to the outer region.
    """

    thresholds: Mapping[str, float]
    nesting: Nesting = "shrink"

    def __post_init__(self) -> None:
        self._require(isinstance(self.thresholds, Mapping), "thresholds", "a threshold by region, such as {ET: 0.4}")
        known = (*CHALLENGE_REGIONS, "RC")
        self._require(set(self.thresholds) <= set(known), "thresholds", f"regions of {', '.join(known)} only")
        fits = all(is_positive(value) and value < 1 for value in self.thresholds.values())
        self._require(fits, "thresholds", "numbers above 0 and below 1")
        self._require_one_of("nesting", get_args(Nesting))
        object.__setattr__(self, "thresholds", dict(self.thresholds))

    def __hash__(self) -> int:
        return hash((frozenset(self.thresholds.items()), self.nesting))

    @property
    def named(self) -> tuple[str, ...]:
        """See `Step`."""
        return tuple(self.thresholds)

    def __call__(self, probabilities: torch.Tensor) -> torch.Tensor:
        """See `Decision`; raises ConfigError for a threshold of what the network does not know."""
        present = labels_of(probabilities)
        if present == [TUMOUR]:
            self.require_whole()
            return self._reached("WT", probabilities).to(torch.uint8) * WHOLE
        if "RC" in self.thresholds and "RC" not in present:
            raise ConfigError(f"Thresholds: RC has a threshold, but the network knows {', '.join(present)} only")
        tumour, core, enhancing = (self._reached(region, probabilities) for region in CHALLENGE_REGIONS)
        if self.nesting == "grow":
            core = core | enhancing
            tumour = tumour | core
        else:
            core = core & tumour
            enhancing = enhancing & core
        labels = torch.zeros_like(tumour, dtype=torch.uint8)
        if "RC" in present:
            labels.masked_fill_(self._reached("RC", probabilities), LABELS["RC"])
        labels.masked_fill_(tumour, LABELS["ED"])
        labels.masked_fill_(core, LABELS["NCR"])
        if "CC" in present:
            labels.masked_fill_(core & (probabilities[LABELS["CC"]] > probabilities[LABELS["NCR"]]), LABELS["CC"])
        return labels.masked_fill_(enhancing, LABELS["ET"])

    def _reached(self, region: str, probabilities: torch.Tensor) -> torch.Tensor:
        """Where a region's labels together reach its threshold."""
        first, *others = (probabilities[channel] for channel in channels_within(REGIONS[region], len(probabilities)))
        together = first
        for other in others:
            together = together + other
        return together >= self.thresholds.get(region, EVEN)


def labels_of(probabilities: torch.Tensor) -> list[str]:
    """Names of the labels that have a channel, or `tumour` of a network that tells no tissues apart.

    Raises:
        ValueError: No (K, X, Y, Z) tensor of probabilities of the background and the first labels of `labels.LABELS`,
            or of background and tumour.
    """
    if (
        probabilities.ndim != 4
        or not probabilities.is_floating_point()
        or not (len(probabilities) == 2 or 4 <= len(probabilities) <= len(LABELS) + 1)
    ):
        raise ValueError(
            "expected probabilities (K, X, Y, Z) of the background and three to five labels, or of background and "
            f"tumour, found {tuple(probabilities.shape)} of {probabilities.dtype}"
        )
    if len(probabilities) == 2:
        return [TUMOUR]
    return [name for name, value in LABELS.items() if value < len(probabilities)]
