"""Losses as one graph of few passes over the voxels, beside those of MONAI, which go by class path.

MONAI's Dice, Jaccard and Tversky losses are right, and read a number from a tensor: `torch.compile` breaks its graph
there. For one channel its `DiceCELoss` takes the binary cross-entropy, for several masks the categorical one, whatever
`sigmoid` says.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from brats_lightning.errors import ConfigError

Activation = Literal["softmax", "sigmoid"]


class _Compared(NamedTuple):
    logits: Tensor
    probabilities: Tensor
    inside: Tensor  # all of them (B, K, X, Y, Z) float32


class _OfChannels(nn.Module):
    """A loss of channels, each compared with a mask.

    Args:
        activation: `softmax` takes a label (B, 1, X, Y, Z), `sigmoid` masks (B, K, X, Y, Z).
        include_background: Whether channel 0 counts; with `sigmoid` every channel does.
        batch: Whether the overlap of a batch is that of its cases together, or the mean of theirs.
        smooth: Added to numerator and denominator of the overlap.
    """

    def __init__(self, activation: Activation, *, include_background: bool, batch: bool, smooth: float) -> None:
        super().__init__()
        self.activation = activation
        self.first = 0 if include_background or activation == "sigmoid" else 1
        self.batch = batch
        self.smooth = smooth

    def _compared(self, logits: Tensor, target: Tensor) -> _Compared:
        logits = logits.float()
        if self.activation == "sigmoid":
            return _Compared(logits, torch.sigmoid(logits), target.float())
        probabilities = torch.softmax(logits, dim=1)[:, self.first :]
        channels = torch.arange(self.first, logits.shape[1], device=logits.device)
        inside = (target == channels.view(1, -1, *[1] * (logits.ndim - 2))).float()
        return _Compared(logits[:, self.first :], probabilities, inside)

    def _sums(self, of: _Compared) -> tuple[Tensor, Tensor]:
        """Of each channel: what prediction and mask share, and the sum of both."""
        axes = [0, *range(2, of.inside.ndim)] if self.batch else list(range(2, of.inside.ndim))
        return (of.probabilities * of.inside).sum(axes), of.probabilities.sum(axes) + of.inside.sum(axes)

    def _dice(self, of: _Compared) -> Tensor:
        shared, both = self._sums(of)
        return (1 - (2 * shared + self.smooth) / (both + self.smooth)).mean()

    def _iou(self, of: _Compared) -> Tensor:
        shared, both = self._sums(of)
        return (1 - (2 * shared + self.smooth) / (2 * (both - shared) + self.smooth)).mean()


class DiceFocal(_OfChannels):
    """Soft Dice loss plus focal loss, for labels (`softmax`) or for regions (`sigmoid`).

    It equals MONAI's `DiceFocalLoss` of the same settings. As there, the focal part takes every channel by itself,
    through a sigmoid.

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
        activation: Activation = "softmax",
        *,
        include_background: bool = True,
        gamma: float = 2.0,
        batch: bool = False,
        dice: float = 1.0,
        focal: float = 1.0,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__(activation, include_background=include_background, batch=batch, smooth=smooth)
        self.gamma = gamma
        self.dice = dice
        self.focal = focal

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar in float32.

        Args:
            logits: (B, K, X, Y, Z).
            target: (B, 1, X, Y, Z) integer labels or (B, K, X, Y, Z) masks.
        """
        of = self._compared(logits, target)
        return self.dice * self._dice(of) + self.focal * self._focal(of)

    def _focal(self, of: _Compared) -> Tensor:
        wrong = of.logits * (1 - 2 * of.inside)  # logit of what the voxel is not
        return -(torch.sigmoid(wrong) ** self.gamma * functional.logsigmoid(-wrong)).mean()


class BCEIoU(_OfChannels):
    """Binary cross-entropy plus soft IoU (Jaccard) loss of masks: the tumour alone, or regions.

    It equals MONAI's `DiceCELoss(sigmoid=True, jaccard=True)` for one channel, and takes every one of several by
    itself.

    IoU: Rahman and Wang, ISVC 2016.

    Args:
        batch: Whether the IoU of a batch is that of its cases together, or the mean of theirs.
        bce: Weight of the cross-entropy.
        iou: Weight of the IoU.
        smooth: Added to numerator and denominator of the IoU, both counted twice as in MONAI's.
    """

    def __init__(self, *, batch: bool = False, bce: float = 1.0, iou: float = 1.0, smooth: float = 1e-5) -> None:
        super().__init__("sigmoid", include_background=True, batch=batch, smooth=smooth)
        self.bce = bce
        self.iou = iou

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar in float32.

        Args:
            logits: (B, K, X, Y, Z).
            target: (B, K, X, Y, Z) masks.
        """
        of = self._compared(logits, target)
        entropy = functional.binary_cross_entropy_with_logits(of.logits, of.inside)
        return self.bce * entropy + self.iou * self._iou(of)


class CrossEntropy(nn.Module):
    """Categorical cross-entropy of labels, the mean over all voxels.

    Args:
        weight: Of each class, background first; the mean is then that of voxels which count by their class's weight.

    Raises:
        ConfigError: Weights that are no positive numbers.
    """

    def __init__(self, *, weight: Sequence[float] | None = None) -> None:
        super().__init__()
        if weight is not None and not all(math.isfinite(value) and value > 0 for value in weight):
            raise ConfigError(f"CrossEntropy: weight is {list(weight)}: expected a number above 0 for each class")
        stored = None if weight is None else torch.tensor(list(weight), dtype=torch.float32)
        self.register_buffer("weight", stored, persistent=False)  # a setting, not what is learnt
        self.weight: Tensor | None

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Loss, a scalar in float32.

        Args:
            logits: (B, K, X, Y, Z).
            target: (B, 1, X, Y, Z) integer labels.

        Raises:
            ConfigError: Another number of weights than of classes.
        """
        if self.weight is not None and len(self.weight) != logits.shape[1]:
            raise ConfigError(
                f"CrossEntropy: weight has {len(self.weight)} numbers, and the network {logits.shape[1]} output "
                "channels: give one for each"
            )
        return functional.cross_entropy(logits.float(), target[:, 0].long(), self.weight)
