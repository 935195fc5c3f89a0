import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from brats_lightning.labels import LABELS, MODALITIES
from brats_lightning.phantom.anatomy import Tissues
from brats_lightning.phantom.scanner import SIGNALS, Phantom, make_phantom, scan
from brats_lightning.phantom.tumour import Tumour

SIZE = (48, 48, 31)
NAMES = list(SIGNALS)


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [make_phantom(0, index=index, size=SIZE) for index in range(20)]


def pure_tissues() -> npt.NDArray[np.float64]:
    """Mean signal over 20 scans of one voxel of each tissue, (modalities, tissues), each relative to white matter."""
    one = dict(zip(NAMES, np.eye(len(NAMES), dtype=np.float32), strict=True))
    zero = np.zeros(len(NAMES), np.float32)
    tissues = Tissues(one["csf"], one["cortex"], one["nuclei"], zero + 99, zero)
    tumour = Tumour(zero.astype(np.uint8), one["ncr"], one["et"], one["ed"])
    scans = [
        scan(np.random.default_rng(seed), tissues, tumour, texture=zero, bias=zero + 1, noise=0.0) for seed in range(20)
    ]
    means: npt.NDArray[np.float64] = np.mean([s / s[:, [NAMES.index("white")]] for s in scans], axis=0)
    return means


def test_tissues_have_the_order_of_each_contrast() -> None:
    t1n, t1c, t2w, t2f = (dict(zip(NAMES, signals, strict=True)) for signals in pure_tissues())
    assert MODALITIES == ("t1n", "t1c", "t2w", "t2f")
    assert t1n["white"] > t1n["nuclei"] > t1n["cortex"] > t1n["csf"]
    assert t2w["csf"] > t2w["cortex"] > t2w["nuclei"] > t2w["white"]
    assert t2f["cortex"] >= t2f["white"] > t2f["csf"]
    assert t2f["ed"] > 1.3 * t2f["cortex"]
    assert t1c["et"] > 1.3 * max(value for name, value in t1c.items() if name != "et")
    assert max(t1n["ncr"], t1c["ncr"]) < 0.8 * t1n["white"]
    assert min(t2w["ncr"], t2w["ed"]) > t2w["cortex"]


def test_the_same_arguments_give_the_same_voxels_and_others_do_not(phantoms: list[Phantom]) -> None:
    again = make_phantom(0, index=3, size=SIZE)
    for name in ("images", "label", "bias"):
        np.testing.assert_array_equal(getattr(again, name), getattr(phantoms[3], name))
    assert (make_phantom(1, index=3, size=SIZE).images != again.images).mean() > 0.1
    assert (phantoms[2].images != again.images).mean() > 0.1


def test_shape_type_and_place(phantoms: list[Phantom]) -> None:
    for made in phantoms:
        assert made.images.shape == (4, *SIZE)
        assert [made.images.dtype.name, made.label.dtype.name, made.bias.dtype.name] == ["int16", "uint8", "float32"]
        assert made.grid.spacing_mm == pytest.approx((5, 5, 5))
        assert made.grid.orientation == "LPS"


def test_background_is_0_and_the_label_lies_in_the_brain(phantoms: list[Phantom]) -> None:
    for made in phantoms:
        brain = made.images[0] > 0
        assert all(((image > 0) == brain).all() for image in made.images)
        assert 0.08 < brain.mean() < 0.3
        assert brain[made.label > 0].all()
        assert {0, LABELS["NCR"], LABELS["ED"]} <= set(np.unique(made.label)) <= {0, *LABELS.values()}


def test_some_have_no_et_and_some_have_several_foci(phantoms: list[Phantom]) -> None:
    without = [made for made in phantoms if not (made.label == LABELS["ET"]).any()]
    several = [made for made in phantoms if made.foci > 1]
    assert 1 <= len(without) <= 9
    assert 1 <= len(several) <= 10
    for made in several:  # the foci's cores do not touch
        core = (made.label == LABELS["NCR"]) | (made.label == LABELS["ET"])
        assert ndimage.label(core)[1] >= 2


def test_the_bias_field_is_smooth_of_mean_1_and_as_strong_as_asked(phantoms: list[Phantom]) -> None:
    for made in phantoms:
        brain = made.images[0] > 0
        inside = np.where(brain, made.bias, np.nan)
        assert np.nanmean(inside) == pytest.approx(1, abs=1e-3)
        assert np.nanmax(np.abs(np.diff(inside, axis=0))) < 0.1  # over 5 mm
        assert 1.2 < np.nanmax(inside) / np.nanmin(inside) < 1.3**2 + 0.01
        assert (made.bias[~brain] == 1).all()


def test_the_bias_field_is_what_multiplies_the_images() -> None:
    plain, biased = (make_phantom(0, size=SIZE, noise=0, bias=strength) for strength in (0.0, 0.4))
    bright = (plain.images > 300).all(axis=0)  # rounding to integers is small there
    assert bright.sum() > 500
    ratio = biased.images[:, bright] / plain.images[:, bright]
    np.testing.assert_allclose(ratio, np.broadcast_to(biased.bias[bright], ratio.shape), atol=0.004)
    assert (plain.bias == 1).all()


def test_contrasts_oppose_each_other_and_the_rim_enhances() -> None:
    made = make_phantom(0, size=(96, 96, 62), noise=0, bias=0)
    t1n, t1c, t2w, t2f = made.images.astype(float)
    healthy = (t1n > 0) & ndimage.binary_erosion(made.label == 0, iterations=2)
    assert np.corrcoef(t1n[healthy], t2w[healthy])[0, 1] < -0.7
    rim, oedema = (made.label == LABELS[name] for name in ("ET", "ED"))
    assert np.median(t1c[rim]) > np.percentile(t1c[healthy], 95)
    assert np.median(t2f[oedema]) > np.percentile(t2f[healthy], 95)


@pytest.mark.parametrize(("size", "spacing_mm"), [((16, 16, 16), None), ((200, 31, 20), None), ((64, 64, 60), 2.5)])
def test_any_grid_holds_a_brain_with_a_tumour(size: tuple[int, int, int], spacing_mm: float | None) -> None:
    for index in range(3):
        made = make_phantom(5, index=index, size=size, spacing_mm=spacing_mm)
        assert {LABELS["NCR"], LABELS["ED"]} <= set(np.unique(made.label))
        if spacing_mm:
            assert made.grid.spacing_mm == pytest.approx([spacing_mm] * 3)


@pytest.mark.slow
def test_a_full_size_case_looks_like_a_real_one() -> None:
    made = make_phantom(0)
    assert made.images.shape == (4, 240, 240, 155)
    np.testing.assert_array_equal(made.grid.affine, [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert 1_100_000 < (made.images[0] > 0).sum() < 1_750_000
    for image in made.images:
        assert 200 < np.median(image[image > 0]) < 2500
