"""Checkpoints of `brats fit`, opened without unpickling code."""

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import nn

from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import BratsError, CheckpointError
from brats_lightning.inference.models.networks import build_network
from brats_lightning.inference.models.spec import ModelSpec, channels_of, outputs_of, preprocessing_of
from brats_lightning.inference.postprocessing.postprocess import steps_of
from brats_lightning.inference.predictor.intake import Intake, Size, probe_divisor
from brats_lightning.inference.predictor.predictor import Member
from brats_lightning.labels import PLANES, region_labels
from brats_lightning.model.slice_wise import SliceWise
from brats_lightning.model.supervision import heads_of, logits_alone
from brats_lightning.runs import CHECKPOINTS, NAMED_CHECKPOINTS, find_checkpoint
from brats_lightning.whole_files import damaged_part

POSTPROCESSING = "postprocessing"
TRAINED_ON = "trained_on"
"""Keys of a checkpoint besides Lightning's own: tuned steps, and the smallest and largest training image."""
_NETWORK = "network."


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network, ready to predict.

    Args:
        path: Its file.
        digest: SHA-256 of the file.
        spec: What it says of itself.
        member: Its network.
    """

    path: Path
    digest: str
    spec: ModelSpec
    member: Member


class CheckpointMember:
    """A network whose weights stay in their file until they are needed.

    Args:
        network: Built, its weights those of the file.
        weights: Memory-mapped.
        intake: Which images it takes.
    """

    def __init__(self, network: nn.Module, weights: Mapping[str, torch.Tensor], intake: Intake) -> None:
        self._network = network
        self._weights = weights
        self.intake = intake

    @contextmanager
    def on(self, device: torch.device) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
        """The network on a device, which is freed of it afterwards."""
        if device.type == "cpu":
            yield self._network
            return
        self._network.to(device)
        try:
            yield self._network
        finally:
            self._network.load_state_dict(self._weights, assign=True)


def open_checkpoint(path: Path, *, trust: Sequence[str] = ()) -> Model:
    """Open a checkpoint that `brats fit` wrote.

    Args:
        path: The file, or the folder of a run, whose best checkpoint is meant, or the last where it keeps no best one.
        trust: Further packages whose networks may be imported.

    Raises:
        CheckpointError: It is missing, cut short, another project's, carries code, or names a network that cannot be
            built from it.
    """
    if path.is_dir():
        kept = [name for name in NAMED_CHECKPOINTS if (path / CHECKPOINTS / f"{name}.ckpt").is_file()]
        path = find_checkpoint(kept[0] if kept else "best", path)
    content = read_checkpoint(path)
    if not {"hyper_parameters", "datamodule_hyper_parameters"} <= content.keys():
        raise CheckpointError(f"{path} is another project's checkpoint: expected one that `brats fit` wrote")
    try:
        spec, network, weights = _build(content, trust)
    except BratsError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # settings of any other form than expected
        raise CheckpointError(f"{path}: its settings are incomplete or damaged ({error!r})") from error
    return Model(path, digest_of(path), spec, CheckpointMember(network, weights, spec.intake))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The plain data and memory-mapped tensors of a Lightning checkpoint.

    Raises:
        CheckpointError: It is missing, cut short, damaged, no checkpoint or carries code.
    """
    try:
        _require_undamaged(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a damaged file seems to hold
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except BratsError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(
            f"no checkpoint {path}: expected a file that `brats fit` or `brats export` wrote"
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds more than tensors and plain data, or is damaged: it is not loaded"
        ) from error
    except Exception as error:  # a damaged file can make PyTorch raise anything
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is no checkpoint, or a damaged one ({first})") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise CheckpointError(f"{path} is another project's file: expected a checkpoint that `brats fit` wrote")
    return content


def _require_undamaged(path: Path) -> None:
    """Compare a file with its checksums, which PyTorch does not: to it a flipped bit is another weight."""
    try:
        part = damaged_part(path)
    except ValueError as error:
        raise CheckpointError(f"{path} is no checkpoint, or one that was cut short") from error
    if part is not None:
        raise CheckpointError(f"{path} is damaged ({part} does not match its checksum): take another checkpoint")


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build(content: Mapping[str, Any], trust: Sequence[str]) -> tuple[ModelSpec, nn.Module, Mapping[str, torch.Tensor]]:
    settings = content["hyper_parameters"]
    network = build_network(settings.get("network"), trust=trust)
    weights = {
        name.removeprefix(_NETWORK): tensor
        for name, tensor in content["state_dict"].items()
        if name.startswith(_NETWORK)
    }
    try:
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"its weights are not those of the network it names ({_first_of(error)})") from error
    preprocessing = preprocessing_of(content["datamodule_hyper_parameters"].get("preprocessing") or {})
    intake = intake_of(network, content.get(TRAINED_ON), preprocessing)
    regions = region_labels(settings["regions"])
    steps = steps_of(content.get(POSTPROCESSING, []))
    outputs = outputs_of(settings)
    channels = channels_of(_output_channels(network, intake, len(preprocessing.modalities)), outputs)
    spec = ModelSpec(settings["network"], preprocessing, channels, regions, intake, steps, outputs)
    return spec, network, weights


def intake_of(network: nn.Module, trained_on: Mapping[str, Any] | None, preprocessing: Preprocessing) -> Intake:
    """Which images a network takes.

    Args:
        network: In memory.
        trained_on: What its checkpoint holds under that key, None in those that hold nothing.
        preprocessing: Of its training.
    """
    trained, whole = _trained_on(trained_on, preprocessing)
    if isinstance(network, SliceWise) and network.axes != [PLANES["axial"]]:
        trained, whole = None, True  # slices of other planes are no windows of a volume
    return Intake(trained, whole, probe_divisor(network, channels=len(preprocessing.modalities)))


def _trained_on(stored: Any, preprocessing: Preprocessing) -> tuple[Size | None, bool]:
    """The size of training images where it was one, and whether they were whole volumes, or slices of such.

    Volumes of one size that no resampling gave them can only be patches.
    """
    if stored is None:
        return preprocessing.fixed_size, True
    smallest, largest = tuple(stored["smallest"]), tuple(stored["largest"])
    if smallest != largest:
        return None, True
    resampled = preprocessing.size or (None, None, None)
    return smallest, all(edge in {1, size} for edge, size in zip(smallest, resampled, strict=True))


def _output_channels(network: nn.Module, intake: Intake, channels: int) -> int:
    """Found on the smallest image that the network takes, without computing where that is possible."""
    divisor = intake.divisor
    size = (3 * divisor, 5 * divisor, 7 * divisor) if divisor else intake.trained  # as divisors are probed
    if size is None:
        raise CheckpointError("its network takes images of one size only, and the checkpoint does not say of which")
    with torch.inference_mode():
        try:
            given = deepcopy(network).to("meta")(torch.empty((1, channels, *size), device="meta"))
        except (NotImplementedError, RuntimeError, TypeError, ValueError):
            try:
                given = network(torch.zeros((1, channels, *size)))
            except (RuntimeError, TypeError, ValueError) as error:
                raise CheckpointError(
                    f"its network does not take images of {channels} channels ({_first_of(error)})"
                ) from error
    if not isinstance(given, torch.Tensor):
        network.register_forward_hook(logits_alone)  # nothing that comes after asks for more
    return int(heads_of(given)[0].shape[1])


def _first_of(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        (lines[1] if len(lines) > 1 and lines[0].endswith(":") else lines[0])[:250] if lines else type(error).__name__
    )
