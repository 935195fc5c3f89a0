"""Checkpoints that are whole or absent, wherever a job is cut."""

import errno
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from brats_lightning.cluster.lease import may_write
from brats_lightning.errors import BratsError
from brats_lightning.whole_files import whole_file

FULL = "no space left"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the file that is there, and gives the new one its name when it is on the disk.

    Lightning's own writes to the system's temporary folder and moves from there, which between two file systems copies
    over the old file: a job that ends meanwhile has no checkpoint at all.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write one checkpoint.

        Raises:
            BratsError: The disk is full or cannot be written, or another job has taken over the run's folder.
        """
        if storage_options is not None:
            raise TypeError("checkpoints are local files: storage_options mean nothing here")
        path = Path(path)
        if not may_write(path.parent.parent):
            raise BratsError(f"another job has taken over {path.parent.parent}: this one writes nothing more there")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed: a run has one writer
                left.unlink(missing_ok=True)
            with whole_file(path) as half, half.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # the second is what PyTorch makes of a full disk
            reason = _reason(error)
            if reason is None:
                raise
            before = "; the one before it is as it was" if path.exists() else ""
            room = "make room, then " if reason == FULL else ""
            raise BratsError(
                f"the checkpoint {path} could not be written ({reason}){before}; {room}go on with --ckpt_path auto"
            ) from error


def _reason(error: OSError | RuntimeError) -> str | None:
    """Why a file could not be written, None where that is not what went wrong."""
    if isinstance(error, OSError):
        return FULL if error.errno == errno.ENOSPC else error.strerror or type(error).__name__
    words = str(error)
    return FULL if "PytorchStreamWriter" in words or "unexpected pos" in words else None
