"""A 2-D network as a network of volumes: it looks at each slice by itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from brats_lightning.errors import ConfigError
from brats_lightning.labels import PLANES, Plane


class SliceWise(nn.Module):
    """Gives a 2-D network the slices of a volume and stacks what it says of them.

    An image of one slice, (B, C, X, Y, 1) or with one voxel along another axis, is taken as it is, whichever plane it
    was cut in; a volume is cut in each of the planes, and the logits of several planes are averaged.

    Args:
        network: From slices (B, C, U, V) to logits (B, K, U, V), or to several heads in training.
        planes: In which volumes are cut; in RAS axis order axial slices are those along z.
        multiple: Of pixels along each side, which the network's halvings need: slices are padded with zeros up to it
            and the logits cropped again.
        at_once: Slices of a volume that go through the network together while it does not train.

    Raises:
        ConfigError: No planes, unknown ones, or numbers below 1.
    """

    def __init__(
        self, network: nn.Module, *, planes: Sequence[Plane] = ("axial",), multiple: int = 1, at_once: int = 16
    ) -> None:
        super().__init__()
        if not planes or len(set(planes)) != len(planes) or not set(planes) <= set(PLANES):
            raise ConfigError(f"SliceWise: planes must be some of {', '.join(PLANES)}, found {list(planes)}")
        if multiple < 1 or at_once < 1:
            raise ConfigError(f"SliceWise: multiple and at_once must be at least 1, found {multiple} and {at_once}")
        self.network = network
        self.axes = [PLANES[plane] for plane in planes]
        self.multiple = multiple
        self.at_once = at_once

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits (B, K, X, Y, Z) of images (B, C, X, Y, Z), a list where the network has several heads."""
        axes = self._axes_of(image)
        if len(axes) == 1:
            return self._along(image, axes[0])
        found = [self._along(image, axis) for axis in axes]
        logits = [each for each in found if isinstance(each, Tensor)]
        if len(logits) < len(found):
            raise ConfigError("SliceWise: a network of several heads takes one plane, or training on slices")
        return torch.stack(logits).mean(0)

    def _axes_of(self, image: Tensor) -> list[int]:
        """Those across which an image is cut: a single slice across its one voxel."""
        if self.axes == [2] and _is_drawn():
            return self.axes
        flat = [axis for axis in ((2,) if _is_drawn() else (2, 1, 0)) if image.shape[axis + 2] == 1]
        return flat[:1] or self.axes

    def _along(self, image: Tensor, axis: int) -> Tensor | list[Tensor]:
        """Slices across an axis (0 to 2), each by itself."""
        moved = image.movedim(axis + 2, 1)  # (B, slices, C, U, V)
        batch, count = moved.shape[:2]
        given = self._heads(moved.flatten(0, 1))
        heads = [head.unflatten(0, (batch, count)).movedim(1, axis + 2) for head in given]
        return heads[0] if len(heads) == 1 else heads

    def _heads(self, slices: Tensor) -> list[Tensor]:
        """Logits (N, K, U, V) of slices (N, C, U, V), in as many calls as memory asks for."""
        height, width = slices.shape[-2:]
        drawn = _is_drawn()
        missing_u, missing_v = -height % self.multiple, -width % self.multiple
        padded = self.multiple > 1 if drawn else bool(missing_u or missing_v)
        if padded:
            slices = functional.pad(slices, [0, missing_v, 0, missing_u])
        if slices.is_cuda:
            slices = slices.contiguous(memory_format=torch.channels_last)
        parts = [slices] if drawn or self.training else slices.split(self.at_once)  # training takes slices, not volumes
        given = [self.network(part) for part in parts]
        if isinstance(given[0], Tensor):
            logits = given[0] if len(given) == 1 else torch.cat(given)
            return [logits[..., :height, :width] if padded else logits]
        if len(given) > 1 or padded:
            raise ConfigError("SliceWise: a network of several heads takes slices whose sides it needs not pad")
        return list(given[0])


def _is_drawn() -> bool:
    """Whether this becomes a graph, which must neither loop nor decide by the size of the volume it is drawn with."""
    return bool(torch.compiler.is_compiling() or torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
