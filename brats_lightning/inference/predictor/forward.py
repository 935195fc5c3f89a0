"""One forward pass: its precision, its compilation, and what may be wrong with it in words."""

import torch
from torch import Tensor

from brats_lightning.errors import ConfigError
from brats_lightning.inference.predictor.intake import in_words
from brats_lightning.inference.predictor.memory import is_out_of_memory
from brats_lightning.inference.predictor.windows import Network
from brats_lightning.model.supervision import heads_of


def guarded(network: Network, *, device: torch.device, half: torch.dtype | None, compiled: bool) -> Network:
    """A network that takes images from any device in any precision, and whose complaints are those of settings.

    Args:
        network: On the device.
        device: Where it runs.
        half: The 16-bit type that it computes in, None for 32 bit.
        compiled: Whether to run it through `torch.compile`.

    Raises:
        ConfigError: Here or when it is called.
    """
    run = _compiled(network) if compiled else network

    def forward(images: Tensor) -> Tensor:
        images = images.to(device, torch.float32)
        try:
            with torch.inference_mode(), torch.autocast(device.type, dtype=half, enabled=half is not None):
                logits = heads_of(run(images))[0]  # of a network that was trained just now, which may give more
        except (RuntimeError, ValueError) as error:
            if is_out_of_memory(error):
                raise
            cure = "predict without --compile" if compiled else "choose another --window or --mode"
            raise ConfigError(
                f"the network failed on images of {list(images.shape)}: {_first_line(error)}; {cure}"
            ) from error
        if logits.shape[2:] != images.shape[2:]:
            raise ConfigError(
                f"the network turned images of {in_words(images.shape[2:])} voxels into logits of "
                f"{in_words(logits.shape[2:])}: choose a --window that its strides divide"
            )
        return logits

    return forward


def _compiled(network: Network) -> Network:
    """Compiled anew for each size of images; one network's code serves however often it is wrapped here.

    Not for changing sizes: PyTorch 2.13 fails to lower a strided 3-D convolution of unknown size on a CPU.
    """
    try:
        run: Network = torch.compile(network, dynamic=False)
    except RuntimeError as error:
        raise ConfigError(
            f"torch.compile does not work here: {_first_line(error)}; predict without --compile"
        ) from error
    return run


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def half_precision(precision: str, *, device: torch.device) -> torch.dtype | None:
    """The 16-bit type that networks compute in; None for 32 bit.

    Args:
        precision: `auto`, `32`, `bf16` or `16`.
        device: Where they run.

    Raises:
        ConfigError: The device cannot.
    """
    if device.type != "cuda":
        if precision == "16":
            raise ConfigError(f"--precision 16 needs a GPU, found {device}: choose bf16 or 32")
        return torch.bfloat16 if precision == "bf16" else None
    has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16" and not has_bfloat16:
        raise ConfigError(f"{torch.cuda.get_device_name(device)} has no bf16: choose --precision 16 or 32")
    if precision == "auto":
        precision = "bf16" if has_bfloat16 else "16"
    return {"bf16": torch.bfloat16, "16": torch.float16}.get(precision)
