"""Weights that a ResNet encoder begins with, from a local file in torchvision's format.

Torchvision names them conv1.weight, bn1.weight, layer1.0.conv1.weight, layer2.0.downsample.0.weight …, fc.weight; the
encoder's own names are the same.
"""

import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from brats_lightning.errors import ConfigError

_PARTS = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")
_FIRST = "conv1.weight"
_CLASSIFIER = "fc."
_UNNEEDED = "num_batches_tracked"
"""Ends of names that files of old versions of PyTorch do not have."""
_ZIP = b"PK\x03\x04"
_CURE = "give a state dict in torchvision's format (.pth or .safetensors) with --model.encoder_weights"


def load_encoder(network: nn.Module, path: Path) -> str:
    """Give the ResNet encoder inside a network the weights of a file.

    Its first convolution takes images of any number of channels C: each gets the mean over the file's three colours
    times 3 / C, so that C equal channels give what a grey picture gave.

    Args:
        network: With one such encoder somewhere inside, which is left as it is where something does not fit.
        path: State dict of a ResNet of the same depth; what it says of a classifier is passed over.

    Returns:
        What was done, for the log.

    Raises:
        ConfigError: No such file, a damaged one, another network's, or no encoder to give it to.
    """
    own = {name: value for name, value in _encoder_in(network).state_dict().items() if not name.startswith(_CLASSIFIER)}
    given = {name: value for name, value in _read(path).items() if not name.startswith(_CLASSIFIER)}
    _require_fit(own, given, path)
    colours, channels = given[_FIRST].shape[1], own[_FIRST].shape[1]
    given[_FIRST] = _for_channels(given[_FIRST], channels)
    with torch.no_grad():
        for name, value in given.items():
            own[name].copy_(value)
    first = "its first convolution as it is"
    if colours != channels:
        first = f"its first convolution the mean over {colours} colours, times {colours}/{channels} for each channel"
    return f"encoder weights from {path}: {len(given)} tensors of a {_depth(own)}, {first}"


def check_encoder(network: nn.Module, path: Path) -> None:
    """See whether `load_encoder` would work, and change nothing.

    Raises:
        ConfigError: It would not.
    """
    own = {name: value for name, value in _encoder_in(network).state_dict().items() if not name.startswith(_CLASSIFIER)}
    _require_fit(own, _read(path), path)


def _encoder_in(network: nn.Module) -> nn.Module:
    found = [
        module
        for module in network.modules()
        if all(isinstance(getattr(module, part, None), nn.Module) for part in _PARTS)
    ]
    if len(found) != 1:
        raise ConfigError(
            f"model.encoder_weights: expected a network with one ResNet encoder, such as "
            f"brats_lightning.model.resnet_unet.ResNetUNet, found {len(found)} in {type(network).__name__}: "
            "choose such a network, or leave encoder_weights away"
        )
    return found[0]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        content = _content(path)
    except FileNotFoundError as error:
        raise ConfigError(
            f"no file {path}, and weights are never downloaded: get those of the ResNet in torchvision's format and "
            "give their path with --model.encoder_weights"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): {_CURE}") from error
    except UnpicklingError as error:
        raise ConfigError(f"{path} holds more than tensors, or is damaged, and is not loaded: {_CURE}") from error
    except Exception as error:  # a damaged file can make PyTorch raise anything
        raise ConfigError(f"{path} holds no weights, or was cut short: {_CURE}") from error
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(f"{path} holds no state dict: {_CURE}")
    foreign = next((name for name, value in content.items() if not _is_plain(value)), None)
    if foreign is not None:
        raise ConfigError(f"{path} holds more than a state dict ({foreign!r} is no tensor): {_CURE}")
    return {str(name): value.detach() for name, value in content.items()}


def _is_plain(value: object) -> bool:
    """Whether it is a tensor with its numbers in memory, one beside the other."""
    return isinstance(value, Tensor) and value.device.type == "cpu" and value.layout == torch.strided


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        with path.open("rb"):  # whose errors name what is wrong
            return load_file(path)
    with path.open("rb") as file:
        if file.read(len(_ZIP)) == _ZIP and not zipfile.is_zipfile(file):
            raise EOFError
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a damaged file seems to hold
        return torch.load(path, map_location="cpu", weights_only=True)


def _require_fit(own: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> None:
    """Compare names and shapes; colours and channels of the first convolution may differ."""
    problem = _first_problem(own, given)
    if problem is None:
        return
    wanted, found = _depth(own), _depth(given)
    cure = f"give weights of a {wanted} in torchvision's format"
    if wanted == found:
        cure = "choose brats_lightning.model.resnet_unet.ResNetUNet, whose layers are those of torchvision"
    raise ConfigError(f"{path} holds a {found} that does not fit the network's encoder, a {wanted}: {problem}; {cure}")


def _first_problem(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str | None:
    for name, value in own.items():
        if name not in given:
            if name.endswith(_UNNEEDED):
                continue
            return f"{name} is not in the file"
        expected, found = list(value.shape), list(given[name].shape)
        if name == _FIRST and len(found) == len(expected):
            expected[1] = found[1]
        if expected != found:
            return f"{name} is of shape {found}, expected {expected}"
        if value.is_floating_point() and not given[name].is_floating_point():
            return f"{name} is of type {given[name].dtype}, expected {value.dtype}"
        if not given[name].isfinite().all():
            return f"{name} holds numbers that are not finite"
    others = (name for name in given if name not in own and not name.startswith(_CLASSIFIER))
    unknown = next(others, None)
    return None if unknown is None else f"the encoder has no {unknown}"


def _depth(names: Iterable[str]) -> str:
    """What a ResNet is called: by its convolutions, and its classifier."""
    names = list(names)
    blocks = sum(re.fullmatch(r"layer[1-4]\.\d+\.conv1\.weight", name) is not None for name in names)
    convolutions = 3 if any(re.fullmatch(r"layer1\.0\.conv3\.weight", name) for name in names) else 2
    return f"ResNet-{blocks * convolutions + 2}" if blocks else "network of another kind"


def _for_channels(kernels: Tensor, channels: int) -> Tensor:
    colours = kernels.shape[1]
    if colours == channels:
        return kernels
    return kernels.mean(dim=1, keepdim=True).expand(-1, channels, *kernels.shape[2:]) * (colours / channels)
