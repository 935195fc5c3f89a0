import logging
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.inference.predictor.intake import Intake, Size
from brats_lightning.inference.predictor.predictor import LoadedMember, Predictor, PredictorOptions
from brats_lightning.inference.predictor.windows import gaussian

CPU = torch.device("cpu")
ANY = Intake(None)
PATCH = Intake((8, 8, 8), whole=False)


def image_of(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(2, *size, generator=torch.Generator().manual_seed(seed))


def convolutions(seed: int = 0, *, classes: int = 3) -> nn.Module:
    """A network that sees two voxels far."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, classes, 3, padding=1)).eval()


def predictor(
    *networks: nn.Module | Callable[[Tensor], Tensor], intake: Intake = ANY, **options: Any
) -> Callable[[Tensor], Tensor]:
    members = [LoadedMember(as_module(network), intake) for network in networks]
    return Predictor(members, PredictorOptions(**options), device=CPU)


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


def as_module(network: nn.Module | Callable[[Tensor], Tensor]) -> nn.Module:
    return network if isinstance(network, nn.Module) else Function(network)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_a_slice_of_any_plane_is_given_as_in_training(axis: int) -> None:
    network = nn.Sequential(nn.Conv3d(2, 3, (3, 3, 1), padding=(1, 1, 0))).eval()  # looks within a slice (U, V, 1)
    image = image_of(12, 10, 1)
    expected = torch.softmax(network(image[None])[0], dim=0).movedim(3, axis)
    for whole in (True, False):
        found = predictor(network, intake=Intake((12, 10, 1), whole=whole))(image.movedim(3, axis))
        torch.testing.assert_close(found, expected)


class Narrow(nn.Module):
    """Has memory for so many voxels, over all the images of a batch, and remembers what it was asked for."""

    def __init__(self, network: nn.Module, *, voxels: int) -> None:
        super().__init__()
        self.network = network
        self.voxels = voxels
        self.asked: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.asked.append((len(images), *images.shape[2:]))
        if images[:, 0].numel() > self.voxels:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits: Tensor = self.network(images)
        return logits


# What comes out


@pytest.mark.parametrize("mode", ["whole", "windows"])
@pytest.mark.parametrize("precision", ["auto", "32", "bf16"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_probabilities_sum_to_one_in_single_precision(mode: str, precision: str, dtype: torch.dtype) -> None:
    predict = predictor(convolutions(), intake=PATCH, mode=mode, precision=precision, flips=(0, 2))
    probabilities = predict(image_of(11, 7, 9).to(dtype))
    assert probabilities.shape == (3, 11, 7, 9)
    assert probabilities.dtype is torch.float32
    assert probabilities.min() >= 0
    torch.testing.assert_close(probabilities.sum(0), torch.ones(11, 7, 9))


def test_the_result_is_free_of_gradients_and_may_be_changed_in_place() -> None:
    probabilities = predictor(convolutions())(image_of(5, 5, 5))
    assert not probabilities.requires_grad
    probabilities += 1


@pytest.mark.parametrize("mode", ["whole", "windows"])
def test_the_image_stays_as_it_is(mode: str) -> None:
    image = image_of(9, 9, 9)
    before = image.clone()
    predictor(lambda images: images, intake=PATCH, mode=mode, flips=(1,))(image)
    assert torch.equal(image, before)


@hypothesis.given(
    st.tuples(*[st.integers(1, 14)] * 3), st.tuples(*[st.integers(3, 9)] * 3), st.sampled_from([0, 0.25, 0.5, 0.6])
)
@hypothesis.settings(deadline=None, max_examples=25)
def test_windows_are_those_of_monai(volume: Size, window: Size, overlap: float) -> None:
    network, image = convolutions(), image_of(*volume)
    predict = predictor(network, mode="windows", window=window, overlap=overlap, batch=3)
    x, y, z = (gaussian(length).float() for length in window)
    weights = x[:, None, None] * y[:, None] * z
    with torch.no_grad():
        logits = sliding_window_inference(image[None], window, 2, network, overlap=overlap, roi_weight_map=weights)
    assert isinstance(logits, Tensor)
    torch.testing.assert_close(predict(image), logits[0].softmax(0), rtol=1e-5, atol=1e-5)


# Whole brain and windows


def test_whole_brain_is_one_pass_over_the_padded_volume() -> None:
    network, image = convolutions(), image_of(5, 8, 6)
    padded = torch.zeros(2, 8, 8, 8)
    padded[:, 1:6, :, 1:7] = image
    with torch.no_grad():
        expected = network(padded[None])[0].softmax(0)[:, 1:6, :, 1:7]
    predict = predictor(network, intake=Intake(None, divisor=8), mode="whole")
    torch.testing.assert_close(predict(image), expected)
    torch.testing.assert_close(predict(padded)[:, 1:6, :, 1:7], expected)


def test_whole_brain_equals_windows_where_a_voxel_is_judged_by_itself() -> None:
    network, image = nn.Conv3d(2, 3, 1), image_of(19, 12, 15)
    whole = predictor(network, mode="whole")(image)
    windows = predictor(network, mode="windows", window=(8, 8, 8), overlap=0.3)(image)
    torch.testing.assert_close(whole, windows, rtol=1e-5, atol=1e-6)


def test_whole_brain_nearly_equals_windows_for_a_network_that_does_not_see_far() -> None:
    network, image = convolutions(), image_of(40, 36, 44)
    whole = predictor(network, mode="whole")(image)
    windows = predictor(network, mode="windows", window=(16, 16, 16))(image)
    difference = (whole - windows).abs()
    assert difference.max() < 0.02
    assert difference.mean() < 1e-4
    without_overlap = predictor(network, mode="windows", window=(16, 16, 16), overlap=0)(image)
    assert (whole - without_overlap).abs().max() > 0.1  # edges of windows show: they must have been there


@pytest.mark.parametrize(
    ("intake", "volume", "asked"),
    [
        (Intake((8, 8, 8), whole=True, divisor=4), (9, 8, 8), (12, 8, 8)),  # whole
        (Intake((8, 8, 8), whole=False, divisor=4), (9, 8, 8), (8, 8, 8)),  # as the patches were
        (Intake((8, 8, 8), whole=True, divisor=None), (8, 8, 8), (8, 8, 8)),  # whole, of the only size
        (Intake((8, 8, 8), whole=True, divisor=None), (9, 7, 8), (8, 8, 8)),  # of the only size
    ],
)
def test_auto_does_as_the_network_was_trained(intake: Intake, volume: Size, asked: Size) -> None:
    network = Narrow(convolutions(), voxels=10_000)
    assert predictor(network, intake=intake)(image_of(*volume)).shape == (3, *volume)
    assert set(network.asked) == {(1, *asked)}


def test_a_network_of_one_size_refuses_whole_brains_of_another() -> None:
    predict = predictor(convolutions(), intake=Intake((8, 8, 8), divisor=None), mode="whole")
    with pytest.raises(ConfigError, match=r"images of 8 × 8 × 8 voxels alone, the volume has 9 × 8 × 8: .*windows"):
        predict(image_of(9, 8, 8))


# Flips and ensembles


def symmetric() -> nn.Module:
    network = nn.Conv3d(2, 3, 3, padding=1)
    with torch.no_grad():
        for axis in (2, 3, 4):
            network.weight += network.weight.flip(axis)
    return network


@pytest.mark.parametrize("mode", ["whole", "windows"])
def test_flips_change_nothing_for_a_network_that_flips_along(mode: str) -> None:
    image = image_of(16, 8, 24)
    # Volumes of whole steps: only there do windows lie the same after a flip.
    plain, flipped = (
        predictor(symmetric_network, intake=PATCH, mode=mode, flips=flips)(image)
        for symmetric_network in [symmetric()]
        for flips in ((), (0, 1, 2))
    )
    torch.testing.assert_close(plain, flipped, rtol=1e-5, atol=1e-6)


def test_probabilities_of_all_combinations_of_flips_are_averaged() -> None:
    network, image = convolutions(), image_of(6, 5, 7)
    once = predictor(network)
    expected = torch.stack([once(image.flip(axes)).flip(axes) for axes in ((), (1,), (3,), (1, 3))]).mean(0)
    averaged = predictor(network, flips=(0, 2))(image)
    torch.testing.assert_close(averaged, expected)
    assert (averaged - once(image)).abs().max() > 0.01


@pytest.mark.parametrize("mode", ["whole", "windows"])
@pytest.mark.parametrize("count", [2, 3])
def test_an_ensemble_of_a_network_with_itself_is_the_network(mode: str, count: int) -> None:
    network, image = convolutions(), image_of(9, 8, 11)
    alone = predictor(network, intake=PATCH, mode=mode)(image)
    together = predictor(*[network] * count, intake=PATCH, mode=mode)(image)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-7)


def test_an_ensemble_averages_networks_of_different_intake() -> None:
    image = image_of(9, 8, 11)
    members = [LoadedMember(convolutions(1), Intake(None, divisor=4)), LoadedMember(convolutions(2), PATCH)]
    alone = [Predictor([member], PredictorOptions(), device=CPU)(image) for member in members]
    together = Predictor(members, PredictorOptions(), device=CPU)(image)
    torch.testing.assert_close(together, (alone[0] + alone[1]) / 2)


def test_networks_of_different_labels_make_no_ensemble() -> None:
    with pytest.raises(ConfigError, match="networks of 3 and of 4 labels"):
        predictor(convolutions(), convolutions(classes=4))(image_of(4, 4, 4))


def test_one_network_at_a_time_is_on_the_device() -> None:
    inside: list[int] = []

    class Streamed:
        intake = ANY

        def __init__(self, number: int) -> None:
            self.number = number
            self.uses = 0

        @contextmanager
        def on(self, device: torch.device) -> Iterator[Callable[[Tensor], Tensor]]:
            assert device == CPU
            assert not inside
            inside.append(self.number)
            self.uses += 1
            yield lambda images: images * self.number
            inside.remove(self.number)

    members = [Streamed(number) for number in range(4)]
    Predictor(members, PredictorOptions(flips=(0, 1)), device=CPU)(image_of(4, 4, 4))
    assert [member.uses for member in members] == [1, 1, 1, 1]
    assert not inside


@pytest.mark.parametrize("mode", ["whole", "windows"])
def test_memory_does_not_grow_with_flips_or_networks(mode: str) -> None:
    given: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def network(images: Tensor) -> Tensor:
        alive.append(sum(reference() is not None for reference in given))
        logits = images * 2
        given.append(weakref.ref(logits))
        return logits

    predictor(network, network, network, intake=PATCH, mode=mode, flips=(0, 1, 2))(image_of(12, 8, 8))
    assert len(alive) >= 24
    assert max(alive) <= 1


# Memory


@pytest.mark.parametrize("mode", ["auto", "windows"])
def test_windows_are_taken_one_by_one_where_memory_is_short(mode: str) -> None:
    image, narrow = image_of(16, 16, 16), Narrow(convolutions(), voxels=8**3)
    probabilities = predictor(narrow, intake=PATCH, mode=mode, batch=4)(image)
    assert [asked[0] for asked in narrow.asked[:3]] == [4, 2, 1]
    assert torch.equal(probabilities, predictor(narrow.network, intake=PATCH, mode="windows", batch=1)(image))


def test_a_brain_that_does_not_fit_whole_is_predicted_in_windows(caplog: pytest.LogCaptureFixture) -> None:
    image, narrow = image_of(20, 12, 12), Narrow(convolutions(), voxels=1000)
    intake = Intake((8, 8, 8), divisor=4)
    predict = predictor(narrow, intake=intake, flips=(0,))
    with caplog.at_level(logging.WARNING):
        first = predict(image)
        again = predict(image)
    expected = predictor(narrow.network, intake=intake, mode="windows", flips=(0,))(image)
    assert torch.equal(first, expected)
    assert torch.equal(again, expected)
    assert narrow.asked.count((1, 20, 12, 12)) == 1  # what failed once is not tried again
    assert len(caplog.records) == 1
    predict(image_of(8, 8, 12))
    assert narrow.asked[-1] == (1, 8, 8, 12)  # what is smaller is


def test_a_brain_no_larger_than_the_window_is_halved() -> None:
    narrow = Narrow(convolutions(), voxels=8**3)
    assert predictor(narrow, intake=Intake((16, 16, 16), divisor=4))(image_of(16, 14, 10)).shape == (3, 16, 14, 10)
    assert set(narrow.asked[1:]) == {(1, 8, 8, 8)}


def test_the_cpus_own_complaint_leads_to_windows_too() -> None:
    def network(images: Tensor) -> Tensor:
        torch.empty(1 << 50 if images[0, 0].numel() > 600 else 1)
        return images

    assert predictor(network, intake=Intake((8, 8, 8)))(image_of(12, 12, 12)).shape == (2, 12, 12, 12)


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("whole", "9 × 9 × 9 voxels does not fit into the memory of cpu in one pass: choose --mode windows"),
        ("windows", "a window of 8 × 8 × 8 voxels does not fit into the memory of cpu: choose a smaller --window"),
    ],
)
def test_what_does_not_fit_at_all_ends_in_a_sentence(mode: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        predictor(Narrow(convolutions(), voxels=10), intake=PATCH, mode=mode)(image_of(9, 9, 9))


def test_memory_that_runs_out_elsewhere_ends_in_a_sentence() -> None:
    class Large:
        intake = ANY

        @contextmanager
        def on(self, device: torch.device) -> Iterator[Callable[[Tensor], Tensor]]:  # noqa: ARG002 - as Member has it
            yield convolutions()
            raise torch.OutOfMemoryError

    with pytest.raises(ConfigError, match="4 × 5 × 6 voxels and its probabilities do not fit into the memory of cpu"):
        Predictor([Large()], PredictorOptions(), device=CPU)(image_of(4, 5, 6))


# Bad input


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mode": "brain"}, "mode must be one of auto, whole, windows, found 'brain'"),
        ({"precision": "64"}, "precision must be one of auto, 32, bf16, 16"),
        ({"window": (8, 0, 8)}, r"window must be three positive numbers of voxels, found \[8, 0, 8\]"),
        ({"overlap": 1.0}, "overlap must be 0 or more and below 1, found 1.0"),
        ({"overlap": -0.1}, "overlap must be"),
        ({"flips": (0, 3)}, r"flips must be distinct axes among 0, 1 and 2, found \[0, 3\]"),
        ({"flips": (1, 1)}, "flips must be"),
        ({"batch": 0}, "batch must be at least 1, found 0"),
    ],
)
def test_settings_outside_their_range_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        PredictorOptions(**options)


def test_a_predictor_needs_a_network_and_a_precision_of_its_device() -> None:
    with pytest.raises(ConfigError, match="at least one network"):
        predictor()
    with pytest.raises(ConfigError, match="precision 16 needs a GPU, found cpu"):
        predictor(convolutions(), precision="16")


@pytest.mark.parametrize("mode", ["whole", "windows"])
@pytest.mark.parametrize(
    ("precision", "image", "sentence"),
    [
        ("bf16", 1.0, "network 2 of 2 gave values that are not finite: try --precision 32"),
        ("32", 1.0, "network 2 of 2 .* its weights are broken"),
        ("32", float("inf"), "the image holds values that are not finite"),
    ],
)
def test_values_that_are_no_numbers_end_in_a_sentence(mode: str, precision: str, image: float, sentence: str) -> None:
    def broken(images: Tensor) -> Tensor:
        return images / 0

    with pytest.raises(BratsError, match=sentence):
        predictor(lambda images: images, broken, intake=PATCH, mode=mode, precision=precision)(
            torch.full((2, 12, 8, 8), image)
        )


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (nn.Conv3d(5, 3, 1), r"the network failed on images of \[1, 2, 9, 8, 8\]: .*channels"),
        (nn.Conv3d(2, 3, 2), "images of 9 × 8 × 8 voxels into logits of 8 × 7 × 7"),
    ],
)
def test_a_network_that_does_not_take_the_image_ends_in_a_sentence(network: nn.Module, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        predictor(network)(image_of(9, 8, 8))


# Networks and precision


def test_a_network_in_memory_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Conv3d(2, 3, 1), nn.Dropout(0.5), nn.BatchNorm3d(3).eval()).train()
    network[2].eval()
    image = image_of(4, 4, 4)
    with LoadedMember(network, ANY).on(CPU) as used:
        assert isinstance(used, nn.Module)
        assert not any(module.training for module in used.modules())
    assert [module.training for module in network.modules()] == [True, True, True, False]
    with pytest.raises(KeyboardInterrupt), LoadedMember(network, ANY).on(CPU):
        raise KeyboardInterrupt
    assert network.training
    assert torch.equal(predictor(network)(image), predictor(network)(image))  # no dropout


@pytest.mark.parametrize(
    ("precision", "expected"), [("auto", torch.float32), ("32", torch.float32), ("bf16", torch.bfloat16)]
)
@pytest.mark.parametrize("around", [False, True])
def test_precision_is_the_networks_whatever_is_around(precision: str, expected: torch.dtype, *, around: bool) -> None:
    seen: list[torch.dtype] = []
    network = nn.Conv3d(2, 3, 1)
    network.register_forward_hook(lambda _module, _images, logits: seen.append(logits.dtype))
    with torch.autocast("cpu", torch.bfloat16, enabled=around):
        probabilities = predictor(network, precision=precision)(image_of(4, 4, 4))
    assert seen == [expected]
    assert probabilities.dtype is torch.float32


def test_a_compiler_that_is_missing_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(network: nn.Module, *, dynamic: bool) -> nn.Module:
        raise RuntimeError("Dynamo is not supported on Python 3.99")

    monkeypatch.setattr(torch, "compile", no_compiler)
    with pytest.raises(ConfigError, match=r"Dynamo is not supported on Python 3\.99; predict without --compile"):
        predictor(convolutions(), compile=True)(image_of(4, 4, 4))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the compiler's own
def test_a_compiled_network_gives_the_same() -> None:
    network = convolutions()
    compiled, plain = (predictor(network, intake=PATCH, compile=wish) for wish in (True, False))
    for size in ((8, 8, 8), (12, 8, 8), (9, 17, 8)):
        torch.testing.assert_close(compiled(image_of(*size)), plain(image_of(*size)), rtol=1e-4, atol=1e-5)
