"""Scores of an epoch: the torchmetrics shell, right on one process and on many."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
import torchmetrics

from brats_lightning.labels import CHALLENGE_REGIONS, TISSUES, region_labels
from brats_lightning.metrics.case_scores import REGION_SCORES, score_case, score_names
from brats_lightning.metrics.empty import empty_policy
from brats_lightning.metrics.surface import CONVENTIONS, Convention

Row = dict[str, float]


class RegionScores(torchmetrics.Metric):
    """Scores of regions and voxel accuracy, case by case, and their means over cases.

    Label maps are scored on the device where they are. Scores are kept by case id: a case that a distributed sampler
    repeats counts once, and the means do not depend on how cases were spread over processes, to the last bit.

    Args:
        regions: Names of `labels.REGIONS`, or own names with their label values.
        empty: Name of the policy for empty masks: one of `empty.EMPTY_POLICIES`.
        scores: Scores of each region: any of `case_scores.ALL_SCORES`, `nsd_2mm` at any tolerance.
        convention: How distances of boundaries become a score: one of `surface.CONVENTIONS`.

    Raises:
        ValueError: A region, policy, score or convention that is unknown.
    """

    full_state_update = False

    def __init__(
        self,
        regions: Sequence[str] | Mapping[str, Sequence[int]] = ("ET", "ED", "NCR", "WT", "TC"),
        *,
        empty: str = "brats",
        scores: Sequence[str] = REGION_SCORES,
        convention: Convention = "directed",
    ) -> None:
        # torchmetrics would neither gather a dictionary nor notice that another process has new cases.
        super().__init__(sync_on_compute=False, compute_with_cache=False)
        self.regions = region_labels(regions)
        self.empty = empty_policy(empty)
        self.scores = tuple(scores)
        self.convention = convention
        self._names = score_names(self.regions, self.scores)
        if convention not in CONVENTIONS:
            raise ValueError(f"unknown convention {convention!r}: expected one of {', '.join(CONVENTIONS)}")
        self._own: dict[str, Row] = {}
        self._gathered: dict[str, Row] | None = None

    def update(
        self,
        prediction: torch.Tensor,
        reference: torch.Tensor,
        *,
        spacing_mm: torch.Tensor,
        cases: Sequence[str],
    ) -> None:
        """Score a batch; a case seen before is scored anew.

        Args:
            prediction: (B, X, Y, Z) integer label maps on any device.
            reference: The same, of the same shape.
            spacing_mm: (B, 3) distances between neighbouring voxels.
            cases: B ids.

        Raises:
            ValueError: Shapes that do not fit each other, label maps that cannot be scored; names the case.
        """
        _validate(prediction, reference, spacing_mm, cases)
        self._gathered = None
        reference = reference.to(prediction.device)
        for index, case in enumerate(cases):
            try:
                self._own[case] = score_case(
                    prediction[index],
                    reference[index],
                    spacing_mm=spacing_mm[index].tolist(),
                    regions=self.regions,
                    empty=self.empty,
                    scores=self.scores,
                    convention=self.convention,
                )
            except ValueError as error:
                raise ValueError(f"{case}: {error}") from error

    def compute(self) -> dict[str, float]:
        """Mean of every score over the cases of all processes, NaN left out (NaN where nothing is left).

        Where all regions of a trio are scored, the mean of their three means is added, such as
        `dice_mean_ET_ED_NCR` and `dice_mean_WT_TC_ET`. Every process must call this, as it gathers.
        """
        self._gathered = _gather(self._own)
        rows = self._gathered.values()
        means = {name: _mean(row[name] for row in rows) for name in self._names}
        for name, parts in self._means_of_three.items():
            # A NaN stays: a mean over two regions would be another quantity under the same name.
            means[name] = math.fsum(means[part] for part in parts) / len(parts)
        return means

    @property
    def _means_of_three(self) -> dict[str, list[str]]:
        """Means of a trio of regions, with the three means that they are made of."""
        return {
            f"{score}_mean_{'_'.join(trio)}": [f"{score}_{region}" for region in trio]
            for trio in (TISSUES, CHALLENGE_REGIONS)
            if set(trio) <= set(self.regions)
            for score in self.scores
            if not score.endswith("_ml")  # volumes of overlapping regions have a sum, but it is nobody's volume
        }

    @property
    def names(self) -> list[str]:
        """What `compute` gives, in its order."""
        return [*self._names, *self._means_of_three]

    @property
    def rows(self) -> dict[str, Row]:
        """Scores of each case by id: of this process, after `compute` of all processes."""
        rows = self._own if self._gathered is None else self._gathered
        return {case: dict(rows[case]) for case in sorted(rows)}

    @property
    def counts(self) -> dict[str, int]:
        """Over how many cases each mean of a score is: of this process, after `compute` of all processes.

        Means of a trio are left out: each of their three parts has its own number.
        """
        rows = (self._own if self._gathered is None else self._gathered).values()
        return {name: sum(not math.isnan(row[name]) for row in rows) for name in self._names}

    def reset(self) -> None:
        """Forget all cases."""
        super().reset()
        self._own = {}
        self._gathered = None

    def forward(self, *_args: object, **_kwargs: object) -> None:
        """Not offered: a batch's mean would be a collective inside the step.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("call update for every batch and compute at the end of the epoch")


def _gather(own: dict[str, Row]) -> dict[str, Row]:
    """Rows of all processes; a case on several is taken from the first."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return dict(own)
    parts: list[dict[str, Row]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, own)
    return {case: row for part in reversed(parts) for case, row in part.items()}


def _mean(values: Iterable[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    # fsum rounds once, at the end: the order of the cases does not matter.
    return math.fsum(defined) / len(defined) if defined else math.nan


def _validate(
    prediction: torch.Tensor, reference: torch.Tensor, spacing_mm: torch.Tensor, cases: Sequence[str]
) -> None:
    if prediction.ndim != 4 or prediction.shape != reference.shape:
        raise ValueError(
            "expected prediction and reference of one shape (B, X, Y, Z), "
            f"found {tuple(prediction.shape)} and {tuple(reference.shape)}"
        )
    if spacing_mm.shape != (len(prediction), 3):
        raise ValueError(f"expected spacings of shape {(len(prediction), 3)}, found {tuple(spacing_mm.shape)}")
    if isinstance(cases, str) or len(cases) != len(prediction):
        raise ValueError(f"expected {len(prediction)} case ids, found {cases!r}")
