"""Which settings of post-processing are tried, one kind after the other, and which are kept."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from brats_lightning.inference.postprocessing.postprocess import RelabelSmall, RemoveSmall, Step, Thresholds
from brats_lightning.labels import CHALLENGE_REGIONS

COARSE = (0.5, 0.4, 0.6, 0.3, 0.7)
"""Thresholds tried for each region, the even one first: of equals the first is kept."""
FINE = 0.05
"""Then those so far below and above the best."""
_TRIED = {round(value + step, 2) for value in COARSE for step in (-FINE, 0.0, FINE)}
SMALL_MM3 = (0.0, 10.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
WHOLE_MM3 = (0.0, 50.0, 100.0, 200.0, 500.0)
GAIN = 1e-4
"""A change is kept if it betters the mean score by more."""
PASSES = 3
EVEN = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Settings:
    """Settings of post-processing, by region in the order WT, TC, ET, or of WT alone.

    Args:
        thresholds: Of each region; None for the most probable label.
        removed_mm3: Pieces of a region smaller than that are removed.
        relabelled_mm3: ET smaller than that as a whole becomes NCR.
    """

    thresholds: tuple[float, ...] | None = None
    removed_mm3: tuple[float, ...] = (0.0, 0.0, 0.0)
    relabelled_mm3: float = 0.0

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps; none for the most probable label alone."""
        steps: list[Step] = []
        if self.thresholds is not None:
            steps.append(Thresholds(dict(zip(CHALLENGE_REGIONS, self.thresholds, strict=False))))
        for region, mm3 in zip(CHALLENGE_REGIONS, self.removed_mm3, strict=False):
            if mm3:
                steps.append(RemoveSmall(region, mm3=mm3))
        if self.relabelled_mm3:
            steps.append(RelabelSmall("ET", mm3=self.relabelled_mm3))
        return tuple(steps)


MOST_PROBABLE = Settings()
EACH_AT_HALF = Settings(thresholds=EVEN)
TUMOUR_AT_HALF = Settings(thresholds=EVEN[:1], removed_mm3=(0.0,))
"""What networks decide by of themselves: those of labels, of regions, and of tumour without tissues."""
Search = Generator[Sequence[Settings], Sequence[float], Settings]


def search(regions: Sequence[str] = CHALLENGE_REGIONS, *, start: Settings = MOST_PROBABLE) -> Search:
    """Better one setting at a time until none betters the score, or three times through.

    Args:
        regions: Of WT, TC and ET, those whose settings may change: nothing may be bought at the cost of a region that
            is not scored.
        start: Better than what.

    Yields:
        Settings whose mean scores are to be sent, the higher the better.

    Returns:
        The best settings met.
    """
    tried = _alternatives(regions)
    best = start
    (score,) = yield [best]
    for _ in range(PASSES):
        before = best
        for alternatives in tried:
            candidates = [settings for settings in alternatives(best) if settings != best]
            if not candidates:
                continue
            scores = yield candidates
            highest = max(scores)
            if highest > score + GAIN:
                best, score = candidates[list(scores).index(highest)], highest
        if best == before:
            break
    return best


def _put(values: Sequence[float], place: int, value: float) -> tuple[float, ...]:
    return (*values[:place], value, *values[place + 1 :])


def _coarse(place: int) -> Callable[[Settings], list[Settings]]:
    return lambda best: [replace(best, thresholds=_put(best.thresholds or EVEN, place, value)) for value in COARSE]


def _fine(place: int) -> Callable[[Settings], list[Settings]]:
    def around(best: Settings) -> list[Settings]:
        if best.thresholds is None:
            return []
        values = [round(best.thresholds[place] + step, 2) for step in (-FINE, FINE)]
        return [replace(best, thresholds=_put(best.thresholds, place, value)) for value in values if value in _TRIED]

    return around


def _removal(place: int) -> Callable[[Settings], list[Settings]]:
    return lambda best: [replace(best, removed_mm3=_put(best.removed_mm3, place, mm3)) for mm3 in SMALL_MM3]


def _relabelling(best: Settings) -> list[Settings]:
    return [replace(best, relabelled_mm3=mm3) for mm3 in WHOLE_MM3]


def _alternatives(regions: Sequence[str]) -> list[Callable[[Settings], list[Settings]]]:
    places = [CHALLENGE_REGIONS.index(region) for region in regions]
    kinds = [alternatives(place) for place in places for alternatives in (_coarse, _fine)]
    kinds += [_removal(place) for place in places]
    return [*kinds, _relabelling] if "ET" in regions else kinds
