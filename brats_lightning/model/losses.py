"""Dice plus focal loss as one graph: what MONAI's `DiceFocalLoss` gives, in fewer passes over the voxels."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


class DiceFocal(nn.Module):
    """Soft Dice loss plus focal loss, for labels (`softmax`) or for regions (`sigmoid`).

    It equals MONAI's `DiceFocalLoss` of the same settings, whose Dice part reads a number from a tensor and so breaks
    the graph of `torch.compile`. As there, the focal part takes every channel by itself, through a sigmoid.

    Dice: Milletari et al., 3DV 2016. Focal: Lin et al., ICCV 2017.

    Args:
        activation: `softmax` takes a label (B, 1, X, Y, Z), `sigmoid` masks (B, K, X, Y, Z).
        include_background: Whether channel 0 counts; with `sigmoid` every channel does.
        gamma: Power by which voxels that are right already lose their weight.
        batch: Whether the Dice of a batch is that of its cases together, or the mean of theirs.
        dice: Weight of the Dice part.
        focal: Weight of the focal part.
        smooth: Added to numerator and denominator of the Dice.
    """

    def __init__(
        self,
        activation: Literal["softmax", "sigmoid"] = "softmax",
        *,
        include_background: bool = True,
        gamma: float = 2.0,
        batch: bool = False,
        dice: float = 1.0,
        focal: float = 1.0,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.first = 0 if include_background or activation == "sigmoid" else 1
        self.gamma = gamma
        self.batch = batch
        self.dice = dice
        self.focal = focal
        self.smooth = smooth

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar in float32.

        Args:
            logits: (B, K, X, Y, Z).
            target: (B, 1, X, Y, Z) integer labels or (B, K, X, Y, Z) masks.
        """
        logits = logits.float()
        if self.activation == "softmax":
            probabilities = torch.softmax(logits, dim=1)[:, self.first :]
            channels = torch.arange(self.first, logits.shape[1], device=logits.device)
            inside = (target == channels.view(1, -1, *[1] * (logits.ndim - 2))).float()
            logits = logits[:, self.first :]
        else:
            probabilities = torch.sigmoid(logits)
            inside = target.float()
        return self.dice * self._dice(probabilities, inside) + self.focal * self._focal(logits, inside)

    def _dice(self, probabilities: Tensor, inside: Tensor) -> Tensor:
        axes = [0, *range(2, inside.ndim)] if self.batch else list(range(2, inside.ndim))
        overlap = (probabilities * inside).sum(axes)
        both = probabilities.sum(axes) + inside.sum(axes)
        return (1 - (2 * overlap + self.smooth) / (both + self.smooth)).mean()

    def _focal(self, logits: Tensor, inside: Tensor) -> Tensor:
        wrong = logits * (1 - 2 * inside)  # logit of what the voxel is not
        return -(torch.sigmoid(wrong) ** self.gamma * functional.logsigmoid(-wrong)).mean()
