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
        device_free: Of this process's GPU; 0 where training uses none.
        host_free: Main memory.
        processes: That train here, each with a GPU of its own and with all cases.
    """

    device_free: int
    host_free: int
    processes: int = 1


def choose_feed(
    wish: Feed, *, needed: int, machine: Machine, in_memory: bool = False, needs_workers: str = ""
) -> Choice:
    """The fastest feed that the cases fit into, or the one wished for.

    Args:
        wish: The user's.
        needed: Bytes of all training cases: on each GPU, but once in main memory, where all processes read the pages
            of the same files.
        machine: What there is.
        in_memory: Each process has the cases in main memory already, a copy of its own: to use it takes no more.
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
    size, refused, several = _text(needed), [], machine.processes > 1
    if wish != "host" and machine.device_free:
        kept = NETWORK_SHARE if wish == "auto" else SMALLEST_NETWORK_SHARE
        free = f"{_text(machine.device_free)} free"
        if needed <= (1 - kept) * machine.device_free:
            where = f"each of {machine.processes} GPUs" if several else "the GPU"
            return Choice("device", f"cases: {size} on {where} (of {free})")
        refused.append(f"too much for the GPU ({free}, {kept:.0%} kept for the network)")
    free = f"{_text(machine.host_free)} free"
    if in_memory or needed <= (1 - HOST_SHARE) * machine.host_free:
        because = f", {refused[0]}" if refused else ""
        keeping = f", {'a copy for each of' if in_memory else 'shared by'} {machine.processes} processes"
        left = f"{free} beside them" if in_memory else f"of {free}"
        said = f"cases: {size} in main memory{keeping if several else ''} ({left}){because}"
        return Choice("host", said, otherwise=wish == "device")
    refused.append(f"too much for main memory ({free}, {HOST_SHARE:.0%} kept)")
    return Choice("workers", f"cases: {size}, {' and '.join(refused)}: read by worker processes", wish != "auto")


def _text(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
