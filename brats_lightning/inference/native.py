"""Scoring on the patients' own grids: what `brats test` gives the module that is tested."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.reading import read_case, read_reference
from brats_lightning.inference.models.checkpoints import intake_of
from brats_lightning.inference.models.spec import with_own_decision
from brats_lightning.inference.postprocessing.postprocess import Step, postprocess
from brats_lightning.inference.predictor.predictor import LoadedMember, Predictor, PredictorOptions
from brats_lightning.inference.restore import Placement
from brats_lightning.labels import Modality
from brats_lightning.model.outputs import Outputs, reference_for
from brats_lightning.model.scored_case import ScoredCase


class NativeLabels:
    """Predicts a case as `brats predict` does, and reads its reference.

    Args:
        cases: By id.
        cache: Of their preprocessed samples.
        options: How volumes are covered.
        postprocessing: From probabilities to labels.
        trained_on: What the checkpoint says of the images it was trained on.
    """

    def __init__(
        self,
        cases: Callable[[], Sequence[Case]],
        cache: CaseCache,
        *,
        options: PredictorOptions,
        postprocessing: Sequence[Step],
        trained_on: Mapping[str, Any] | None,
    ) -> None:
        self._list_cases = cases
        self._cases: dict[str, Case] = {}
        self._cache = cache
        self._options = options
        self._postprocessing = tuple(postprocessing)
        self._trained_on = trained_on
        self._predictor: Predictor | None = None

    def __call__(self, network: nn.Module, image: torch.Tensor, case: str, *, outputs: Outputs) -> ScoredCase:
        """Labels on the grid of the case's files, in RAS axis order.

        Args:
            network: The same at every call.
            image: (C, X, Y, Z), preprocessed.
            case: Its id.
            outputs: Of the network.
        """
        if self._predictor is None:
            preprocessing = self._cache.preprocessing
            intake = intake_of(network, self._trained_on, preprocessing)
            member = LoadedMember(network, intake)
            self._predictor = Predictor([member], self._options, device=image.device, outputs=[outputs])
            self._cases = {each.id: each for each in self._list_cases()}
        known = self._cases[case]
        sample = self._cache.get(known)
        placement = Placement.between(sample.grid, sample.native)
        probabilities = placement.resample(self._predictor(image))
        spacing_mm = sample.native.ras().spacing_mm
        steps = with_own_decision(self._postprocessing, outputs)
        labels = postprocess(probabilities, steps, spacing_mm=spacing_mm)
        reference = reference_for(_tensor(read_reference(known)), outputs)
        return ScoredCase(
            case,
            partial(_image, known, self._cache.preprocessing.modalities),
            _tensor(placement.paste_ras(labels)).to(image.device),
            reference.to(image.device),
            spacing_mm,
        )


def _image(case: Case, modalities: Sequence[Modality]) -> torch.Tensor:
    """The files themselves: what is shown to people is what the scanner gave."""
    return _tensor(read_case(case, modalities=modalities).image)


def _tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """A copy in the order of memory, as PyTorch has no views of flipped axes."""
    return torch.from_numpy(array.copy(order="K"))
