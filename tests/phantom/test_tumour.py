import numpy as np
import pytest

from brats_lightning.labels import LABELS
from brats_lightning.phantom.anatomy import Floats, Points, Tissues, brain_depth
from brats_lightning.phantom.tumour import Plan, displace, draw_plan, grow

STEP = 3.0
VOXEL_ML = STEP**3 / 1000


@pytest.fixture(scope="module")
def brain() -> tuple[Points, Floats]:
    axes = [np.arange(-95, 95, STEP, dtype=np.float32)] * 3
    x, y, z = np.meshgrid(*axes, indexing="ij")
    depth = brain_depth((x, y, z))
    inside = depth > 0
    return (x[inside], y[inside], z[inside]), depth[inside]


def volumes_ml(label: np.ndarray) -> dict[str, float]:
    return {name: float((label == LABELS[name]).sum() * VOXEL_ML) for name in ("NCR", "ED", "ET")}


def white_matter(points: Points, **parts: Floats) -> Tissues:
    zero = np.zeros(points[0].shape, np.float32)
    names = ("csf", "cortex", "nuclei", "ventricle_mm", "vessels")
    return Tissues(**(dict.fromkeys(names, zero) | parts))


def noiseless(points: Points) -> tuple[Floats, Floats, Floats]:
    zero = np.zeros(points[0].shape, np.float32)
    return zero, zero, zero


def test_plans_vary_as_real_tumours_do(brain: tuple[Points, Floats]) -> None:
    plans = [draw_plan(np.random.default_rng(seed), *brain) for seed in range(200)]
    assert 0.1 < np.mean([plan.et_ml == 0 for plan in plans]) < 0.3
    assert 0.15 < np.mean([len(plan.centres) > 1 for plan in plans]) < 0.35
    for plan in plans:
        assert 1 <= plan.ncr_ml <= 60
        assert 0 <= plan.et_ml <= 40
        assert 20 <= plan.ed_ml <= 120
        assert sum(plan.shares) <= 1 + 1e-9


def test_a_tumour_has_the_volumes_of_its_plan_and_lies_around_its_centre(brain: tuple[Points, Floats]) -> None:
    points, _ = brain
    plan = Plan(((30, 0, 20),), (1.0,), ncr_ml=8, et_ml=10, ed_ml=60, push=0.4)
    tumour = grow(points, white_matter(points), plan, fields=noiseless(points), voxel_ml=VOXEL_ML)
    found = volumes_ml(tumour.label)
    assert found == pytest.approx({"NCR": 8, "ET": 10, "ED": 60}, rel=0.1)
    distance = np.sqrt(sum((p - c) ** 2 for p, c in zip(points, (30, 0, 20), strict=True)))
    inner, rim, outer = (distance[tumour.label == LABELS[name]] for name in ("NCR", "ET", "ED"))
    assert inner.max() <= rim.min() + 1e-4
    assert rim.max() <= outer.min() + 1e-4
    whole = tumour.ncr + tumour.et + tumour.ed
    assert 0 <= whole.min() <= whole.max() <= 1 + 1e-6


def test_without_enhancement_the_core_is_all_necrosis(brain: tuple[Points, Floats]) -> None:
    points, _ = brain
    plan = Plan(((-30, 0, 20),), (1.0,), ncr_ml=20, et_ml=0, ed_ml=60, push=0.4)
    tumour = grow(points, white_matter(points), plan, fields=noiseless(points), voxel_ml=VOXEL_ML)
    assert volumes_ml(tumour.label) == pytest.approx({"NCR": 20, "ET": 0, "ED": 60}, rel=0.1)
    assert not tumour.et.any()


def test_a_tumour_keeps_out_of_csf(brain: tuple[Points, Floats]) -> None:
    points, _ = brain
    csf = (np.abs(points[1] - 18) < 5).astype(np.float32)
    plan = Plan(((24, 0, 20),), (1.0,), ncr_ml=8, et_ml=10, ed_ml=60, push=0.4)
    tumour = grow(points, white_matter(points, csf=csf), plan, fields=noiseless(points), voxel_ml=VOXEL_ML)
    assert not tumour.label[csf > 0].any()


def test_the_falx_holds_a_tumour_back(brain: tuple[Points, Floats]) -> None:
    points, _ = brain
    plan = Plan(((12, 0, 20),), (1.0,), ncr_ml=8, et_ml=10, ed_ml=60, push=0.4)
    tumour = grow(points, white_matter(points), plan, fields=noiseless(points), voxel_ml=VOXEL_ML)
    radius = plan.radii_mm(78)[0]
    cap_ml = np.pi * (radius - 12) ** 2 * (2 * radius + 12) / 3000  # of a ball, beyond the midline
    beyond_ml = ((tumour.label > 0) & (points[0] < 0)).sum() * VOXEL_ML
    assert beyond_ml < 0.6 * cap_ml


def test_tissue_moves_away_from_a_tumour_and_stays_elsewhere() -> None:
    plan = Plan(((30, 0, 20),), (1.0,), ncr_ml=8, et_ml=10, ed_ml=60, push=0.5)
    line = np.linspace(31, 120, 90).astype(np.float32)
    zero = np.zeros_like(line)
    x, y, z = displace((line, zero, zero + 20), plan)
    assert (x <= line).all()  # what is here came from nearer the centre
    assert (np.diff(x) > 0).all()  # and nothing was folded over
    assert line[-1] - x[-1] < 0.5
    np.testing.assert_allclose((y, z), (zero, zero + 20))
