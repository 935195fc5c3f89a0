"""A network written as a graph that runs without its Python class: TorchScript, `torch.export` and ONNX."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from brats_lightning.errors import BratsError
from brats_lightning.inference.models.runtimes import IMAGE, LOGITS, quiet, require_onnx
from brats_lightning.inference.predictor.intake import Size

LARGEST_SINGLE_FILE = 2_000_000_000
"""Bytes of weights: a protobuf ends at 2 GiB, and the weights of larger networks would lie in a file beside it."""
_ORIGINS = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")


def write_torchscript(network: nn.Module, size: Size, path: Path, *, channels: int) -> str:
    """Write a TorchScript file.

    Args:
        network: In evaluation mode.
        size: Voxels along each axis of an image it takes; small, as it runs where the network cannot be scripted.
        path: Of the file.
        channels: Of an image.

    Returns:
        `scripted`, or `traced` where scripting fails: a traced graph holds what the network does for this image.
    """
    with quiet():
        try:
            graph, how = torch.jit.script(network), "scripted"
        except Exception:  # noqa: BLE001 - whatever a network has that scripting cannot, tracing may
            graph, how = torch.jit.trace(network, torch.zeros(2, channels, *size), check_trace=False), "traced"
        graph.save(str(path))
    return how


def write_pt2(network: nn.Module, size: Size, path: Path, *, channels: int, any_size: bool) -> str:
    """Write a `torch.export` file; it takes any batch and, with `any_size`, any size that the network takes.

    Args:
        network: In evaluation mode.
        size: Voxels along each axis of the example that the graph is recorded with.
        path: Of the file.
        channels: Of an image.
        any_size: Whether the network takes more than this size.
    """
    with quiet():
        program = _program(network, size, channels=channels, any_size=any_size)
        for node in program.graph.nodes:
            for origin in _ORIGINS:  # paths of this machine, and nothing that running the graph needs
                node.meta.pop(origin, None)
        program.example_inputs = None  # which would be pickled, and large
        torch.export.save(program, path)
    return "exported"


def write_onnx(network: nn.Module, size: Size, path: Path, *, channels: int, any_size: bool) -> str:
    """Write an ONNX file; it takes any batch and, with `any_size`, any size that the network takes.

    Args:
        network: In evaluation mode.
        size: Voxels along each axis of the example that the graph is recorded with.
        path: Of the file.
        channels: Of an image.
        any_size: Whether the network takes more than this size.

    Raises:
        BratsError: The packages that write ONNX are not installed, or the network is too large for one file.
    """
    require_onnx()
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    if weights > LARGEST_SINGLE_FILE:
        raise BratsError(f"its weights take {weights / 1e9:.1f} GB, and one ONNX file holds 2: use another format")
    with quiet():
        program = torch.onnx.export(
            _program(_with_exact_norms(network), size, channels=channels, any_size=any_size),
            (torch.zeros(2, channels, *size),),
            dynamo=True,
            input_names=[IMAGE],
            output_names=[LOGITS],
            verbose=False,
        )
        if program is None:
            raise BratsError("PyTorch gave no ONNX program")
        for node in program.model.graph:
            node.metadata_props.clear()  # paths of this machine
        program.save(path, external_data=False)
    return f"opset {program.model.opset_imports['']}"


class ExactInstanceNorm(nn.Module):
    """Instance normalisation that averages axis by axis.

    ONNX Runtime's own adds up all voxels of a channel in single precision: at 64×96×128 voxels it moved the logits of a
    network of nnU-Net's size by 2e-3, and averages of averages move them by 2e-5 in the same time.

    Args:
        norm: Whose weights are taken over.
    """

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, …), each channel of each image with mean 0 and deviation 1 before weights apply."""
        centred = image - _mean(image)
        normalised = centred * torch.rsqrt(_mean(centred * centred) + self.eps)
        if self.weight is None:
            return normalised
        shape = (1, -1, *[1] * (image.ndim - 2))
        return normalised * self.weight.view(shape) + self.bias.view(shape)


def _mean(image: torch.Tensor) -> torch.Tensor:
    for axis in range(image.ndim - 1, 1, -1):
        image = image.mean(axis, keepdim=True)
    return image


def _with_exact_norms(network: nn.Module) -> nn.Module:
    """A copy that normalises exactly wherever statistics are those of the image."""
    network = deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm2d | nn.InstanceNorm3d) and not child.track_running_stats:
                setattr(module, name, ExactInstanceNorm(child))
    return network


def _program(network: nn.Module, size: Size, *, channels: int, any_size: bool) -> torch.export.ExportedProgram:
    """A batch of two: PyTorch takes one for a constant."""
    automatic = torch.export.Dim.AUTO
    dynamic: Mapping[int, Any] = dict.fromkeys((0, 2, 3, 4) if any_size else (0,), automatic)
    return torch.export.export(network, (torch.zeros(2, channels, *size),), dynamic_shapes=(dynamic,))
