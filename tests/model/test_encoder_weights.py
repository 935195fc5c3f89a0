"""Weights in torchvision's format against a ResNet-34 written out here from the paper, layer by layer."""

import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import FlexibleUNet, ResNet, UNet
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from brats_lightning.errors import ConfigError
from brats_lightning.labels import IMAGE, LABEL
from brats_lightning.model.ema import ExponentialMovingAverage
from brats_lightning.model.encoder_weights import check_encoder, load_encoder
from brats_lightning.model.losses import DiceFocal
from brats_lightning.model.module import SegmentationModule
from brats_lightning.model.resnet_unet import ResNetUNet

State = dict[str, Tensor]
STAGES = (3, 4, 6, 3)
WIDTHS, NARROW = (64, 128, 256, 512), (4, 6, 8, 10)


def layout(stages: Sequence[int] = STAGES, widths: Sequence[int] = WIDTHS) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's ResNet-34, or of fewer blocks or channels."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (widths[0], 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        shapes.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", widths[0])
    before = widths[0]
    for stage, (blocks, channels) in enumerate(zip(stages, widths, strict=True), start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (channels, before, 3, 3)
            norm(f"{name}.bn1", channels)
            shapes[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            norm(f"{name}.bn2", channels)
            if before != channels:
                shapes[f"{name}.downsample.0.weight"] = (channels, before, 1, 1)
                norm(f"{name}.downsample.1", channels)
            before = channels
    return {**shapes, "fc.weight": (1000, widths[-1]), "fc.bias": (1000,)}


@cache
def weights(stages: Sequence[int] = STAGES, widths: Sequence[int] = NARROW) -> State:
    """Random ones that keep values of about the same size through all layers."""
    generator = torch.Generator().manual_seed(0)
    state: State = OrderedDict()
    for name, shape in layout(stages, widths).items():
        values = torch.randn(shape, generator=generator)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(7)
        elif len(shape) == 4:
            state[name] = values * (shape[1] * shape[2] * shape[3]) ** -0.5
        elif name.endswith("var"):
            state[name] = values.abs() + 0.5
        else:
            state[name] = 0.1 * values + float(name.endswith("weight"))
    return state


def resnet(image: Tensor, state: State, stages: tuple[int, ...] = STAGES) -> list[Tensor]:
    """Features after each of the five halvings (He et al., CVPR 2016, Table 1 and Fig. 3), in evaluation mode."""

    def norm(values: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (values - mean) / (variance + 1e-5).sqrt() * weight + bias

    values = functional.conv2d(image, state["conv1.weight"], stride=2, padding=3)
    features = [norm(values, "bn1").clamp(min=0)]
    values = functional.max_pool2d(features[0], 3, stride=2, padding=1)
    for stage, blocks in enumerate(stages, start=1):
        for block in range(blocks):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = functional.conv2d(values, state[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = norm(inner, f"{name}.bn1").clamp(min=0)
            inner = norm(functional.conv2d(inner, state[f"{name}.conv2.weight"], padding=1), f"{name}.bn2")
            if stride == 2:
                values = functional.conv2d(values, state[f"{name}.downsample.0.weight"], stride=2)
                values = norm(values, f"{name}.downsample.1")
            values = (values + inner).clamp(min=0)
        features.append(values)
    return features


class Narrow(nn.Module):
    """A network of slices (B, C, X, Y, 1) around a ResNet-34 of few channels, the first of which it uses."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.encoder = ResNet("basic", STAGES, NARROW, 2, channels, bias_downsample=False, feed_forward=False)
        self.head = nn.Conv2d(NARROW[0], 4, 1)

    def forward(self, image: Tensor) -> Tensor:
        features = self.encoder.layer1(self.encoder.bn1(self.encoder.conv1(image[..., 0])))
        logits: Tensor = self.head(features)
        return logits[..., None]


def saved(folder: Path, state: object, name: str = "resnet34.pth", **settings: Any) -> Path:
    torch.save(state, folder / name, **settings)
    return folder / name


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("weights"), weights())


@torch.no_grad()
def test_the_encoders_features_are_those_of_an_independent_resnet_34(tmp_path: Path) -> None:
    """In three colours as they are, and in four grey channels as in three."""
    path, state = saved(tmp_path, weights(widths=WIDTHS)), weights(widths=WIDTHS)
    grey = torch.randn(1, 1, 64, 64)
    for channels, image in ((3, torch.randn(2, 3, 64, 96)), (4, grey.expand(-1, 3, -1, -1))):
        network: Any = ResNetUNet(channels, 1, decoder_channels=(8, 8, 8, 8, 8)).eval()
        given = image if channels == 3 else grey.expand(-1, channels, -1, -1)
        before = network.encoder(given)
        said = load_encoder(nn.Sequential(network), path)
        for found, expected, other in zip(network.encoder(given), resnet(image, state), before, strict=True):
            assert found.shape == expected.shape
            assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
            assert not torch.allclose(other, expected, rtol=0.1, atol=0.1)
        assert said.startswith(f"encoder weights from {path}: 216 tensors of a ResNet-34, its first convolution ")
        how = "as it is" if channels == 3 else "the mean over 3 colours, times 3/4 for each channel"
        assert said.endswith(f" convolution {how}")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_grey_channels_excite_the_first_convolution_as_grey_colours(file: Path, channels: int) -> None:
    network = Narrow(channels)
    load_encoder(network, file)
    kernels = network.encoder.conv1.weight
    assert torch.allclose(kernels.sum(dim=1), weights()["conv1.weight"].sum(dim=1), atol=1e-6)
    assert torch.equal(kernels[:, :1].expand_as(kernels), kernels) is (channels != 3)


def as_safetensors(folder: Path) -> Path:
    save_file(dict(weights()), folder / "resnet34.safetensors")
    return folder / "resnet34.safetensors"


def as_before_counters(folder: Path) -> Path:
    """As files of 2016 are: not a zip archive, parameters, no counters."""
    state = OrderedDict(
        (name, nn.Parameter(value) if name.endswith(("weight", "bias")) else value)
        for name, value in weights().items()
        if not name.endswith("num_batches_tracked")
    )
    return saved(folder, state, _use_new_zipfile_serialization=False)


def without_a_classifier(folder: Path) -> Path:
    return saved(folder, {name: value.double() for name, value in weights().items() if not name.startswith("fc")})


@pytest.mark.parametrize("write", [as_safetensors, as_before_counters, without_a_classifier])
def test_files_of_other_forms_give_the_same(write: Callable[[Path], Path], tmp_path: Path, file: Path) -> None:
    networks = [Narrow(), Narrow()]
    for network, path in zip(networks, (file, write(tmp_path)), strict=True):
        load_encoder(network, path)
    one, other = (network.state_dict() for network in networks)
    assert all(torch.allclose(value, other[name]) for name, value in one.items() if not name.endswith("tracked"))


def renamed(state: State, prefix: str) -> State:
    return {prefix + name: value for name, value in state.items()}


def bottlenecks() -> State:
    """The beginning of a ResNet-50."""
    blocks = (f"layer{stage}.{block}" for stage, count in enumerate(STAGES, 1) for block in range(count))
    convolutions = {f"{name}.conv1.weight": torch.zeros(4, 4, 1, 1) for name in blocks}
    before = {name: value for name, value in weights().items() if name.startswith(("conv1", "bn1"))}
    return before | convolutions | {"layer1.0.conv3.weight": torch.zeros(16, 4, 1, 1)}


class Code:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return eval, ("1",)


OTHERS: list[tuple[Callable[[], object], str]] = [
    (lambda: weights((2, 2, 2, 2)), r"holds a ResNet-18 .* a ResNet-34: layer1\.2\.conv1\.weight is not in the file; "),
    (bottlenecks, r"holds a ResNet-50 .* layer1\.0\.conv1\.weight is of shape \[4, 4, 1, 1\], expected \[4, 4, 3"),
    (lambda: renamed(weights(), "encoder."), "network of another kind .* conv1.weight is not in the file"),
    (
        lambda: {"features.0.0.weight": torch.zeros(32, 3, 3, 3)},
        "network of another kind .* give weights of a ResNet-34",
    ),
    (lambda: {"epoch": 3, "state_dict": weights()}, r"more than a state dict \('epoch' is no tensor\)"),
    (lambda: [1, 2], "holds no state dict"),
    (lambda: {**weights(), "bn1.weight": torch.full((4,), torch.nan)}, "bn1.weight holds numbers that are not finite"),
    (lambda: {**weights(), "conv1.weight": torch.zeros(4, 3, 3, 3)}, r"conv1.weight is of shape \[4, 3, 3, 3\]"),
    (lambda: {**weights(), "code": Code()}, "holds more than tensors, or is damaged, and is not loaded"),
]


@pytest.mark.parametrize(("content", "words"), OTHERS, ids=[words[:28] for _, words in OTHERS])
def test_another_file_is_refused_in_one_sentence_and_nothing_changes(
    content: Callable[[], object], words: str, tmp_path: Path
) -> None:
    network, path = Narrow(), saved(tmp_path, content())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for refuse in (load_encoder, check_encoder):
        with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} .*{words}") as error:
            refuse(network, path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 450
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["resnet34.pth", "resnet34.safetensors"])
@pytest.mark.parametrize("share", [0, 0.001, 0.4, 0.99])
def test_a_file_that_was_cut_short_or_is_none_is_told(name: str, share: float, tmp_path: Path, file: Path) -> None:
    whole = file if name.endswith("pth") else as_safetensors(tmp_path)
    content = whole.read_bytes()
    path = tmp_path / name
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} holds .*: give a state dict in torchvision's"):
        load_encoder(Narrow(), path)
    path.write_text("<html>404</html>")
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))} holds"):
        load_encoder(Narrow(), path)


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_an_absent_file_is_told_and_nothing_is_downloaded(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"absent.{ending}"
    with pytest.raises(ConfigError, match=rf"^no file {re.escape(str(path))}, and weights are never downloaded: get"):
        check_encoder(Narrow(), path)
    folder = tmp_path / f"folder.{ending}"
    folder.mkdir()
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        check_encoder(Narrow(), folder)


def test_networks_without_such_an_encoder_are_told(file: Path, tmp_path: Path) -> None:
    plain: nn.Module = UNet(2, 4, 1, channels=(4, 8), strides=(2,))
    with pytest.raises(ConfigError, match=r"one ResNet encoder, such as .*ResNetUNet, found 0 in UNet: choose"):
        load_encoder(plain, file)
    with pytest.raises(ConfigError, match="found 2 in Sequential"):
        load_encoder(nn.Sequential(Narrow(), Narrow()), file)
    # MONAI's ResNet-34 has nothing where torchvision's halves the image.
    theirs: nn.Module = FlexibleUNet(4, 1, "resnet34", decoder_channels=(8, 8, 8, 8, 8))
    whole = saved(tmp_path, {name: torch.zeros(shape) for name, shape in layout().items()})
    with pytest.raises(ConfigError, match=r"has no layer2\.0\.downsample\.0\.weight; choose .*ResNetUNet, whose"):
        check_encoder(theirs, whole)


def module(path: Path | None, **settings: Any) -> SegmentationModule:
    """A run of slices whose weights do not move."""
    still = partial(torch.optim.SGD, lr=0.0)
    return SegmentationModule(Narrow(), DiceFocal(), encoder_weights=path, optimizer=still, **settings)


@pytest.fixture
def slices(cases_of: Any) -> DataLoader[Any]:
    thin = [{**batch, IMAGE: batch[IMAGE][..., :1], LABEL: batch[LABEL][..., :1]} for batch in cases_of(2)]
    return DataLoader(thin, batch_size=None)  # type: ignore[arg-type]


def encoder_of(found: SegmentationModule) -> State:
    return {name.split("encoder.")[1]: value for name, value in found.state_dict().items() if ".encoder." in name}


def begins_with_the_file(found: SegmentationModule) -> bool:
    """Whether the convolutions, which nothing moves, are those of the file."""
    return all(torch.equal(value, weights()[name]) for name, value in encoder_of(found).items() if ".conv" in name)


def test_a_fresh_fit_begins_with_the_file_and_nothing_else_needs_it(
    slices: Any, trainer_of: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brats_lightning")
    path = saved(tmp_path, weights())
    fresh = module(path)
    fresh.require_encoder_weights()
    assert not begins_with_the_file(fresh)
    trainer_of().validate(fresh, slices, verbose=False)
    assert not begins_with_the_file(fresh)
    averaging = ExponentialMovingAverage()
    trainer = trainer_of(callbacks=[averaging], limit_val_batches=0)
    trainer.fit(fresh, slices, slices)
    assert begins_with_the_file(fresh)
    assert torch.equal(averaging._average["network.encoder.layer1.0.conv1.weight"], weights()["layer1.0.conv1.weight"])
    said = [message for message in caplog.messages if message.startswith("encoder weights")]
    assert len(said) == 1

    trainer.save_checkpoint(tmp_path / "last.ckpt")
    stored = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert stored["hyper_parameters"]["encoder_weights"] == str(path)
    path.unlink()
    with torch.no_grad():
        fresh.network.get_parameter("encoder.conv1.weight").zero_()
    trainer_of(limit_val_batches=0).fit(fresh, slices, slices)  # the weights are the module's own by now
    assert not fresh.state_dict()["network.encoder.conv1.weight"].any()
    later = module(path)
    goes_on = trainer_of(max_epochs=2, limit_val_batches=0, callbacks=[ExponentialMovingAverage()])
    goes_on.fit(later, slices, slices, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert begins_with_the_file(later)
    for name, value in stored["state_dict"].items():
        if "encoder" in name and "running" not in name and "tracked" not in name:
            assert torch.equal(later.state_dict()[name], value)
    trainer_of().test(module(path), slices, verbose=False)


def test_a_fresh_fit_without_the_file_is_refused(slices: Any, trainer_of: Any, tmp_path: Path) -> None:
    lost = module(tmp_path / "absent.pth")
    with pytest.raises(ConfigError, match=r"no file .*absent\.pth, and weights are never downloaded"):
        lost.require_encoder_weights()
    with pytest.raises(ConfigError, match=r"no file .*absent\.pth, and weights are never downloaded"):
        trainer_of(limit_val_batches=0).fit(lost, slices, slices)
    module(None).require_encoder_weights()
