import pytest
import torch

from brats_lightning.errors import ConfigError
from brats_lightning.inference.postprocessing.decisions import Argmax, Nesting, Thresholds
from brats_lightning.labels import LABELS, WHOLE

SHAPE = (4, 5, 6)


def random_probabilities(channels: int, *, seed: int = 0, sharpness: float = 2.0) -> torch.Tensor:
    logits = torch.randn((channels, *SHAPE), generator=torch.Generator().manual_seed(seed))
    return (sharpness * logits).softmax(0)


def one_voxel(**shares: float) -> torch.Tensor:
    """Probabilities of one voxel by label; the background has the rest."""
    values = [0.0] * (1 + max(3, *(LABELS[name] for name in shares)))
    for name, share in shares.items():
        values[LABELS[name]] = share
    values[0] = 1 - sum(values)
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def decided(shares: list[float], thresholds: dict[str, float], nesting: Nesting) -> int:
    """The rule, written down for a single voxel."""
    background, ncr, ed, et, rc, cc = (*shares, 0.0, 0.0)[:6]
    assert background <= 1
    tumour = ncr + ed + et + cc >= thresholds.get("WT", 0.5)
    core = ncr + et + cc >= thresholds.get("TC", 0.5)
    enhancing = et >= thresholds.get("ET", 0.5)
    if nesting == "grow":
        core = core or enhancing
        tumour = tumour or core
    if tumour and core and enhancing:
        return 3
    if tumour and core:
        return 5 if cc > ncr else 1
    if tumour:
        return 2
    return 4 if len(shares) > 4 and rc >= thresholds.get("RC", 0.5) else 0


@pytest.mark.parametrize("channels", [4, 5, 6])
def test_argmax_is_that_of_torch(channels: int) -> None:
    probabilities = random_probabilities(channels)
    given = probabilities.clone()
    labels = Argmax()(probabilities)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), probabilities.argmax(0))
    assert torch.equal(probabilities, given)


def test_of_equals_argmax_takes_the_lower_number() -> None:
    assert Argmax()(torch.full((4, 1, 1, 1), 0.25)).item() == 0
    assert Argmax()(one_voxel(NCR=0.4, ET=0.4)).item() == LABELS["NCR"]


@pytest.mark.parametrize("nesting", ["shrink", "grow"])
@pytest.mark.parametrize("channels", [4, 5, 6])
def test_thresholds_follow_the_rule_voxel_by_voxel(channels: int, nesting: Nesting) -> None:
    for seed, thresholds in enumerate(({"WT": 0.3, "TC": 0.6, "ET": 0.2}, {"WT": 0.8, "ET": 0.35}, {"TC": 0.1})):
        own = {**thresholds, **({"RC": 0.3} if channels > 4 else {})}
        probabilities = random_probabilities(channels, seed=seed).double()
        labels = Thresholds(own, nesting)(probabilities)
        expected = [decided(shares, own, nesting) for shares in probabilities.flatten(1).T.tolist()]
        assert labels.flatten().tolist() == expected
        assert len(set(expected)) > 3


def test_even_thresholds_agree_with_argmax_where_a_label_has_the_majority() -> None:
    probabilities = random_probabilities(6, sharpness=4)
    sure = probabilities.amax(0) > 0.5
    assert 0.3 < sure.float().mean() < 1
    assert torch.equal(Thresholds({})(probabilities)[sure], Argmax()(probabilities)[sure])


def test_nesting_shrinks_or_grows() -> None:
    probabilities = one_voxel(ET=0.45, ED=0.1)
    assert Thresholds({"ET": 0.4})(probabilities).item() == LABELS["ED"]
    assert Thresholds({"ET": 0.4}, "grow")(probabilities).item() == LABELS["ET"]
    alone = one_voxel(ET=0.45)
    assert Thresholds({"ET": 0.4})(alone).item() == 0
    assert Thresholds({"ET": 0.4}, "grow")(alone).item() == LABELS["ET"]


def test_a_cavity_lies_outside_the_tumour() -> None:
    probabilities = one_voxel(RC=0.5, ED=0.4)
    assert Thresholds({})(probabilities).item() == LABELS["RC"]
    assert Thresholds({"WT": 0.4})(probabilities).item() == LABELS["ED"]
    assert Thresholds({"RC": 0.6})(probabilities).item() == 0


def test_a_threshold_that_is_reached_counts() -> None:
    assert Thresholds({"WT": 0.25})(one_voxel(ED=0.25)).item() == LABELS["ED"]


def test_a_cavity_needs_a_network_that_knows_it() -> None:
    with pytest.raises(ConfigError, match=r"RC has a threshold, but the network knows NCR, ED, ET only"):
        Thresholds({"RC": 0.5})(random_probabilities(4))


@pytest.mark.parametrize(
    ("thresholds", "nesting", "message"),
    [
        ({"ED": 0.5}, "shrink", r"thresholds is \{'ED': 0.5\}: expected regions of WT, TC, ET, RC only"),
        ({"ET": 1.0}, "shrink", "expected numbers above 0 and below 1"),
        ({"ET": 0}, "shrink", "expected numbers above 0 and below 1"),
        ({"ET": "0.5"}, "shrink", "expected numbers above 0 and below 1"),
        ({"ET": float("nan")}, "shrink", "expected numbers above 0 and below 1"),
        (0.5, "shrink", "expected a threshold by region"),
        ({}, "sideways", "nesting is 'sideways': expected one of shrink, grow"),
    ],
)
def test_settings_are_checked(thresholds: object, nesting: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Thresholds(thresholds, nesting)  # type: ignore[arg-type]


def test_equal_thresholds_are_equal_and_keep_what_they_were_given() -> None:
    given = {"ET": 0.4, "WT": 0.5}
    one, other = Thresholds(given), Thresholds({"WT": 0.5, "ET": 0.4})
    assert one == other
    assert len({one, other, Thresholds({"ET": 0.4})}) == 2
    given["ET"] = 0.9
    assert one == other


@pytest.mark.parametrize("decision", [Argmax(), Thresholds({})])
@pytest.mark.parametrize("shape", [(3, 2, 2, 2), (7, 2, 2, 2), (4, 2, 2)])
def test_what_is_no_probability_of_known_labels_is_refused(
    decision: Argmax | Thresholds, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"expected probabilities \(K, X, Y, Z\)"):
        decision(torch.zeros(shape))


def test_of_background_and_tumour_a_mask_is_decided() -> None:
    probabilities = random_probabilities(2)
    chance = probabilities[1]
    for threshold in (0.2, 0.5, 0.9):
        found = Thresholds({"WT": threshold})(probabilities)
        assert found.dtype == torch.uint8
        assert torch.equal(found, torch.where(chance >= threshold, WHOLE, 0).to(torch.uint8))
    assert torch.equal(Argmax()(probabilities), torch.where(chance > probabilities[0], WHOLE, 0).to(torch.uint8))
    assert Argmax()(torch.full((2, 1, 1, 1), 0.5)).item() == 0
    with pytest.raises(ConfigError, match="Thresholds: the network tells tumour from all else and knows no TC"):
        Thresholds({"WT": 0.5, "TC": 0.5})(probabilities)
