"""Homes of preprocessed cases: memory, a folder on disk, or none.

Entries on disk are written under a temporary name and moved into place, carry a checksum, and may be shared by
several processes and machines; a damaged one counts as absent. What a killed writer left is swept later.
"""

import errno
import json
import logging
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal, Protocol

import numpy as np
import torch
import xxhash
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from brats_lightning.data.preprocessing import Sample
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.labels import IMAGE, LABEL
from brats_lightning.nifti import Grid
from brats_lightning.whole_files import sweep_halves, whole_file

CacheHome = Literal["memory", "disk", "none"]
ENDING = ".safetensors"
CLAIM = "claim"
"""Ends the name of a mark that an entry is being built."""
log = logging.getLogger(__name__)


class Home(Protocol):
    """Where samples are kept."""

    def has(self, name: str) -> bool:
        """Whether an entry of this name is there, without reading it."""

    def load(self, name: str) -> Sample | None:
        """The entry, None where it is absent or damaged."""

    def save(self, name: str, sample: Sample) -> None:
        """Keep an entry."""


class MemoryHome:
    """Samples in this process's memory; worker processes forked later share its pages."""

    def __init__(self) -> None:
        self._samples: dict[str, Sample] = {}

    def has(self, name: str) -> bool:
        """See `Home`."""
        return name in self._samples

    def load(self, name: str) -> Sample | None:
        """See `Home`."""
        return self._samples.get(name)

    def save(self, name: str, sample: Sample) -> None:
        """Keep a copy: tensors from a worker process would each hold a file descriptor."""
        label = None if sample.label is None else sample.label.clone()
        self._samples[name] = replace(sample, image=sample.image.clone(), label=label)


class NoHome:
    """Nothing is kept: every use of a case preprocesses it anew."""

    def has(self, name: str) -> bool:  # noqa: ARG002
        """See `Home`."""
        return False

    def load(self, name: str) -> Sample | None:  # noqa: ARG002
        """See `Home`."""
        return None

    def save(self, name: str, sample: Sample) -> None:
        """See `Home`."""


class DiskHome:
    """Samples as memory-mapped safetensors files of one folder.

    Args:
        folder: Made where absent.

    Raises:
        ConfigError: It cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=folder).close()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigError(
                f"the cache folder {folder} cannot be written ({reason}): give another with --data.cache_dir"
            ) from error
        sweep_halves(folder, f"*{ENDING}", marks=[CLAIM])

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{ENDING}"

    def has(self, name: str) -> bool:
        """See `Home`."""
        return self._path(name).exists()

    def load(self, name: str) -> Sample | None:
        """See `Home`; the file's checksum is compared."""
        path = self._path(name)
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError):
            log.warning("cache entry %s is damaged: built again", path.name)
            return None
        if about.get("checksum") != _checksum(about.get("sample", ""), tensors):
            log.warning("cache entry %s does not match its checksum: built again", path.name)
            return None
        return _decode(about["sample"], tensors)

    def save(self, name: str, sample: Sample) -> None:
        """See `Home`.

        Raises:
            BratsError: The disk is full or the folder has become read-only.
        """
        tensors = {IMAGE: sample.image} | ({} if sample.label is None else {LABEL: sample.label})
        text = _encode(sample)
        content = save(tensors, {"sample": text, "checksum": _checksum(text, tensors)})
        path = self._path(name)
        try:
            with whole_file(path) as half, half.open("wb") as file:
                for part in _in_one_order(content):
                    file.write(part)
        except OSError as error:
            reason = "no space left" if error.errno == errno.ENOSPC else error.strerror or type(error).__name__
            raise BratsError(
                f"the cache entry of {sample.case} could not be written to {self.folder} ({reason}): "
                "make room or give another folder with --data.cache_dir"
            ) from error


def _in_one_order(content: bytes) -> tuple[bytes, memoryview]:
    """Header and body of a safetensors file: what it says of itself comes out in any order, and shall have one.

    Then a case has the same bytes whoever has built its entry.
    """
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:begin]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header, memoryview(content)[begin:]


def _encode(sample: Sample) -> str:
    grids = {
        name: {"shape": grid.shape, "affine": grid.affine.tolist()}
        for name, grid in (("grid", sample.grid), ("native", sample.native))
    }
    return json.dumps({"case": sample.case, "edition": sample.edition, "notes": sample.notes, **grids})


def _decode(text: str, tensors: dict[str, torch.Tensor]) -> Sample:
    about = json.loads(text)
    grid, native = (Grid(tuple(about[name]["shape"]), np.asarray(about[name]["affine"])) for name in ("grid", "native"))
    return Sample(
        about["case"],
        about["edition"],
        tensors[IMAGE],
        tensors.get(LABEL),
        grid,
        native,
        tuple(about["notes"]),
    )


def _checksum(text: str, tensors: dict[str, torch.Tensor]) -> str:
    digest = xxhash.xxh3_128(text.encode())
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def make_home(kind: CacheHome, folder: Path) -> Home:
    """The home a run asks for.

    Raises:
        ConfigError: A folder that cannot be written.
    """
    if kind == "disk":
        return DiskHome(folder)
    return MemoryHome() if kind == "memory" else NoHome()
