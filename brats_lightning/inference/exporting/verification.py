"""Whether an exported network gives what its checkpoint gives: synthetic cases of several sizes, alone and in pairs."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.data.meta_tensor import MetaTensor

from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.transforms import BRAIN, NormaliseBraind, resample_linear
from brats_lightning.errors import CheckpointError
from brats_lightning.inference.predictor.intake import Intake, Size
from brats_lightning.inference.predictor.predictor import Member
from brats_lightning.labels import IMAGE, MODALITIES, Modality
from brats_lightning.phantom.scanner import make_phantom

CPU = torch.device("cpu")
SMALLEST_IMAGE = 16
"""Voxels along each axis of an image, at least."""


@dataclass(frozen=True, eq=False)
class Check:
    """What an exported network must give.

    Args:
        images: (B, C, X, Y, Z), preprocessed.
        logits: (B, K, X, Y, Z) of the checkpoint.
    """

    images: torch.Tensor
    logits: torch.Tensor


def make_checks(member: Member, preprocessing: Preprocessing) -> list[Check]:
    """Phantoms of each of `small_sizes`, alone and in pairs, and the logits of a network for them.

    Args:
        member: The checkpoint's network.
        preprocessing: Its modalities and its normalisation.

    Raises:
        CheckpointError: Logits that are not finite.
    """
    brains = [_brain(index, preprocessing.modalities) for index in (0, 1)]
    normalise = NormaliseBraind(IMAGE, method=preprocessing.normalisation)
    checks = []
    with member.on(CPU) as network, torch.inference_mode():
        for size in small_sizes(member.intake):
            resampled = [resample_linear(brain, size) for brain in brains]
            samples = [
                {IMAGE: MetaTensor(image), BRAIN: MetaTensor((image > 0).any(0, keepdim=True))} for image in resampled
            ]
            images = torch.stack([normalise(sample)[IMAGE].as_tensor() for sample in samples])
            checks += [Check(batch, network(batch)) for batch in (images[:1], images)]
    if not all(bool(check.logits.isfinite().all()) for check in checks):
        raise CheckpointError("its network gives values that are not finite: its training has failed")
    return checks


def small_sizes(intake: Intake) -> list[Size]:
    """Two small sizes that a network takes, the second one with different axes; one where it takes no other.

    Raises:
        CheckpointError: A network of one size, which nobody knows.

    Example:
        >>> small_sizes(Intake(None, divisor=8))
        [(16, 16, 16), (16, 24, 32)]
    """
    divisor = intake.divisor
    if divisor is None:
        if intake.trained is None:
            raise CheckpointError("its network takes images of one size only, and nothing says of which")
        return [intake.trained]
    least = max(2, -(-SMALLEST_IMAGE // divisor))
    return [(least * divisor,) * 3, (least * divisor, (least + 1) * divisor, (least + 2) * divisor)]


def largest_difference(member: Member, checks: Sequence[Check]) -> float:
    """The largest absolute difference of logits, infinite where their shapes differ.

    Args:
        member: The exported network.
        checks: What it must give.

    Raises:
        CheckpointError: It does not take one of the images.
    """
    largest = 0.0
    with member.on(CPU) as network, torch.inference_mode():
        for check in checks:
            try:
                logits = network(check.images)
            except Exception as error:  # what a graph raises depends on who runs it
                shape = "×".join(str(length) for length in check.images.shape)
                raise CheckpointError(f"it does not run on images of {shape}") from error
            if logits.shape != check.logits.shape:
                return float("inf")
            largest = max(largest, float((logits - check.logits).abs().max().nan_to_num(nan=float("inf"))))
    return largest


def _brain(index: int, modalities: Sequence[Modality]) -> torch.Tensor:
    """(C, X, Y, Z) float32: a phantom cropped to its brain."""
    phantom = make_phantom(0, index=index, size=(48, 48, 31))
    images = torch.from_numpy(phantom.images[[MODALITIES.index(name) for name in modalities]]).float()
    inside = images[0].nonzero()
    x, y, z = (
        slice(low, high + 1) for low, high in zip(*(edge.tolist() for edge in inside.aminmax(dim=0)), strict=True)
    )
    return images[:, x, y, z]
