"""Exported networks opened again, as members that predict like the checkpoint they come from."""

import io
import logging
import pickletools
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from brats_lightning.errors import CheckpointError
from brats_lightning.inference.models.bundle_folder import SIDECAR, WEIGHTS, is_bundle, open_bundle
from brats_lightning.inference.models.checkpoints import Model, open_checkpoint
from brats_lightning.inference.models.pt2_archive import refuse_code
from brats_lightning.inference.models.runtimes import IMAGE, LOGITS, first_line, quiet, require_onnx
from brats_lightning.inference.models.sidecar import read_description, sidecar_of
from brats_lightning.inference.predictor.intake import Intake
from brats_lightning.inference.predictor.predictor import Member
from brats_lightning.machine import usable_cores

CPU = torch.device("cpu")
_TOUCHES_FILES = re.compile(r"\b(?:torch|aten)\.(?:save|from_file)\b")
_LARGEST_CODE = 50_000_000
logger = logging.getLogger(__name__)


class GraphMember:
    """A graph of PyTorch operations: TorchScript, or what `torch.export` gave.

    Args:
        graph: On the CPU.
        intake: Which images it takes.
    """

    def __init__(self, graph: nn.Module, *, intake: Intake) -> None:
        self._graph = graph
        self.intake = intake

    @contextmanager
    def on(self, device: torch.device) -> Iterator[Callable[[Tensor], Tensor]]:
        """The graph on a device, which is freed of it afterwards."""
        try:
            yield self._graph.to(device)
        finally:
            self._graph.to(CPU)


class OnnxMember:
    """A network that ONNX Runtime runs, on a GPU where its package supports that.

    A session takes longer to make than a case to predict, so that it stays on its device.

    Args:
        path: Of the ONNX file.
        intake: Which images it takes.

    Raises:
        CheckpointError: The file is no ONNX file, or has another input and output than exported networks have.
    """

    def __init__(self, path: Path, *, intake: Intake) -> None:
        self._path = path
        self.intake = intake
        self._sessions: dict[torch.device, Any] = {CPU: self._session(["CPUExecutionProvider"])}
        session = self._sessions[CPU]
        if [value.name for value in session.get_inputs()] != [IMAGE] or LOGITS not in {
            value.name for value in session.get_outputs()
        }:
            raise CheckpointError(f"{path} has another input or output than `brats export` writes")

    @contextmanager
    def on(self, device: torch.device) -> Iterator[Callable[[Tensor], Tensor]]:
        """A function of tensors on that device."""
        if device not in self._sessions:
            self._sessions[device] = self._session(self._providers(device))
        session = self._sessions[device]

        def logits(images: Tensor) -> Tensor:
            found: np.ndarray[Any, np.dtype[np.float32]] = session.run([LOGITS], {IMAGE: images.float().cpu().numpy()})[
                0
            ]
            return torch.from_numpy(found).to(images.device)

        yield logits

    def _providers(self, device: torch.device) -> list[Any]:
        onnxruntime: Any = import_module("onnxruntime")  # an optional extra
        if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]
        logger.warning("%s runs on the CPU: this onnxruntime has no support for %s", self._path, device.type)
        return ["CPUExecutionProvider"]

    def _session(self, providers: list[Any]) -> Any:
        onnxruntime: Any = import_module("onnxruntime")  # an optional extra
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        options.log_severity_level = 4  # it raises its errors, and warns of its own choice of kernels
        try:
            with redirect_stdout(io.StringIO()):  # on which it tells of errors that it cannot put into words
                return onnxruntime.InferenceSession(str(self._path), options, providers=providers)
        except Exception as error:  # onnxruntime raises classes of its own, without a common one
            raise CheckpointError(f"{self._path} is no ONNX file, or a damaged one") from error


def open_model(path: Path, *, trust: Sequence[str] = ()) -> Model:
    """Open whatever holds a trained network: a checkpoint, a run's folder, an exported file or a MONAI bundle.

    Args:
        path: Of the file or folder.
        trust: Further packages whose networks may be imported.

    Raises:
        CheckpointError: It is missing, damaged, or made by something else.
    """
    is_exported = is_bundle(path) if path.is_dir() else path.suffix in _READERS
    return open_exported(path, trust=trust) if is_exported else open_checkpoint(path, trust=trust)


def open_exported(path: Path, *, trust: Sequence[str] = ()) -> Model:
    """Open what `brats export` wrote: a `.pt`, `.pt2` or `.onnx` file, or the folder of a MONAI bundle.

    Args:
        path: Of the file or folder; its description must lie beside it.
        trust: Further packages whose networks a bundle may name.

    Raises:
        CheckpointError: It is missing, damaged, has no description, or is not the file that its description describes.
    """
    if path.is_dir():
        if not is_bundle(path):
            raise CheckpointError(
                f"{path} is no bundle that `brats export` wrote: expected {SIDECAR} and {WEIGHTS} in it"
            )
        return open_bundle(path, trust=trust)
    if not path.exists():
        raise CheckpointError(f"no exported network {path}")
    if path.suffix not in _READERS:
        raise CheckpointError(f"{path} is no exported network: expected {', '.join(_READERS)} or a bundle's folder")
    spec, digest = read_description(path, sidecar_of(path))
    return Model(path, digest, spec, _READERS[path.suffix](path, spec.intake))


def _torchscript(path: Path, intake: Intake) -> Member:
    """TorchScript is PyTorch's own small language: its unpickler makes tensors and TorchScript's types, no others."""
    try:
        with zipfile.ZipFile(path) as archive:
            _require_whole_pickles(archive)
            texts = _code(archive)
        with quiet():
            graph = None if _TOUCHES_FILES.search("".join(texts)) else torch.jit.load(str(path), map_location=CPU)
    except Exception as error:  # a damaged file can make PyTorch and zipfile raise anything
        raise CheckpointError(f"{path} is no TorchScript file, or a damaged one ({first_line(error)})") from error
    if graph is None:
        raise CheckpointError(f"{path} reads or writes files: it is not loaded")
    return GraphMember(graph, intake=intake)


def _require_whole_pickles(archive: zipfile.ZipFile) -> None:
    """Refuse lists of tensors and constants that tell of more than they hold: PyTorch would take memory for it.

    Raises:
        ValueError: One does.
    """
    for info in archive.infolist():
        if info.filename.endswith(".pkl"):
            if info.file_size > _LARGEST_CODE:
                raise ValueError(f"more than {_LARGEST_CODE} bytes in {info.filename}")
            for _ in pickletools.genops(archive.read(info)):  # which reads, and makes nothing of what it reads
                pass


def _code(archive: zipfile.ZipFile) -> list[str]:
    """The source texts of a TorchScript file.

    Raises:
        ValueError: Far too much for a network.
    """
    code = [info for info in archive.infolist() if info.filename.endswith(".py")]
    if sum(info.file_size for info in code) > _LARGEST_CODE:
        raise ValueError(f"more than {_LARGEST_CODE} bytes of code")
    return [archive.read(info).decode() for info in code]


def _exported_program(path: Path, intake: Intake) -> Member:
    refuse_code(path)
    try:
        with quiet():
            program = torch.export.load(io.BytesIO(path.read_bytes()))
            # PyTorch would write the file's guards into a function and run it.
            return GraphMember(program.module(check_guards=False), intake=intake)
    except Exception as error:  # a damaged graph can make it raise anything
        raise CheckpointError(
            f"{path} cannot be opened by PyTorch {torch.__version__} ({first_line(error)}): export it with this version"
        ) from error


def _onnx(path: Path, intake: Intake) -> Member:
    require_onnx()
    return OnnxMember(path, intake=intake)


_READERS: dict[str, Callable[[Path, Intake], Member]] = {
    ".pt": _torchscript,
    ".pt2": _exported_program,
    ".onnx": _onnx,
}
