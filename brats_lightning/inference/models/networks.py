"""A network built from the class that a stranger's file names, and nothing else that such a file could ask for."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser
from torch import nn

from brats_lightning.errors import CheckpointError

TRUSTED = ("torch.nn.", "monai.networks.", "brats_lightning.")
"""Where networks, and parts of them, are imported from without asking."""
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def build_network(settings: Any, *, trust: Sequence[str] = ()) -> nn.Module:
    """Build a network from `class_path` and `init_args`.

    Every name with dots anywhere in the settings must be that of a class of networks, of a module that is trusted:
    jsonargparse, which calls it, would take any function that says it gives a network, and texts that it reads as
    settings once more.

    Args:
        settings: Plain data.
        trust: Packages beside `TRUSTED`.

    Raises:
        CheckpointError: No such settings, a class of a package that is not trusted, or one that cannot be built.
    """
    if not isinstance(settings, Mapping) or not isinstance(settings.get("class_path"), str):
        raise CheckpointError(
            "it does not say which network it holds: expected one that `brats fit` trained from a configuration"
        )
    for text in _texts(settings):
        _require_harmless(text, trust)
    settings = _without_downloads(settings)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--network", type=nn.Module)
    try:
        with warnings.catch_warnings():
            # jsonargparse hands over every default, of arguments that MONAI no longer wants to be given too; what else
            # there is to warn of concerns who chose the settings.
            warnings.simplefilter("ignore")
            network: nn.Module = parser.instantiate(parser.parse_object({"network": settings})).network
    except (ArgumentError, TypeError, ValueError, RuntimeError, LookupError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"its network {settings['class_path']} cannot be built ({reason})") from error
    return network.eval().requires_grad_(requires_grad=False)


def _without_downloads(settings: Any) -> Any:
    """The same settings, but for weights from elsewhere: those of the file come in their place."""
    if isinstance(settings, Mapping):
        return {
            name: False if "pretrained" in str(name) and value is True else _without_downloads(value)
            for name, value in settings.items()
        }
    return [_without_downloads(item) for item in settings] if isinstance(settings, list | tuple) else settings


def _texts(value: Any) -> Iterator[str]:
    """Every text anywhere in plain settings, names of options too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _require_harmless(text: str, trust: Sequence[str]) -> None:
    if any(mark in text for mark in "{}[]:\n$"):
        raise CheckpointError(f"the settings of its network hold {text[:60]!r}: expected names and numbers")
    if not _PATH.fullmatch(text):
        return
    package, name = text.partition(".")[0], text.rpartition(".")
    if package not in trust and not text.startswith(TRUSTED):
        raise CheckpointError(f"its network uses {text}: allow that package's code with --trust {package}")
    try:
        found = getattr(import_module(name[0]), name[2])
    except (ImportError, AttributeError) as error:
        raise CheckpointError(f"its network {text} cannot be built (there is no such class here)") from error
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise CheckpointError(f"its network uses {text}, which is no class of networks: it is not called")
