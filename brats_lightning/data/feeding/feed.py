"""Where training batches are made: on the GPU, in memory, or by worker processes."""

from dataclasses import dataclass
from typing import Literal

from brats_lightning.errors import ConfigError

Feed = Literal["auto", "device", "host", "workers"]
Place = Literal["device", "host", "workers"]
NETWORK_SHARE = 0.5
"""Of a GPU's free memory, kept for the network, its activations and the optimiser when the feed is chosen by itself."""
SMALLEST_NETWORK_SHARE = 0.1
"""The same for a feed that the user has chosen."""
HOST_SHARE = 0.25
"""Of free main memory, kept for everything else."""


@dataclass(frozen=True)
class Choice:
    """A feed and why.

    Args:
        place: Where batches are made.
        said: One line for the log.
        otherwise: The wish could not be met.
    """

    place: Place
    said: str
    otherwise: bool = False


@dataclass(frozen=True)
class Machine:
    """What a feed can be chosen from, in bytes.

    Args:
        device_free: Of the GPU; 0 where training uses none.
        host_free: Main memory.
    """

    device_free: int
    host_free: int


def choose_feed(wish: Feed, *, needed: int, machine: Machine, needs_workers: str = "") -> Choice:
    """The fastest feed that the cases fit into, or the one wished for.

    Args:
        wish: The user's.
        needed: Bytes of all training cases.
        machine: What there is.
        needs_workers: Why nothing but worker processes will do, in words; empty where all feeds will.

    Raises:
        ConfigError: The wish contradicts other settings or the machine.
    """
    if needs_workers and wish in {"device", "host"}:
        raise ConfigError(f"data.feed: {wish} is not possible here: {needs_workers}; set data.feed to workers")
    if wish == "device" and not machine.device_free:
        raise ConfigError(
            "data.feed: device needs training on an NVIDIA GPU, and this run uses none: set data.feed to auto or host"
        )
    if wish == "workers" or needs_workers:
        return Choice("workers", f"cases: read by worker processes ({needs_workers or 'data.feed'})")
    size, refused = _text(needed), []
    if wish != "host" and machine.device_free:
        kept = NETWORK_SHARE if wish == "auto" else SMALLEST_NETWORK_SHARE
        free = f"{_text(machine.device_free)} free"
        if needed <= (1 - kept) * machine.device_free:
            return Choice("device", f"cases: {size} on the GPU (of {free})")
        refused.append(f"too much for the GPU ({free}, {kept:.0%} kept for the network)")
    free = f"{_text(machine.host_free)} free"
    if needed <= (1 - HOST_SHARE) * machine.host_free:
        because = f", {refused[0]}" if refused else ""
        return Choice("host", f"cases: {size} in main memory (of {free}){because}", otherwise=wish == "device")
    refused.append(f"too much for main memory ({free}, {HOST_SHARE:.0%} kept)")
    return Choice("workers", f"cases: {size}, {' and '.join(refused)}: read by worker processes", wish != "auto")


def _text(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
