"""What the scores of a case are taken of, and who may make it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import nn

from brats_lightning.model.outputs import Outputs


class ScoredCase(NamedTuple):
    """What the scores of a case are taken of.

    Args:
        case: Its id.
        image: Gives an image (C, X, Y, Z) of that grid, made when it is asked for.
        prediction: (X, Y, Z) uint8 labels.
        reference: (X, Y, Z) uint8 labels on the same grid.
        spacing_mm: Of that grid.
    """

    case: str
    image: Callable[[], torch.Tensor]
    prediction: torch.Tensor
    reference: torch.Tensor
    spacing_mm: Sequence[float]


class NativeGrid(Protocol):
    """From a network and a preprocessed image (C, X, Y, Z) to labels on the grid of the patient's files."""

    def __call__(self, network: nn.Module, image: torch.Tensor, case: str, *, outputs: Outputs) -> ScoredCase:
        """Predict, and read the reference."""
