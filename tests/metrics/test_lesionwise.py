import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import hypothesis.extra.numpy
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.labels import EDITIONS
from brats_lightning.metrics.lesion_rules import RULES
from brats_lightning.metrics.lesionwise import LesionScores, lesionwise_scores
from brats_lightning.nifti import read_labels

Labels = npt.NDArray[np.uint8]
SPACING = (1.0, 1.0, 1.0)
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "lesionwise.py"
OUR_NAMES = {"NETC": "NCR", "SNFH": "ED"}
PUBLISHED = [name for name in RULES if not name.endswith("-corrected")]
FAST = ("2023-GLI", "2023-MET", "2024-GLI", "2024-PED", "2024HEAD-MET")
KINDS = [
    pytest.param(name, kind, marks=[] if kind == "s" and name in FAST else pytest.mark.slow)
    for name in PUBLISHED
    for kind in ("s", "alb")
]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    """The benchmark's script: its alternative is the oracle here."""
    description = importlib.util.spec_from_file_location("lesionwise_benchmark", BENCHMARK)
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


def cube(*corners: tuple[int, int, int], side: int = 5, label: int = 3) -> Labels:
    labels = np.zeros((48, 40, 40), np.uint8)
    for x, y, z in corners:
        labels[x : x + side, y : y + side, z : z + side] = label
    return labels


def enhancing(prediction: npt.NDArray[Any], reference: npt.NDArray[Any], rules: str = "2023-GLI") -> LesionScores:
    return lesionwise_scores(prediction, reference, spacing_mm=SPACING, rules=RULES[rules])["ET"]


def golden_labels(path: Path, edition: str) -> tuple[Labels, tuple[float, ...]]:
    """A pair's label map; values that the edition does not have are background, as the scorers take them."""
    volume = read_labels(path)
    known = np.isin(volume.array, list(EDITIONS[edition].values))
    return EDITIONS[edition].decode(np.where(known, volume.array, 0)), volume.grid.spacing_mm


def as_golden(scores: LesionScores) -> dict[str, float]:
    """Our scores under the names of the golden files."""
    found: dict[str, float] = {
        "lesionwise_dice": scores.dice,
        "lesionwise_hd95": scores.hd95_mm,
        "num_tp": scores.true_positives,
        "num_fp": scores.false_positives,
        "num_fn": scores.false_negatives,
        "legacy_dice": scores.whole.dice,
        "legacy_hd95": scores.whole.hd95_mm,
        "sensitivity": scores.sensitivity,
        "specificity": scores.specificity,
        "gt_volume_mm3": scores.reference_mm3,
        "n_gt_lesions": len(scores.lesions),
        "n_gt_hit": sum(lesion.matches > 0 for lesion in scores.lesions),
        "n_gt_missed": sum(not lesion.matches for lesion in scores.lesions),
        "n_pred_matched_unique": scores.matched,
        "full_pred_volume_mm3": scores.prediction_mm3,
    }
    for tolerance, name in ((0.5, "nsd_0_5"), (1.0, "nsd_1_0")):
        if tolerance in scores.nsd:
            found |= {f"lesionwise_{name}": scores.nsd[tolerance], f"legacy_{name}": scores.whole.nsd[tolerance]}
    for place, lesion in enumerate(scores.lesions):
        details = {"gt_vol_mm3": lesion.volume_mm3, "n_pred": lesion.matches}
        details |= {"dice": lesion.agreement.dice, "hd95": lesion.agreement.hd95_mm}
        details |= {f"nsd_{str(key).replace('.', '_')}": value for key, value in lesion.agreement.nsd.items()}
        found |= {f"{place} {name}": value for name, value in details.items()}
    return found


def golden_row(row: dict[str, Any]) -> dict[str, float]:
    """A region of a golden file, flat."""
    raw = row["raw"]
    lesions = {
        f"{place} {name}": value for place, lesion in enumerate(raw["lesions"]) for name, value in lesion.items()
    }
    flat = {**row, **raw, **lesions}
    return {name: float(value) for name, value in flat.items() if name not in {"raw", "lesions", "binarised"}}


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_every_score_and_count_equals_the_official_scorer(shared: Path, name: str, kind: str) -> None:
    golden = json.loads((shared / "golden" / "lesionwise" / f"{name}.json").read_text())["pairs"]
    edition = "2024-PED" if name in {"2024-PED", "2024HEAD-PED"} else "2024-GLI"
    for pair, regions in golden.items():
        if not pair.startswith(kind):
            continue
        folder = shared / "golden" / "pairs" / pair
        (prediction, spacing_mm), (reference, _) = (
            golden_labels(folder / f"{side}.nii.gz", edition) for side in ("pred", "gt")
        )
        scores = lesionwise_scores(prediction, reference, spacing_mm=spacing_mm, rules=RULES[name])
        assert set(scores) == {OUR_NAMES.get(region, region) for region in regions if not region.startswith("_")}
        for region, row in regions.items():
            if region.startswith("_"):
                continue
            found = as_golden(scores[OUR_NAMES.get(region, region)])
            assert found == pytest.approx(golden_row(row), abs=1e-6, rel=1e-9), (pair, region)


@pytest.mark.parametrize("name", ["2024-GLI", "2024-PED", "2024-MET"])
def test_corrected_whole_image_scores_are_those_of_the_masks(shared: Path, name: str) -> None:
    golden = json.loads((shared / "golden" / "lesionwise" / f"{name}.json").read_text())["pairs"]
    rules = RULES[f"{name}-corrected"]
    for pair in ("s02_gt_empty", "s18_aniso_113", "s26_random_2601", "s29_perfect_multi", "s34_et_ncr_chain"):
        folder = shared / "golden" / "pairs" / pair
        (prediction, spacing_mm), (reference, _) = (
            golden_labels(folder / f"{side}.nii.gz", "2024-PED" if name == "2024-PED" else "2024-GLI")
            for side in ("pred", "gt")
        )
        scores = lesionwise_scores(prediction, reference, spacing_mm=spacing_mm, rules=rules)
        # Oedema is dilated by another number of steps, so that other predictions are dropped.
        for region in set(golden[pair]) - {"_run_on", "SNFH"}:
            expected = golden[pair][region]["binarised"]
            found = scores[OUR_NAMES.get(region, region)]
            rates = (found.sensitivity, found.specificity, found.whole.hd95_mm)
            hd95_mm = min(float(expected["hd95"]), rules.penalty_mm or math.inf)
            assert rates == pytest.approx((expected["sensitivity"], expected["specificity"], hd95_mm), abs=1e-6)


def test_corrected_oedema_merges_over_a_gap_of_ten(shared: Path) -> None:
    folder = shared / "golden" / "pairs" / "s32_gli24_gap10_ed_vs_ncr"
    (prediction, _), (reference, _) = (golden_labels(folder / f"{side}.nii.gz", "2024-GLI") for side in ("pred", "gt"))
    lesions = {
        name: len(lesionwise_scores(prediction, reference, spacing_mm=SPACING, rules=RULES[name])["ED"].lesions)
        for name in ("2024-GLI", "2024-GLI-corrected")
    }
    assert lesions == {"2024-GLI": 2, "2024-GLI-corrected": 1}


def scene(seed: int, *, lumps: float, labels: int) -> Labels:
    """Lumps of several tissues, some touching, some a voxel large."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(1, labels + 1, (7, 6, 5)) * (generator.random((7, 6, 5)) < lumps)
    return np.kron(coarse, generator.random((2, 3, 3)) < generator.choice([0.4, 0.8, 1.0])).astype(np.uint8)


scenes = st.builds(scene, st.integers(0, 10**6), lumps=st.sampled_from([0.0, 0.1, 0.3, 0.6]), labels=st.integers(1, 5))


@hypothesis.given(
    scenes, scenes, st.sampled_from(sorted(RULES)), st.sampled_from([SPACING, (1.0, 1.0, 3.0), (0.5, 1.0, 2.0)])
)
@hypothesis.settings(
    deadline=None, max_examples=60, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@pytest.mark.slow
def test_scores_equal_those_of_the_full_volume(
    benchmark: ModuleType, prediction: Labels, reference: Labels, name: str, spacing_mm: tuple[float, ...]
) -> None:
    ours = lesionwise_scores(prediction, reference, spacing_mm=spacing_mm, rules=RULES[name])
    theirs = benchmark.full_volume(prediction, reference, spacing_mm=spacing_mm, rules=RULES[name])
    for region, expected in theirs.items():
        assert benchmark.row(ours[region]) == pytest.approx(expected, abs=1e-9), region


def test_one_found_one_missed_one_false() -> None:
    reference = cube((5, 5, 5), (25, 5, 5))
    found = enhancing(cube((5, 5, 5), (5, 25, 25)), reference)
    assert (found.true_positives, found.false_negatives, found.false_positives) == (1, 1, 1)
    assert found.dice == pytest.approx(1 / 3)
    assert found.hd95_mm == pytest.approx(2 * 374 / 3)
    assert found.sensitivity == pytest.approx(0.5)
    assert found.specificity == pytest.approx(1 - 125 / (48 * 40 * 40 - 250))


def test_a_prediction_may_serve_two_lesions() -> None:
    reference = cube((5, 5, 5), (25, 5, 5))
    bar = reference.copy()
    bar[5:30, 5:10, 5:10] = 3
    found = enhancing(bar, reference)
    assert (found.true_positives, found.false_positives, found.matched) == (2, 0, 1)
    assert found.dice == pytest.approx(2 * 125 / (125 + 625))


def test_a_lesion_too_small_to_count_is_neither_missed_nor_false() -> None:
    reference = cube((5, 5, 5), side=3)
    for prediction in (reference, cube()):
        found = enhancing(prediction, reference)
        assert (found.dice, found.hd95_mm) == (1.0, 0.0)
        assert (found.true_positives, found.false_negatives, found.false_positives) == (0, 0, 0)
        assert found.lesions[0].ignored
    assert found.whole.dice == 0


def test_a_threshold_is_a_volume_for_the_reference_and_a_count_for_predictions() -> None:
    labels = cube((5, 5, 5), side=4)  # 64 voxels, 32 mm³
    scores = lesionwise_scores(labels, labels, spacing_mm=(1, 1, 0.5), rules=RULES["2024-SSA"])["ET"]
    assert scores.lesions[0].ignored
    assert scores.prediction_mm3 == pytest.approx(32)


def test_nothing_on_either_side_is_perfect() -> None:
    for rules in RULES.values():
        for found in lesionwise_scores(cube(), cube(), spacing_mm=SPACING, rules=rules).values():
            assert (found.dice, found.hd95_mm, found.sensitivity, found.specificity) == (1, 0, 1, 1)
            assert (found.whole.dice, found.whole.hd95_mm, found.lesions) == (1, 0, ())


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_perfect_prediction_is_perfect_lesion_by_lesion(name: str) -> None:
    labels = cube((5, 5, 5), (25, 5, 5)) + cube((5, 25, 25), side=6, label=1) + cube((30, 25, 25), label=2)
    for found in lesionwise_scores(labels, labels, spacing_mm=(1, 1, 2), rules=RULES[name]).values():
        assert (found.dice, found.hd95_mm, found.whole.dice) == (1, 0, 1)
        assert found.false_positives == found.false_negatives == 0


def test_the_penalty_may_be_the_diagonal_of_the_grid() -> None:
    found = enhancing(cube(), cube((5, 5, 5)), "2024HEAD-MET")
    assert found.hd95_mm == found.whole.hd95_mm == pytest.approx(math.sqrt(48**2 + 40**2 + 40**2))


def test_neither_cropping_nor_flips_nor_memory_order_matter() -> None:
    reference = cube((5, 5, 5), (25, 5, 5), (20, 28, 28))
    prediction = cube((6, 5, 4), (25, 8, 5), (5, 25, 25))
    expected = enhancing(prediction, reference)
    window = (slice(2, 40), slice(2, 36), slice(2, 36))
    for change in (
        lambda labels: labels[::-1, :, ::-1],
        lambda labels: labels.transpose(2, 0, 1),
        lambda labels: np.asfortranarray(labels).astype(np.int64),
        lambda labels: labels[window],
    ):
        found = enhancing(change(prediction), change(reference))
        assert (found.dice, found.hd95_mm) == pytest.approx((expected.dice, expected.hd95_mm))
        assert found.false_positives == expected.false_positives


@pytest.mark.parametrize(
    ("prediction", "spacing_mm", "message"),
    [
        (np.zeros((4, 4, 5), np.uint8), SPACING, "one shape"),
        (np.zeros((4, 4), np.uint8), SPACING, "one shape"),
        (np.zeros((4, 4, 4)), SPACING, "integer labels in the prediction, found float64"),
        (np.full((4, 4, 4), 300), SPACING, "0 to 255, found 300"),
        (np.full((4, 4, 4), -1), SPACING, "found -1"),
        (np.zeros((4, 4, 4), np.uint8), (1.0, 1.0), "3 spacings"),
        (np.zeros((4, 4, 4), np.uint8), (1.0, 0.0, 1.0), "above 0 mm"),
    ],
)
def test_input_that_is_no_pair_of_label_maps_is_refused(
    prediction: npt.NDArray[Any], spacing_mm: tuple[float, ...], message: str
) -> None:
    reference = np.zeros((4, 4, 4)[: prediction.ndim], np.uint8)
    with pytest.raises(ValueError, match=message):
        lesionwise_scores(prediction, reference, spacing_mm=spacing_mm, rules=RULES["2023-GLI"])
