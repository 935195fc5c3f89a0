"""Running the server: its parts made, what it says at the start, its end."""

import asyncio
import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from brats_lightning.web.api.access import Access
from brats_lightning.web.api.application import application
from brats_lightning.web.api.server import Server
from brats_lightning.web.api.services import DISCLAIMER
from brats_lightning.web.files.inspecting import Inspectors
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits
from brats_lightning.web.work.example import example_files
from brats_lightning.web.work.messages import WorkOptions
from brats_lightning.web.work.queue import JobQueue

INSPECTORS = 2
"""A hostile file keeps one of them busy for a minute."""
OPEN_FILES = 4096
"""That this process may have, connections included, where the machine does not allow more anyway."""


@dataclass(frozen=True)
class Settings:
    """What is served.

    Args:
        checkpoints: Files or folders of networks.
        folder: Where cases are kept.
        devices: One worker process each.
        limits: What is taken at most.
        trust: Packages whose networks may be imported.
        options: How to predict.
    """

    checkpoints: tuple[Path, ...]
    folder: Path
    devices: tuple[str, ...]
    limits: Limits
    trust: tuple[str, ...]
    options: WorkOptions


def run(settings: Settings, *, access: Access) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Raises:
        BratsError: The port or the folder is taken, or a checkpoint cannot be opened.
    """
    _write_log()
    _keep_to_itself()
    with access.bound() as listening:  # before networks are opened, which takes longer
        store = CaseStore(settings.folder, settings.limits)
        try:
            queue = JobQueue(
                store, settings.limits, checkpoints=named(settings.checkpoints), devices=settings.devices,
                trust=settings.trust, options=settings.options,
            )  # fmt: skip
            queue.start()
            asyncio.run(_serve(settings, access, store, queue, listening))
        finally:
            store.close()


async def _serve(
    settings: Settings, access: Access, store: CaseStore, queue: JobQueue, listening: socket.socket
) -> None:
    app = application(
        store=store, queue=queue, inspectors=Inspectors(settings.limits, processes=INSPECTORS), limits=settings.limits,
        guards=access.guards(settings.limits),
        example=partial(example_files, settings.folder / "example", queue.networks),
    )  # fmt: skip
    certificate, key = (str(path) if path else None for path in (access.certificate, access.key))
    server = Server(app, certificate=certificate, key=key)
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    console.print(f"{DISCLAIMER}\nOpen {access.address(listening.getsockname()[1])}\nCtrl-C ends the server")
    await server.serve(sockets=[listening])
    console.print("stopped")


def named(checkpoints: Sequence[Path]) -> dict[str, Path]:
    """Checkpoints by names that people choose from: of the run's folder, or of the file.

    >>> list(named([Path("runs/unet3d"), Path("runs/unet3d/checkpoints/last.ckpt"), Path("b/checkpoints/best.ckpt")]))
    ['unet3d', 'unet3d last', 'b']
    """
    names: dict[str, Path] = {}
    for path in checkpoints:
        whole = path.resolve()
        name = whole.stem if whole.suffix else whole.name
        if whole.parent.name == "checkpoints":
            name = f"{whole.parent.parent.name} {name}".removesuffix(" best")
        unique, number = name, 1
        while unique in names:
            number += 1
            unique = f"{name} ({number})"
        names[unique] = path
    return names


def _keep_to_itself() -> None:
    """What this process and those that it starts write is their user's alone, and no dump of theirs holds a patient."""
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))


def _write_log() -> None:
    """To standard error, a line a request: its method, its route and how it went; nobody's names, no ids."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name, level in (("brats_lightning.web", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
