"""The whole batch: replay, independence of the batch, shares of samples, devices, and settings as plain data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from brats_lightning.data.augmentation.artefacts import BiasField, ModalityDropout, Noise
from brats_lightning.data.augmentation.fused import Draws, FusedAugmentation
from brats_lightning.data.augmentation.intensity import Brightness, Contrast, Gamma, Saturation, Shift
from brats_lightning.data.augmentation.sharpness import Blur, LowResolution
from brats_lightning.data.augmentation.spatial import Elastic, Rotation, Scaling
from brats_lightning.errors import ConfigError
from brats_lightning.labels import CASE, IMAGE, LABEL, SEED

SHAPE = (4, 14, 16, 12)


def everything(probability: float = 1.0, **changes: Any) -> FusedAugmentation:
    arguments: dict[str, Any] = {
        "flips": (0.5, 0.5, 0.5),
        "rotation": Rotation(probability=probability, radians=(0.26, 0.26, 0.26)),
        "scaling": Scaling(probability=probability, factors=(0.8, 1.25), per_axis=True),
        "elastic": Elastic(probability=probability, magnitude=(0.2, 1.2), spacing=(7.5, 9)),
        "bias_field": BiasField(probability=probability),
        "brightness": Brightness(probability=probability, factors=(-0.1, 0.1)),
        "shift": Shift(probability=probability, offsets=(-0.1, 0.1), per_channel=True),
        "contrast": Contrast(probability=probability, factors=(-0.2, 0.2)),
        "saturation": Saturation(probability=probability, factors=(-0.3, 0.3)),
        "blur": Blur(probability=probability, sigma=(0.5, 1)),
        "low_resolution": LowResolution(probability=probability, factors=(0.5, 1)),
        "noise": Noise(probability=probability, deviation=0.1),
        "gamma": Gamma(probability=probability, exponents=(0.7, 1.5)),
        "modality_dropout": ModalityDropout(probability=probability),
    }
    return FusedAugmentation(**{**arguments, **changes})


def batch(samples: int = 3) -> dict[str, Any]:
    """Float16 images on zeros, with labels."""
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(samples, *SHAPE, dtype=torch.float16)
    image[:, :, 2:-2, 3:-3, 2:-2] = torch.randn(samples, 4, 10, 10, 8, generator=generator).half() + 0.01
    label = torch.zeros(samples, 1, *SHAPE[1:], dtype=torch.uint8)
    label[:, :, 4:10, 5:11, 4:8] = torch.randint(1, 4, (samples, 1, 6, 6, 4), dtype=torch.uint8, generator=generator)
    return {IMAGE: image, LABEL: label, SEED: [2**32 - 1, 5, 0][:samples], CASE: ["a", "b", "c"][:samples]}


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return torch.equal(one[IMAGE], other[IMAGE]) and torch.equal(one[LABEL], other[LABEL])


@pytest.mark.parametrize("labels", ["nearest", "soft"])
def test_a_batch_keeps_its_form_and_what_is_given_stays(labels: str) -> None:
    given, same = batch(), batch()
    found = everything(labels=labels)(given)
    assert equal(given, same)
    assert found[IMAGE].dtype == torch.float32
    assert found[IMAGE].shape == given[IMAGE].shape
    assert found[LABEL].dtype == torch.uint8
    assert found[LABEL].shape == given[LABEL].shape
    assert (found[SEED], found[CASE]) == (given[SEED], given[CASE])
    assert not torch.allclose(found[IMAGE], given[IMAGE].float(), atol=0.1)
    assert torch.isfinite(found[IMAGE]).all()
    assert LABEL not in everything()({IMAGE: given[IMAGE], SEED: given[SEED]})


def test_nothing_chosen_changes_nothing_and_shares_no_memory() -> None:
    given = batch(1)
    found = FusedAugmentation()(given)
    assert torch.equal(found[IMAGE], given[IMAGE].float())
    assert torch.equal(found[LABEL], given[LABEL])
    found[IMAGE].zero_()
    found[LABEL].zero_()
    assert equal(given, batch(1))
    single = {**given, IMAGE: given[IMAGE].float()}
    FusedAugmentation()(single)[IMAGE].zero_()
    assert single[IMAGE].any()


@pytest.mark.parametrize("probability", [1.0, 0.5])
def test_a_seed_replays_a_sample_wherever_it_stands(probability: float) -> None:
    augmentation, given = everything(probability), batch()
    found = augmentation(given)
    assert equal(found, everything(probability)(batch()))
    torch.randn(5)  # the global state does not matter
    np.random.rand(5)  # noqa: NPY002
    for place in range(3):
        alone = augmentation({name: value[place : place + 1] for name, value in given.items()})
        assert torch.equal(alone[IMAGE][0], found[IMAGE][place])
        assert torch.equal(alone[LABEL][0], found[LABEL][place])
    turned = augmentation(
        {name: value.flip(0) if torch.is_tensor(value) else value[::-1] for name, value in given.items()}
    )
    assert torch.equal(turned[IMAGE], found[IMAGE].flip(0))
    other = augmentation({**given, SEED: [1, 2, 3]})
    assert not torch.equal(other[IMAGE], found[IMAGE])


def test_a_draw_can_be_applied_again() -> None:
    augmentation, given = everything(), batch()
    draws = augmentation.draw(given[SEED], channels=4, source=SHAPE[1:])
    first = augmentation.apply(given[IMAGE], given[LABEL], draws)
    augmentation.draw([7, 8], channels=4, source=SHAPE[1:])
    second = augmentation.apply(given[IMAGE], given[LABEL], draws)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[0], augmentation(given)[IMAGE])
    with pytest.raises(ValueError, match="3 draws for a batch of 2"):
        augmentation.apply(given[IMAGE][:2], None, draws)


def test_probabilities_are_honoured() -> None:
    augmentation = everything(
        0.3, flips=(0.5, 0.0, 1.0), brightness=Brightness(probability=0, factors=(0, 1)), elastic=None
    )
    drawn = augmentation.draw(range(2000), channels=4, source=SHAPE[1:]).samples
    flips = np.mean([sample.warp.flips for sample in drawn], axis=0)
    np.testing.assert_allclose(flips, [0.5, 0, 1], atol=0.04)
    for share in (
        np.mean([sample.warp.radians is not None for sample in drawn]),
        np.mean([sample.warp.factors is not None for sample in drawn]),
    ):
        assert share == pytest.approx(0.3, abs=0.04)
    shares = np.mean([[values is not None for values in sample.intensities] for sample in drawn], axis=0)
    np.testing.assert_allclose(shares, [0.3, 0, *[0.3] * 8], atol=0.04)


def test_angles_and_factors_fill_their_ranges() -> None:
    drawn = everything(rotation=Rotation(probability=1, radians=(0.3, 0.1, 0.0))).draw(
        range(1000), channels=1, source=SHAPE[1:]
    )
    radians = np.array([sample.warp.radians for sample in drawn.samples])
    np.testing.assert_allclose(radians.max(axis=0), [0.3, 0.1, 0], atol=0.01)
    np.testing.assert_allclose(radians.min(axis=0), [-0.3, -0.1, 0], atol=0.01)
    factors = np.array([sample.warp.factors for sample in drawn.samples])
    assert 0.8 <= factors.min() < 0.81
    assert 1.24 < factors.max() <= 1.25
    assert len(set(factors[0])) == 3
    together = everything(scaling=Scaling(probability=1, factors=(0.8, 1.25))).draw([1], channels=1, source=SHAPE[1:])
    assert together.samples[0].warp.factors is not None
    assert len(set(together.samples[0].warp.factors)) == 1


def test_background_stays_or_changes_as_asked() -> None:
    still: dict[str, Any] = {"flips": (0, 0, 0), "rotation": None, "scaling": None, "elastic": None}
    given = batch()
    empty = given[IMAGE] == 0
    kept = everything(**still, modality_dropout=None)(given)[IMAGE]
    assert not kept[empty].any()
    assert (kept[~empty] != 0).float().mean() > 0.99
    augmented = everything(**still, modality_dropout=None, background="augment")(given)[IMAGE]
    assert augmented[empty].abs().mean() > 0.01
    assert torch.equal(augmented[~empty], kept[~empty])


@pytest.mark.parametrize("size", [(8, 10, 12), (20, 16, 13)])
def test_the_output_has_the_asked_size(size: tuple[int, int, int]) -> None:
    found = everything(0.5, size=size)(batch())
    assert found[IMAGE].shape == (3, 4, *size)
    assert found[LABEL].shape == (3, 1, *size)


def test_autocast_around_it_changes_nothing() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = everything()(batch())
    assert inside[IMAGE].dtype == torch.float32
    assert torch.equal(inside[IMAGE], everything()(batch())[IMAGE])


def test_settings_are_what_a_yaml_file_holds(tmp_path: Path) -> None:
    settings = everything(0.5, size=(8, 8, 8)).settings
    torch.save({"augmentation": settings}, tmp_path / "checkpoint")
    assert torch.load(tmp_path / "checkpoint", weights_only=True)["augmentation"] == settings
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--augmentation", type=list[Callable[[Any], Any]] | FusedAugmentation)
    written = yaml.safe_dump({"augmentation": yaml.safe_load(yaml.safe_dump(_lists(settings)))})
    built = parser.instantiate_classes(parser.parse_string(written)).augmentation
    assert isinstance(built, FusedAugmentation)
    assert _lists(built.settings) == _lists(settings)
    assert equal(built(batch()), everything(0.5, size=(8, 8, 8))(batch()))


def _lists(value: Any) -> Any:
    """Plain data as YAML has it."""
    if isinstance(value, dict):
        return {name: _lists(part) for name, part in value.items()}
    return [_lists(part) for part in value] if isinstance(value, tuple | list) else value


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FusedAugmentation(flips=(0.5, 0.5)), "flips is"),  # type: ignore[arg-type]
        (lambda: FusedAugmentation(flips=(0.5, 0.5, 2)), "flips is"),
        (lambda: FusedAugmentation(size=(0, 8, 8)), "size is"),
        (lambda: FusedAugmentation(labels="linear"), "nearest, soft"),  # type: ignore[arg-type]
        (lambda: FusedAugmentation(background="zero"), "keep, augment"),  # type: ignore[arg-type]
        (lambda: Rotation(probability=0.5, radians=(-1, 0, 0)), "radians is"),
        (lambda: Scaling(probability=0.5, factors=(0, 2)), "above 0"),
        (lambda: Elastic(probability=0.5, magnitude=(1, 1.5), spacing=(8, 9)), "would fold space"),
        (lambda: FusedAugmentation()({IMAGE: torch.zeros(1, *SHAPE)}), "no seeds"),
    ],
)
def test_what_cannot_be_is_refused_in_words(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("labels", ["nearest", "soft"])
def test_a_gpu_gives_the_same_and_is_never_waited_for(labels: str) -> None:
    augmentation, given = everything(labels=labels, noise=None), batch()
    draws: Draws = augmentation.draw(given[SEED], channels=4, source=SHAPE[1:])
    expected, expected_label = augmentation.apply(given[IMAGE], given[LABEL], draws)
    image, label = given[IMAGE].cuda(), given[LABEL].cuda()
    augmentation.apply(image, label, draws)
    torch.cuda.set_sync_debug_mode("error")
    try:
        found, found_label = everything(labels=labels, noise=None).apply(image, label, draws)
        everything(noise=Noise(probability=1, deviation=0.1)).apply(image, label, draws_with_noise(given))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)
    assert found_label is not None
    assert expected_label is not None
    assert float((found_label.cpu() == expected_label).float().mean()) > 0.999


def draws_with_noise(given: dict[str, Any]) -> Draws:
    return everything().draw(given[SEED], channels=4, source=SHAPE[1:])
