from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
import torch

from brats_lightning.data.bias_field import N4
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.denoising import Denoising, denoise
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.errors import ConfigError, DatasetError

Write = Callable[..., Path]
SMALL = Preprocessing(size=(12, 14, 10))
# Axes grow inferior, left and posterior, a little turned, with spacings 1.5, 1 and 1 mm.
OBLIQUE = np.array([[0, -0.995, 0.0998, 30], [0, -0.0998, -0.995, 12], [-1.5, 0, 0, 50], [0, 0, 0, 1]])


def case_of(folder: Path) -> Case:
    (case,) = find_cases(folder).cases
    return case


def world_mm(affine: npt.NDArray[Any], index: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(affine[:3, :3] @ np.asarray(index) + affine[:3, 3], np.float64)


def centre_mm(mask: npt.NDArray[np.bool_], affine: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return world_mm(affine, np.argwhere(mask).mean(axis=0))


def label_of(sample: Sample) -> npt.NDArray[np.uint8]:
    assert sample.label is not None
    label: npt.NDArray[np.uint8] = sample.label[0].numpy()
    return label


def test_a_sample_has_its_types_and_the_size_asked_for(write_case: Write) -> None:
    case = case_of(write_case("Brats18_2013_2_1"))
    sample = SMALL(case)
    assert (sample.case, sample.edition) == ("Brats18_2013_2_1", "2018")
    assert sample.image.shape == (4, 12, 14, 10)
    assert sample.image.dtype == torch.float16
    assert sample.label is not None
    assert sample.label.shape == (1, 12, 14, 10)
    assert sample.label.dtype == torch.uint8
    assert type(sample.image) is type(sample.label) is torch.Tensor
    assert sample.grid.shape == (12, 14, 10)
    assert sample.grid.orientation == "RAS"
    assert sample.native.orientation == "LPS"
    assert sample.native.shape == (20, 22, 18)
    assert set(label_of(sample).ravel().tolist()) == {0, 1, 2, 3}
    assert all("sform only" in note for note in sample.notes)
    assert len(sample.notes) == 5


def test_an_unlabelled_case_gives_the_same_image_without_label(write_case: Write) -> None:
    labelled = SMALL(case_of(write_case("BraTS2021_00001")))
    unlabelled = SMALL(replace(case_of(write_case("BraTS2021_00001")), label=None))
    assert unlabelled.label is None
    assert torch.equal(unlabelled.image, labelled.image)


def places_mm(shape: tuple[int, ...], affine: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Where each voxel lies, (voxels, 3)."""
    places: npt.NDArray[np.float64] = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    return places


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("resampling", [{"size": None}, {"size": (30, 28, 40)}, {"size": None, "spacing_mm": 0.8}])
@pytest.mark.parametrize("affine", [np.diag([-1.0, -1.0, 1.0, 1.0]), OBLIQUE], ids=["LPS", "oblique"])
def test_everything_stays_at_its_place_in_the_world(
    write_case: Write, crop: bool, resampling: dict[str, Any], affine: npt.NDArray[Any]
) -> None:
    """A paraboloid keeps its vertex to a small part of a voxel: half a voxel's shift would show."""
    folder = write_case("BraTS2021_00001", affine=affine, shape=(24, 26, 22))
    path = folder / "BraTS2021_00001_t1.nii.gz"
    brain = np.asarray(nibabel.load(path).dataobj) != 0
    vertex = world_mm(affine, (11, 13, 10)) + np.array([0.3, -0.2, 0.1])
    squares = (np.linalg.norm(places_mm(brain.shape, affine) - vertex, axis=1) ** 2).reshape(brain.shape)
    nibabel.save(nibabel.Nifti1Image(((1 + squares) * brain).astype(np.float32), affine), path)

    case = case_of(folder)
    sample = Preprocessing(crop=crop, **resampling)(case)

    places = places_mm(sample.grid.shape, sample.grid.affine)
    near = np.linalg.norm(places - vertex, axis=1) < 6
    x, y, z = places[near].T
    terms = np.stack([np.ones_like(x), x, y, z, x**2 + y**2 + z**2], axis=1)
    _, *linear, square = np.linalg.lstsq(terms, sample.image[0].numpy().ravel()[near].astype(float))[0]
    assert np.allclose(-0.5 * np.array(linear) / square, vertex, atol=0.05)
    stored = np.asarray(nibabel.load(case.label).dataobj)
    for outside, inside in ((1, 1), (2, 2), (4, 3)):
        before = centre_mm(stored == outside, affine)
        after = centre_mm(label_of(sample) == inside, sample.grid.affine)
        assert np.linalg.norm(after - before) < 0.5 * max(*sample.grid.spacing_mm, *sample.native.spacing_mm)
    assert np.allclose(sample.native.affine, affine, atol=1e-5)


@pytest.mark.parametrize("index", [(5, 6, 7), (12, 4, 9), (18, 11, 8)])
def test_a_bright_voxel_stays_at_its_place_in_the_world(write_case: Write, index: tuple[int, int, int]) -> None:
    folder = write_case("BraTS2021_00001", affine=OBLIQUE, shape=(24, 26, 22), values=())
    path = folder / "BraTS2021_00001_t1ce.nii.gz"
    array = np.asarray(nibabel.load(path).dataobj).copy()
    array[index] = 30_000
    nibabel.save(nibabel.Nifti1Image(array, OBLIQUE), path)
    sample = Preprocessing(size=None)(case_of(folder))
    brightest = np.unravel_index(int(sample.image[1].argmax()), sample.image.shape[1:])
    assert np.allclose(world_mm(sample.grid.affine, brightest), world_mm(OBLIQUE, index), atol=1e-3)


def test_the_crop_is_the_brain_with_its_margin(write_case: Write) -> None:
    case = case_of(write_case("BraTS2021_00001", shape=(40, 30, 24)))
    stored = [np.asarray(nibabel.load(path).dataobj) for path in case.files[:4]]
    brain = np.any([array != 0 for array in stored], axis=0)
    extent = [int(np.ptp(at)) + 1 for at in np.nonzero(brain)]
    plain = Preprocessing(size=None)(case)
    assert list(plain.grid.shape) == extent
    wider = Preprocessing(size=None, crop_margin=1)(case)
    assert list(wider.grid.shape) == [size + 2 for size in extent]
    assert torch.equal(wider.image[:, 1:-1, 1:-1, 1:-1], plain.image)
    assert np.allclose(world_mm(wider.grid.affine, (1, 1, 1)), plain.grid.affine[:3, 3])
    everything = Preprocessing(size=None, crop_margin=100)(case)  # a margin beyond the image ends at its edge
    assert torch.equal(everything.image, Preprocessing(size=None, crop=False)(case).image)
    assert everything.grid.shape == (40, 30, 24)


def test_channels_follow_the_modalities(write_case: Write) -> None:
    case = case_of(write_case("BraTS2021_00001"))
    every = SMALL(case)
    two = replace(SMALL, modalities=("t2f", "t1n"))(case)
    assert torch.equal(two.image, every.image[[3, 0]])


def test_the_brain_is_normalised_and_the_background_zero(write_case: Write) -> None:
    sample = Preprocessing(size=None, crop=False)(case_of(write_case("BraTS2021_00001")))
    inside = (sample.image != 0).any(dim=0)
    assert 0.1 < inside.float().mean() < 0.6
    for channel in sample.image.float():
        assert float(channel[inside].mean()) == pytest.approx(0, abs=0.01)
        assert float(channel[inside].std()) == pytest.approx(1, abs=0.01)


def test_n4_changes_only_the_modalities_it_is_told(write_case: Write) -> None:
    case = case_of(write_case("BraTS2021_00001"))
    quick = replace(SMALL, n4=N4(shrink=2, iterations=(2,)))
    without = quick(case)
    corrected = replace(quick, bias_field=("t1c", "t2f"))(case)
    changed = [not torch.equal(one, other) for one, other in zip(without.image, corrected.image, strict=True)]
    assert changed == [False, True, False, True]
    assert torch.equal(label_tensor(without), label_tensor(corrected))


def test_noise_is_reduced_between_n4_and_the_rest(write_case: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the whole image, which a crop would cut surroundings off from, and before intensities have another scale."""
    case = case_of(write_case("BraTS2021_00001"))
    settings = Preprocessing(size=None, bias_field=True, n4=N4(shrink=2, iterations=(2,)))
    given: list[torch.Tensor] = []

    def noted(image: torch.Tensor, brain: torch.Tensor, options: Denoising) -> torch.Tensor:
        given.append(image)
        return denoise(image, brain, options)

    monkeypatch.setattr("brats_lightning.data.denoising.denoise", noted)
    without, with_it = settings(case), replace(settings, denoise=Denoising())(case)
    assert given[0].shape[1:] == with_it.native.shape
    assert given[0].max() > 100
    n4_alone = settings.compose().transforms[1](settings.compose().transforms[0]({"case": case}))
    assert torch.equal(given[0], n4_alone["image"].as_tensor())
    assert not torch.equal(without.image, with_it.image)
    assert torch.equal(without.image != 0, with_it.image != 0)
    assert torch.equal(label_tensor(without), label_tensor(with_it))


def label_tensor(sample: Sample) -> torch.Tensor:
    assert sample.label is not None
    return sample.label


def test_what_is_wrong_with_a_case_comes_through_in_words(write_case: Write) -> None:
    """MONAI puts an error of its own before what a step raises."""
    folder = write_case("BraTS2021_00001")
    for kind in ("t1", "t2"):
        (folder / f"BraTS2021_00001_{kind}.nii.gz").write_bytes(b"")
    with pytest.raises(DatasetError) as caught:
        SMALL(case_of(folder))
    assert [problem.file for problem in caught.value.problems] == [
        "BraTS2021_00001_t1.nii.gz",
        "BraTS2021_00001_t2.nii.gz",
    ]


def test_an_image_that_n4_cannot_fit_is_a_problem_of_the_case(write_case: Write) -> None:
    case = case_of(write_case("BraTS2021_00001"))
    with pytest.raises(DatasetError, match=r"BraTS2021_00001: .* too small to shrink") as caught:
        replace(SMALL, bias_field=True, n4=N4(shrink=12))(case)
    assert caught.value.problems[0].case == "BraTS2021_00001"


@pytest.mark.parametrize(
    "changed",
    [
        {"modalities": ("t1n", "t1c")},
        {"modalities": ("t2f", "t2w", "t1c", "t1n")},
        {"bias_field": True},
        {"bias_field": ("t1n",)},
        {"bias_field": True, "n4": N4(shrink=2)},
        {"crop": False},
        {"crop_margin": 3},
        {"size": None},
        {"size": (12, 10, 14)},
        {"size": None, "spacing_mm": 2.0},
        {"normalisation": "minmax"},
        {"denoise": Denoising()},
    ],
)
def test_a_fingerprint_differs_where_samples_would(changed: dict[str, Any]) -> None:
    assert replace(SMALL, **changed).fingerprint != SMALL.fingerprint


def test_a_fingerprint_speaks_of_what_is_done_alone() -> None:
    """A setting that is new tomorrow must not empty the caches of those who do not use it."""
    assert Preprocessing().fingerprint == (
        '{"bias_field": [], "crop": true, "crop_margin": 0, "modalities": ["t1n", "t1c", "t2w", "t2f"], '
        '"normalisation": "zscore", "size": [128, 128, 128], "spacing_mm": null, "version": 2}'
    )


def test_all_of_these_fingerprints_differ_from_each_other() -> None:
    pipelines = [
        replace(SMALL, bias_field=True),
        replace(SMALL, bias_field=True, n4=N4(shrink=2)),
        replace(SMALL, bias_field=True, n4=N4(backend="itk")),
        replace(SMALL, bias_field=True, n4=N4(iterations=(50, 50, 50))),
        replace(SMALL, bias_field=("t1n",)),
        replace(SMALL, bias_field=("t1c",)),
        replace(SMALL, size=None, spacing_mm=1.0),
        replace(SMALL, size=None, spacing_mm=1.5),
        replace(SMALL, denoise=Denoising()),
        replace(SMALL, denoise=Denoising(strength=0.5)),
        replace(SMALL, denoise=Denoising(method="median")),
        replace(SMALL, denoise=Denoising(method="curvature_flow")),
        replace(SMALL, denoise=Denoising(method="curvature_flow", iterations=2)),
    ]
    assert len({pipeline.fingerprint for pipeline in pipelines}) == len(pipelines)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"n4": N4(shrink=2)}),
        ({"bias_field": True}, {"bias_field": ("t1n", "t1c", "t2w", "t2f")}),
        ({"bias_field": ()}, {"bias_field": False}),
        ({"crop": False}, {"crop": False, "crop_margin": 9}),
        ({"bias_field": True}, {"bias_field": True, "n4": N4(threads=8)}),
        ({"size": [12, 14, 10]}, {"size": (12, 14, 10)}),
        ({"denoise": Denoising(iterations=9)}, {"denoise": Denoising()}),
    ],
)
def test_a_fingerprint_ignores_what_is_not_used(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert replace(SMALL, **one).fingerprint == replace(SMALL, **other).fingerprint


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"modalities": ()}, "distinct and at least one"),
        ({"modalities": ("t1n", "t1n")}, "distinct"),
        ({"modalities": ("t1n", "t1ce")}, "modalities are t1n, t1c, t2w, t2f, found t1ce"),
        ({"spacing_mm": 1.0}, "size and spacing_mm exclude each other"),
        ({"size": (0, 8, 8)}, "size must be positive"),
        ({"size": None, "spacing_mm": 0}, "spacing_mm must be positive"),
        ({"crop_margin": -1}, "crop_margin must not be negative"),
        ({"modalities": ("t1n",), "bias_field": ("t1n", "t2f")}, "bias_field names t2f"),
        ({"normalisation": "z-score"}, "normalisation must be one of zscore, minmax, percentile"),
    ],
)
def test_settings_that_contradict_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Preprocessing(**wrong)
