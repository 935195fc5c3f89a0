import logging
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from brats_lightning.inference.exporting.graphs import ExactInstanceNorm, write_onnx
from brats_lightning.inference.models.runtimes import quiet


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize(("kind", "size"), [(nn.InstanceNorm3d, (5, 6, 7)), (nn.InstanceNorm2d, (8, 9))])
def test_instance_normalisation_by_axes_is_that_of_pytorch(
    kind: type[nn.InstanceNorm2d | nn.InstanceNorm3d], size: tuple[int, ...], affine: bool
) -> None:
    torch.manual_seed(0)
    norm = kind(3, affine=affine).requires_grad_(requires_grad=False)
    if affine:
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    image = 5 + 3 * torch.randn(2, 3, *size)
    torch.testing.assert_close(ExactInstanceNorm(norm)(image), norm(image))


@pytest.mark.slow
def test_onnx_normalises_large_volumes_exactly(tmp_path: Path) -> None:
    """Where ONNX Runtime's own instance normalisation is off by more than 1."""
    onnxruntime = pytest.importorskip("onnxruntime")
    network = nn.Sequential(nn.InstanceNorm3d(1)).eval()
    write_onnx(network, (4, 4, 4), tmp_path / "norm.onnx", channels=1, any_size=True)
    assert type(network[0]) is nn.InstanceNorm3d
    session = onnxruntime.InferenceSession(tmp_path / "norm.onnx", providers=["CPUExecutionProvider"])
    image = 100 + torch.rand(1, 1, 160, 160, 160)
    (found,) = session.run(["logits"], {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(found).double(), network(image.double()), rtol=0, atol=5e-4)


def test_warnings_return_after_silence(caplog: pytest.LogCaptureFixture) -> None:
    with quiet():
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.getLogger("torch.onnx").warning("no torchvision")
    with pytest.warns(DeprecationWarning, match="old"):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    logging.getLogger("torch.onnx").warning("back")
    assert "back" in caplog.text
    assert "torchvision" not in caplog.text
