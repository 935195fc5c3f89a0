"""What opening and writing a network's graph have in common: PyTorch's and ONNX's own ways."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from brats_lightning.errors import BratsError

IMAGE, LOGITS = "image", "logits"
"""Names of an ONNX file's input and output."""
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """Make sure that ONNX files can be written and run.

    Raises:
        BratsError: They cannot; names the cure.
    """
    if missing := [name for name in _ONNX_PACKAGES if find_spec(name) is None]:
        raise BratsError(f"ONNX needs {', '.join(missing)}: pip install -c constraints.txt 'brats-lightning[onnx]'")


def first_line(error: Exception) -> str:
    """What an error of somebody else's says first."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings: exporters warn of their own age, of constants in a trace and of packages that are not needed."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
