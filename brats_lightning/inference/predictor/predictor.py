"""From an image to probabilities: whole brain or windows, flips, ensembles."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.inference.predictor.forward import guarded, half_precision
from brats_lightning.inference.predictor.intake import Intake, Size, in_words
from brats_lightning.inference.predictor.memory import Room, is_out_of_memory, unless_out_of_memory
from brats_lightning.inference.predictor.windows import (
    Network,
    Progress,
    pad_evenly,
    part_of,
    untold,
    windowed_logits,
)
from brats_lightning.model.outputs import Outputs, label_probabilities

Mode = Literal["auto", "whole", "windows"]
Precision = Literal["auto", "32", "bf16", "16"]


class Member(Protocol):
    """One trained network of an ensemble."""

    @property
    def intake(self) -> Intake:
        """Which images it takes."""

    def on(self, device: torch.device) -> AbstractContextManager[Network]:
        """The network on a device, from images (B, C, X, Y, Z) to logits (B, K, X, Y, Z); leaving may free it."""


class LoadedMember:
    """A network in memory, such as the one that was just trained.

    Args:
        network: In evaluation mode and on the predictor's device while in use, afterwards as it was.
        intake: Which images it takes.
    """

    def __init__(self, network: nn.Module, intake: Intake) -> None:
        self.network = network
        self.intake = intake

    @contextmanager
    def on(self, device: torch.device) -> Iterator[Network]:
        """The network itself."""
        was_training = [module for module in self.network.modules() if module.training]
        home = next((value.device for value in self.network.parameters()), device)
        try:
            yield self.network.to(device).eval()
        finally:
            self.network.to(home)
            for module in was_training:
                module.training = True


@dataclass(frozen=True)
class PredictorOptions:
    """How images are given to networks. None of this is part of a checkpoint.

    Args:
        mode: `whole`: the brain in one pass; `windows`; `auto`: as the network was trained, and windows where memory
            runs out.
        window: Voxels along each axis, rounded up to what the network takes; null: as it was trained, else 128.
        overlap: Of neighbouring windows, as a fraction of their size.
        flips: Axes (0 to 2) to flip along: every combination of them is predicted, and probabilities are averaged.
        precision: Of the network: `auto` is bf16 or, on older GPUs, 16 on a GPU and 32 on a CPU. All else is done in
            32 bit.
        compile: Compile networks by `torch.compile`: seconds to a minute for each size of images, which only many
            cases in windows or of one size pay back.
        batch: Windows given to the network at once; null: 1 on a CPU, 4 on a GPU.

    Raises:
        ConfigError: A setting outside its range.
    """

    mode: Mode = "auto"
    window: Size | None = None
    overlap: float = 0.5
    flips: tuple[int, ...] = ()
    precision: Precision = "auto"
    compile: bool = False
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ConfigError(f"mode must be one of {', '.join(get_args(Mode))}, found {self.mode!r}")
        if self.precision not in get_args(Precision):
            raise ConfigError(f"precision must be one of {', '.join(get_args(Precision))}, found {self.precision!r}")
        if self.window is not None and (len(self.window) != 3 or min(self.window) < 1):
            raise ConfigError(f"window must be three positive numbers of voxels, found {list(self.window)}")
        if not 0 <= self.overlap < 1:
            raise ConfigError(f"overlap must be 0 or more and below 1, found {self.overlap}")
        if len(set(self.flips)) != len(self.flips) or not set(self.flips) <= {0, 1, 2}:
            raise ConfigError(f"flips must be distinct axes among 0, 1 and 2, found {list(self.flips)}")
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch must be at least 1, found {self.batch}")

    @property
    def flip_sets(self) -> list[tuple[int, ...]]:
        """Every combination of the axes, none of them first, as axes of a (C, X, Y, Z) image."""
        sizes = range(len(self.flips) + 1)
        sets = itertools.chain.from_iterable(itertools.combinations(self.flips, size) for size in sizes)
        return [tuple(axis + 1 for axis in axes) for axes in sets]


class Predictor:
    """Networks in, an image in, probabilities out.

    Logits of windows are blended; probabilities of flips and of networks are averaged, as a running sum: memory grows
    with neither. One network at a time is on the device. What did not fit into memory once is not tried again.

    Args:
        members: Networks for equal labels; their intakes may differ.
        options: How images are given to them.
        device: Where networks run.
        outputs: What the channels of each of them mean; None: labels.

    Raises:
        ConfigError: No networks, or a precision that the device does not have.
    """

    def __init__(
        self,
        members: Sequence[Member],
        options: PredictorOptions,
        *,
        device: torch.device,
        outputs: Sequence[Outputs] | None = None,
    ) -> None:
        if not members:
            raise ConfigError("a prediction needs at least one network, found none")
        self.members = tuple(members)
        self._outputs: Sequence[Outputs] = outputs or ["labels" for _ in members]
        self.options = options
        self.device = device
        self._half = half_precision(options.precision, device=device)
        batch = options.batch or (4 if device.type == "cuda" else 1)
        self._rooms = [Room(device=device, batch=batch, sums=device) for _ in self.members]

    def __call__(self, image: Tensor, *, progress: Progress = untold) -> Tensor:
        """Probabilities (K, X, Y, Z) of an image (C, X, Y, Z), in float32 on the device; they sum to 1.

        Args:
            image: (C, X, Y, Z).
            progress: Of networks, flips and windows.

        Raises:
            BratsError: Networks, image, options and memory that do not fit each other, and the cure.
        """
        flat = [axis for axis in (1, 2, 3) if image.shape[axis] == 1]
        across = 3
        if len(flat) == 1 and all(member.intake.of_slices for member in self.members):
            across = flat[0]  # a slice lies as slices do in training, whichever plane it is of
        try:
            return self._average(image.movedim(across, 3), progress).movedim(3, across)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise ConfigError(
                f"an image of {in_words(image.shape[1:])} voxels and its probabilities do not fit into the memory of "
                f"{self.device}: choose another --device"
            ) from error

    @torch.no_grad()
    def _average(self, image: Tensor, progress: Progress) -> Tensor:
        image = image.to(self.device)
        total: Tensor | None = None
        done, passes = 0, len(self.members) * len(self.options.flip_sets)
        together = zip(self.members, self._outputs, self._rooms, strict=True)
        for number, (member, outputs, room) in enumerate(together, start=1):
            with member.on(self.device) as network:
                run = guarded(network, device=self.device, half=self._half, compiled=self.options.compile)
                for axes in self.options.flip_sets:
                    turned = image.flip(axes) if axes else image
                    own = part_of(progress, number=done, parts=passes)
                    probabilities = self._probabilities(turned, run, member.intake, room, outputs, progress=own)
                    done += 1
                    progress(done / passes)
                    total = _add(total, probabilities.flip(axes) if axes else probabilities)
            self._require_finite(total, image, number)
        assert total is not None  # noqa: S101 - there is a network
        total /= passes
        return total.to(self.device)

    def _probabilities(
        self, image: Tensor, network: Network, intake: Intake, room: Room, outputs: Outputs, *, progress: Progress
    ) -> Tensor:
        """Of one image and one network, in a way that memory allows."""
        volume = (image.shape[1], image.shape[2], image.shape[3])
        whole = self._whole_size(volume, intake)
        if whole and math.prod(whole) < room.whole:
            probabilities = unless_out_of_memory(lambda: _whole(image, network, outputs, size=whole))
            if probabilities is not None:
                return probabilities
            if self.options.mode == "whole":
                raise ConfigError(
                    f"a volume of {in_words(volume)} voxels does not fit into the memory of {self.device} in one pass: "
                    "choose --mode windows or --precision bf16"
                )
            room.without_whole(whole)
        window = intake.window(self.options.window)
        if whole and intake.divisor and all(edge >= voxels for edge, voxels in zip(window, volume, strict=True)):
            window = intake.window(_half_of(volume))  # as large as what did not fit

        def blended() -> Tensor:
            logits = windowed_logits(
                image.to(room.sums),
                network,
                window=window,
                overlap=self.options.overlap,
                batch=room.batch,
                progress=progress,
            )
            return _softmax_(logits) if outputs == "labels" else label_probabilities(logits, outputs, dim=0)

        while (probabilities := unless_out_of_memory(blended)) is None:
            room.with_less(window)
        return probabilities

    def _whole_size(self, volume: Size, intake: Intake) -> Size | None:
        """What to pad a volume to for one pass; None for windows, which asking for their size means too."""
        as_trained = self.options.mode == "auto"
        if self.options.mode == "windows" or (as_trained and (self.options.window or not intake.whole)):
            return None
        size = intake.size_for(volume)
        if size is None and self.options.mode == "whole":
            trained = f"{in_words(intake.trained)} voxels" if intake.trained else "the size that it was trained on"
            raise ConfigError(
                f"the network takes images of {trained} alone, the volume has {in_words(volume)}: choose --mode windows"
            )
        return size

    def _require_finite(self, total: Tensor | None, image: Tensor, number: int) -> None:
        """Look at the sum after each network, since one value that is no number spoils it for good."""
        if total is None or total.sum().isfinite():
            return
        if not image.isfinite().all():
            raise BratsError("the image holds values that are not finite: look at the case with `brats check`")
        cure = "try --precision 32" if self._half else "its weights are broken, take another checkpoint"
        raise BratsError(f"network {number} of {len(self.members)} gave values that are not finite: {cure}")


def _whole(image: Tensor, network: Network, outputs: Outputs, *, size: Size) -> Tensor:
    """Probabilities (K, X, Y, Z) of an image (C, X, Y, Z) that is padded to `size` for one pass."""
    padded, inside = pad_evenly(image, size)
    return label_probabilities(network(padded[None])[0][(slice(None), *inside)], outputs, dim=0)


def _softmax_(logits: Tensor) -> Tensor:
    """Softmax over the channels (K, X, Y, Z) in place: a volume of probabilities less in memory."""
    logits -= logits.amax(0, keepdim=True)
    logits.exp_()
    logits /= logits.sum(0, keepdim=True)
    return logits


def _half_of(volume: Size) -> Size:
    x, y, z = (-(-voxels // 2) for voxels in volume)
    return x, y, z


def _add(total: Tensor | None, probabilities: Tensor) -> Tensor:
    """The running sum: the first addend becomes it."""
    if total is None:
        return probabilities
    if total.shape != probabilities.shape:
        raise ConfigError(
            f"networks of {len(total)} and of {len(probabilities)} labels make no ensemble: predict with each alone"
        )
    return total.to(probabilities.device).add_(probabilities)
