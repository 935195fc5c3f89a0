import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.postprocess import Thresholds
from brats_lightning.labels import LABELS, REGIONS, WHOLE
from brats_lightning.model.outputs import (
    Outputs,
    channel_labels,
    channels_within,
    decided,
    foreign_label,
    label_probabilities,
    reference_for,
    refusal,
    region_channels,
    require_regions,
    targets,
)


def some_label(*values: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.tensor(values, dtype=torch.uint8)[torch.randint(len(values), (2, 1, 4, 5, 6))]


@pytest.mark.parametrize("channels", [3, 4])
def test_targets_of_regions_are_the_regions_of_the_label(channels: int) -> None:
    label = some_label(0, 1, 2, 3, 4, 5)
    masks = targets(label, "regions", channels=channels)
    assert masks.shape == (2, channels, 4, 5, 6)
    for name, mask in zip(("WT", "TC", "ET", "RC"), masks.unbind(1), strict=False):
        assert torch.equal(mask.bool(), torch.isin(label[:, 0], torch.tensor(REGIONS[name])))


def test_targets_of_labels_are_the_label_and_never_out_of_range() -> None:
    label = some_label(0, 1, 2, 3)
    assert torch.equal(targets(label, "labels", channels=4), label.long())
    assert targets(some_label(0, 200), "labels", channels=4).unique().tolist() == [0, 3]


@pytest.mark.parametrize(("values", "channels"), [((0, 1, 2, 3), 3), ((0, 1, 2, 3, 4), 4)])
def test_perfect_regions_give_the_label_back(values: tuple[int, ...], channels: int) -> None:
    label = some_label(*values)
    logits = 20 * (2 * targets(label, "regions", channels=channels) - 1)
    assert torch.equal(decided(logits, "regions"), label[:, 0])
    probabilities = label_probabilities(logits, "regions")
    assert torch.allclose(probabilities.gather(1, label.long()), torch.ones(()))


def test_a_cystic_component_comes_back_as_core() -> None:
    label = some_label(0, 5)
    logits = targets(label, "regions", channels=3) - 0.5
    assert torch.equal(decided(logits, "regions"), torch.where(label[:, 0] == 5, LABELS["NCR"], 0).to(torch.uint8))


@settings(max_examples=40, deadline=None)
@given(channels=st.sampled_from([3, 4]), seed=st.integers(0, 2**31), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_probabilities_are_some_and_decide_as_the_logits_do(channels: int, seed: int, scale: float) -> None:
    logits = scale * torch.randn((1, channels, 3, 4, 5), generator=torch.Generator().manual_seed(seed))
    probabilities = label_probabilities(logits, "regions")
    assert probabilities.shape[1] == channels + 1
    assert probabilities.min() >= 0
    assert torch.allclose(probabilities.sum(1), torch.ones(()), atol=1e-6)
    margins = torch.stack([sum(probabilities[0, i] for i in inside) - 0.5 for inside in ([1, 2, 3], [1, 3], [3])])  # type: ignore[misc]
    clear = (margins.abs() > 1e-6).all(0)  # at the threshold itself rounding decides
    found = Thresholds({})(probabilities[0])
    assert torch.equal(found[clear], decided(logits, "regions")[0][clear])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_nested_logits_keep_their_sigmoids(seed: int) -> None:
    raw = torch.randn((1, 3, 3, 3, 3), generator=torch.Generator().manual_seed(seed))
    nested = raw.sort(dim=1, descending=True).values
    _, ncr, ed, et = label_probabilities(nested, "regions").unbind(1)
    assert torch.allclose(torch.stack([ncr + ed + et, ncr + et, et], 1), torch.sigmoid(nested), atol=1e-6)


def test_labels_are_softmax_and_argmax_along_any_dimension() -> None:
    logits = torch.randn(2, 4, 3, 3, 3)
    assert torch.equal(label_probabilities(logits, "labels"), torch.softmax(logits, 1))
    assert torch.equal(label_probabilities(logits[0], "labels", dim=0), torch.softmax(logits[0], 0))
    assert torch.equal(decided(logits, "labels"), logits.argmax(1).to(torch.uint8))
    regions = torch.randn(2, 3, 3, 3, 3)
    of_one, of_both = label_probabilities(regions[1], "regions", dim=0), label_probabilities(regions, "regions")
    assert torch.allclose(of_one, of_both[1])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_other_numbers_of_channels_are_no_regions(count: int) -> None:
    with pytest.raises(ConfigError, match=rf"3 output channels \(WT, TC, ET\), or 4 .*found {count}"):
        region_channels(count)


def test_labels_without_a_channel_are_refused_in_words() -> None:
    cavity = some_label(0, 1, 4, 5)
    assert int(foreign_label(cavity, "regions", channels=3)) == LABELS["RC"]
    assert int(foreign_label(cavity, "regions", channels=4)) == 0
    assert int(foreign_label(some_label(0, 5), "regions", channels=3)) == 0
    assert int(foreign_label(some_label(0, 7), "regions", channels=4)) == 7
    assert int(foreign_label(cavity, "labels", channels=4)) == 5
    assert int(foreign_label(cavity, "labels", channels=6)) == 0
    said = str(refusal(4, ["a", "b"], "regions", channels=3))
    assert said == "a, b: the label RC needs a fourth output channel with outputs: regions (WT, TC, ET, RC), found 3"
    assert "the label 7 is in none of WT, TC, ET, RC" in str(refusal(7, ["a"], "regions", channels=4))


def test_the_target_of_tumour_is_any_tissue_or_a_mask_but_no_cavity() -> None:
    label = some_label(0, 1, 2, 3, 4, 5, WHOLE)
    mask = targets(label, "tumour", channels=1)
    assert mask.dtype == torch.float32
    assert torch.equal(mask.bool(), (label != 0) & (label != LABELS["RC"]))
    assert torch.equal(reference_for(label, "tumour"), mask.to(torch.uint8) * WHOLE)
    assert reference_for(label, "regions") is label


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_tumour_is_decided_at_a_half_by_logits_and_by_probabilities(seed: int, scale: float) -> None:
    logits = scale * torch.randn((2, 1, 3, 4, 5), generator=torch.Generator().manual_seed(seed))
    probabilities = label_probabilities(logits, "tumour")
    assert torch.allclose(probabilities[:, 1:], torch.sigmoid(logits))
    assert torch.allclose(probabilities.sum(1), torch.ones(()))
    assert torch.allclose(label_probabilities(logits[1], "tumour", dim=0), probabilities[1])
    found = decided(logits, "tumour")
    assert found.dtype == torch.uint8
    assert torch.equal(found == WHOLE, logits[:, 0] >= 0)
    clear = (probabilities[0, 1] - 0.5).abs() > 1e-6
    assert torch.equal(Thresholds({})(probabilities[0])[clear], found[0][clear])


def test_a_perfect_mask_gives_the_target_back() -> None:
    target = targets(some_label(0, 2, WHOLE), "tumour", channels=1)
    assert torch.equal(targets(decided(target - 0.5, "tumour")[:, None], "tumour", channels=1), target)


def test_two_channels_of_probabilities_are_background_and_whole_tumour() -> None:
    assert [channel_labels(count) for count in (2, 4, 6)] == [(0, WHOLE), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5)]
    assert channels_within(REGIONS["WT"], 2) == channels_within((WHOLE,), 2) == [1]
    assert channels_within(REGIONS["TC"], 2) == channels_within((WHOLE,), 4) == []
    assert [channels_within(REGIONS["WT"], count) for count in (4, 5, 6)] == [[1, 2, 3], [1, 2, 3], [1, 2, 3, 5]]


@pytest.mark.parametrize(
    ("outputs", "channels", "message"),
    [
        ("tumour", 2, "outputs: tumour needs a network with 1 output channel, found 2"),
        ("labels", 1, "set outputs: tumour, found labels"),
        ("regions", 1, "set outputs: tumour, found regions"),
    ],
)
def test_one_channel_belongs_to_tumour_alone(outputs: Outputs, channels: int, message: str) -> None:
    logits = torch.zeros(1, channels, 2, 2, 2)
    with pytest.raises(ConfigError, match=message):
        targets(some_label(0, 1), outputs, channels=channels)
    with pytest.raises(ConfigError, match=message):
        decided(logits, outputs)
    with pytest.raises(ConfigError, match=message):
        label_probabilities(logits, outputs)


def test_masks_are_learnt_by_networks_of_tumour_and_refused_by_others() -> None:
    label = some_label(0, 1, 4, WHOLE)
    assert int(foreign_label(label, "tumour", channels=1)) == 0
    assert int(foreign_label(some_label(0, 9), "tumour", channels=1)) == 9
    assert "the label 9 is in none of WT" in str(refusal(9, ["a"], "tumour", channels=1))
    kinds: list[tuple[Outputs, int]] = [("labels", 4), ("regions", 3)]
    for outputs, channels in kinds:
        assert int(foreign_label(label, outputs, channels=channels)) == WHOLE
        said = str(refusal(WHOLE, ["a", "b"], outputs, channels=channels))
        assert said.startswith("a, b: a mask of the whole tumour tells no tissues apart")
        assert "set outputs: tumour" in said


def test_tumour_is_scored_on_regions_that_a_mask_tells() -> None:
    require_regions({"WT": REGIONS["WT"], "own": (WHOLE,)}, "tumour")
    require_regions({"ET": REGIONS["ET"]}, "regions")
    with pytest.raises(
        ConfigError, match=r"outputs: tumour tells no tissues apart: set model.regions to \[WT\], found ET"
    ):
        require_regions({"WT": REGIONS["WT"], "ET": REGIONS["ET"]}, "tumour")
