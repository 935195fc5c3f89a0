"""Bias fields planted by hand, by either backend; ITK against its own filter. `test_n4.py` holds torch to ITK."""

import importlib
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from jsonargparse import ArgumentParser
from monai.data.meta_tensor import MetaTensor
from torch.utils.data import DataLoader, Dataset

from brats_lightning.data.bias_field import (
    N4,
    Backend,
    BiasFieldCorrectiond,
    correct_bias_field,
    log_bias_field,
)
from brats_lightning.errors import ConfigError

ISOTROPIC = (1.0, 1.0, 1.0)
QUICK = N4(iterations=(5, 5))
BOTH = pytest.mark.parametrize("backend", ["torch", pytest.param("itk", marks=pytest.mark.slow)])
Array = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Phantom:
    """Three tissues in an ellipsoid under a smooth field."""

    image: Array
    brain: Mask
    tissue: npt.NDArray[np.int_]
    log_field: npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    shape = (64, 64, 48)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    brain = (x / 0.85) ** 2 + (y / 0.9) ** 2 + (z / 0.85) ** 2 < 1
    tissue = (np.sin(7 * x) * np.sin(6 * y + 1) * np.sin(5 * z) > 0.12).astype(int)
    tissue[(x / 0.25) ** 2 + (y / 0.35) ** 2 + (z / 0.3) ** 2 < 1] = 2
    log_field = 0.35 * x + 0.25 * y * z - 0.3 * z**2 + 0.15 * np.sin(2 * y)
    noise = 1 + 0.04 * np.random.default_rng(0).standard_normal(shape)
    image = np.where(brain, np.array([100, 150, 50])[tissue] * np.exp(log_field) * noise, 0)
    return Phantom(image.astype(np.float32), brain, tissue, log_field)


def log_field(image: Array, mask: Mask, options: N4, *, spacing_mm: Sequence[float] = ISOTROPIC) -> Array:
    """Of one channel, as an array."""
    field = log_bias_field(torch.from_numpy(image)[None], torch.from_numpy(mask), options, spacing_mm=spacing_mm)
    return field[0].numpy()


def correct(image: Array, mask: Mask, options: N4, *, spacing_mm: Sequence[float] = ISOTROPIC) -> Array:
    """One channel, as an array."""
    image_, mask_ = torch.from_numpy(image)[None], torch.from_numpy(mask)
    return correct_bias_field(image_, mask_, options, spacing_mm=spacing_mm)[0].numpy()


def variation(values: Array) -> float:
    return float(values.std() / values.mean())


@BOTH
def test_a_planted_field_is_found_and_divided_out(phantom: Phantom, backend: Backend) -> None:
    brain = phantom.brain
    field = log_field(phantom.image, brain, N4(backend=backend))
    corrected = correct(phantom.image, brain, N4(backend=backend))
    assert np.corrcoef(field[brain], phantom.log_field[brain])[0, 1] > 0.99
    for tissue in (0, 1):
        inside = brain & (phantom.tissue == tissue)
        assert variation(corrected[inside]) < variation(phantom.image[inside]) / 4


@BOTH
def test_correction_keeps_the_scale_and_whatever_lies_outside(phantom: Phantom, backend: Backend) -> None:
    image = phantom.image.copy()
    image[~phantom.brain] = np.random.default_rng(1).normal(size=(~phantom.brain).sum())
    image[0, 0, :2] = np.nan, np.inf
    corrected = correct(image, phantom.brain, replace(QUICK, backend=backend))
    np.testing.assert_array_equal(corrected[~phantom.brain], image[~phantom.brain])
    inside, before = corrected[phantom.brain], image[phantom.brain]
    assert np.abs(inside / before - 1).max() > 0.05
    assert np.log(inside).mean(dtype=float) == pytest.approx(np.log(before).mean(dtype=float), abs=1e-5)


@BOTH
@pytest.mark.parametrize("value", [0, -20, np.nan, np.inf])
def test_values_without_a_logarithm_take_no_part(phantom: Phantom, value: float, backend: Backend) -> None:
    options = replace(QUICK, backend=backend)
    holes = phantom.brain & (np.random.default_rng(2).random(phantom.brain.shape) < 0.1)
    image = phantom.image.copy()
    image[holes] = value
    with_holes = log_field(image, phantom.brain, options)
    without = log_field(phantom.image, phantom.brain & ~holes, options)
    np.testing.assert_array_equal(with_holes, without)
    corrected = correct(image, phantom.brain, options)
    assert np.isfinite(corrected[phantom.brain & ~holes]).all()


@BOTH
def test_field_is_that_of_simpleitk(shared: Path, backend: Backend) -> None:
    golden = np.load(shared / "golden/n4/n4_golden.npz")
    mask, shrunk_mask = golden["mask"] > 0, golden["shrunk_mask"] > 0
    field = log_field(golden["image"], mask, N4(backend=backend, shrink=2), spacing_mm=golden["spacing"])
    # A shrink by two takes the voxels 1, 3, 5, …
    found = field[1::2, 1::2, 1::2][shrunk_mask]
    ratio = golden["shrunk_image"][shrunk_mask] / golden["sitk_corrected_shrunk_thr1e-3"][shrunk_mask]
    difference = found - np.log(ratio)
    assert np.abs(difference).max() < 1e-3
    assert np.abs(difference - difference.mean()).max() < 1e-3
    assert np.corrcoef(field[mask], golden["true_log_field"][mask])[0, 1] > 0.925  # SimpleITK's stretched one


@pytest.fixture
def itk() -> Iterator[ModuleType]:
    """ITK, whose modules crash Python when they load while warnings are errors."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        yield importlib.import_module("itk")


def itk_filter(name: str, types: str) -> Any:
    return getattr(importlib.import_module(f"itk.{name}Python"), name + types).New()


@BOTH
@pytest.mark.slow
def test_unshrunk_field_is_image_over_output_of_the_filter(phantom: Phantom, itk: ModuleType, backend: Backend) -> None:
    image, mask = phantom.image[::2, ::2, ::2], phantom.brain[::2, ::2, ::2]
    options = N4(
        backend=backend,
        shrink=1,
        iterations=(4, 3),
        tolerance=0,
        spline_control_points=5,
        histogram_bins=150,
        fwhm=0.2,
        wiener_noise=0.02,
    )
    field = log_field(image, mask, options)

    n4 = itk_filter("itkN4BiasFieldCorrectionImageFilter", "IF3IUC3IF3")
    n4.SetInput(itk.image_from_array(np.ascontiguousarray(image.T)))
    n4.SetMaskImage(itk.image_from_array(np.ascontiguousarray(mask.T, np.uint8)))
    n4.SetNumberOfFittingLevels(2)
    n4.SetMaximumNumberOfIterations([4, 3])
    n4.SetConvergenceThreshold(0)
    n4.SetNumberOfControlPoints(5)
    n4.SetNumberOfHistogramBins(150)
    n4.SetBiasFieldFullWidthAtHalfMaximum(0.2)
    n4.SetWienerFilterNoise(0.02)
    n4.Update()
    corrected = itk.array_from_image(n4.GetOutput()).T
    np.testing.assert_allclose(field[mask], np.log(image[mask] / corrected[mask]), atol=1e-4)


@BOTH
@pytest.mark.slow
def test_field_hardly_depends_on_the_number_of_threads(phantom: Phantom, backend: Backend) -> None:
    one, three = (log_field(phantom.image, phantom.brain, N4(backend=backend, threads=threads)) for threads in (1, 3))
    np.testing.assert_allclose(three[phantom.brain], one[phantom.brain], atol=1e-4)


def test_both_get_their_own_number_of_threads_back(phantom: Phantom, itk: ModuleType) -> None:
    image = phantom.image
    before = itk.MultiThreaderBase.GetGlobalDefaultNumberOfThreads(), torch.get_num_threads()
    log_field(image, phantom.brain, N4(backend="itk", iterations=(1,), threads=max(before) + 1))
    with pytest.raises(ValueError, match="inside the mask"):
        log_field(-image, phantom.brain, N4(threads=max(before) + 1))
    assert (itk.MultiThreaderBase.GetGlobalDefaultNumberOfThreads(), torch.get_num_threads()) == before


class Repeated(Dataset[torch.Tensor]):
    """The corrected phantom, four times."""

    def __init__(self, phantom: Phantom, backend: Backend) -> None:
        self.phantom = phantom
        self.options = replace(QUICK, backend=backend)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        image, brain = self.phantom.image, self.phantom.brain
        return torch.from_numpy(log_field(image, brain, self.options))


@BOTH
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_workers_work_after_their_parent_did(phantom: Phantom, backend: Backend) -> None:
    repeated = Repeated(phantom, backend)
    expected = repeated[0]
    loader = DataLoader(repeated, None, num_workers=2, multiprocessing_context="fork", timeout=60)
    fields = list(loader)
    assert len(fields) == 4
    assert all(torch.equal(field, expected) for field in fields)


@BOTH
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux lists them")
def test_one_thread_starts_no_pool_that_a_fork_could_break(backend: Backend) -> None:
    script = """
import os, sys, torch
from brats_lightning.data.bias_field import N4, log_bias_field
image = torch.rand(1, 64, 64, 64) + 1
counts = [len(os.listdir("/proc/self/task"))]
for threads in (1, 4):
    options = N4(backend=sys.argv[1], shrink=1, iterations=(2,), threads=threads)
    log_bias_field(image, image[0] > 0, options, spacing_mm=(1, 1, 1))
    counts.append(len(os.listdir("/proc/self/task")))
print(*counts)
"""
    done = subprocess.run([sys.executable, "-c", script, backend], capture_output=True, text=True, check=True)
    before, with_one, with_four = map(int, done.stdout.split())
    assert with_one == before < with_four


@pytest.mark.parametrize(
    ("shrink", "spacing_mm", "factors"),
    [
        (4, (1, 1, 1), (4, 4, 4)),
        (4, (0.9, 0.9, 5.5), (4, 4, 1)),
        (3, (5.0, 1.2, 1.0), (1, 3, 3)),
        (4, (1, 1, 1.9), (4, 4, 4)),
        ((2, 3, 4), (1, 1, 9), (2, 3, 4)),
    ],
)
def test_one_number_spares_thick_slices(
    shrink: int | tuple[int, int, int], spacing_mm: tuple[float, ...], factors: tuple[int, ...]
) -> None:
    assert N4(shrink=shrink).shrink_factors(spacing_mm) == factors


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"backend": "ants"}, "backend is ants: expected torch or itk"),
        ({"shrink": 0}, "shrink is 0"),
        ({"shrink": (4, 4)}, r"shrink is \(4, 4\): expected one or three numbers"),
        ({"iterations": ()}, "iterations"),
        ({"iterations": (50, 0)}, "iterations"),
        ({"tolerance": -1e-3}, "tolerance"),
        ({"spline_control_points": 3}, "spline_control_points is 3: expected a number above 3"),
        ({"histogram_bins": 1}, "histogram_bins"),
        ({"fwhm": 0.0}, "fwhm"),
        ({"wiener_noise": 0.0}, "wiener_noise"),
        ({"threads": 0}, "threads"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        N4(**options)


def test_options_are_yaml_keys() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(BiasFieldCorrectiond, "n4")
    config = parser.parse_object(
        {"n4": {"channels": [0, 2], "options": {"backend": "itk", "shrink": [4, 4, 1], "iterations": [9, 9]}}}
    )
    assert N4(**config.n4.options.as_dict()) == N4(backend="itk", shrink=(4, 4, 1), iterations=(9, 9))
    assert list(config.n4.channels) == [0, 2]


@BOTH
def test_images_that_cannot_be_fitted_are_refused(backend: Backend) -> None:
    options = N4(backend=backend)
    image = np.ones((8, 8, 8), np.float32)
    everywhere = image > 0
    with pytest.raises(ValueError, match="one \\(X, Y, Z\\) shape"):
        log_field(image, everywhere[:4], options)
    with pytest.raises(ValueError, match="too small to shrink"):
        log_field(image, everywhere, replace(options, shrink=5))
    with pytest.raises(ValueError, match="too small to shrink"):
        log_field(image[..., :1], everywhere[..., :1], replace(options, shrink=(2, 2, 1)))
    for nothing in (image, ~everywhere), (-image, everywhere), (np.full_like(image, np.nan), everywhere):
        with pytest.raises(ValueError, match="inside the mask and positive"):
            log_field(*nothing, options)


@BOTH
def test_a_constant_image_has_no_field(backend: Backend) -> None:
    image = np.full((16, 16, 16), 7, np.float32)
    assert not log_field(image, image > 0, N4(backend=backend)).any()
    image[1:, 1:, 1:] = 0
    image[2, 2, 2] = 3  # one voxel that counts
    assert not log_field(image, image == 3, N4(backend=backend, shrink=1)).any()


def sample_of(phantom: Phantom, affine: torch.Tensor) -> dict[str, Any]:
    channels = torch.from_numpy(np.stack([phantom.image, 2 * phantom.image, phantom.image]).round())
    brain = torch.from_numpy(phantom.brain[None])
    return {"image": MetaTensor(channels.to(torch.int16), affine), "brain": brain, "case": "phantom"}


def test_transform_corrects_the_named_channels_and_keeps_the_rest(phantom: Phantom) -> None:
    affine = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    sample = sample_of(phantom, affine)
    before = sample["image"].clone()
    corrected = BiasFieldCorrectiond("image", channels=(0, 1), options=QUICK)(sample)
    image = corrected["image"]
    assert isinstance(image, MetaTensor)
    assert image.dtype == torch.float32
    assert torch.equal(image.affine, affine)
    assert torch.equal(sample["image"].as_tensor(), before.as_tensor())
    assert torch.equal(image[2].as_tensor(), before[2].as_tensor().float())
    for channel in (0, 1):
        expected = correct(before[channel].numpy().astype(np.float32), phantom.brain, QUICK)
        np.testing.assert_array_equal(image[channel].numpy(), expected)
    assert corrected["case"] == "phantom"


def test_transform_takes_the_spacing_from_the_affine(phantom: Phantom) -> None:
    thick = torch.diag(torch.tensor([1.0, 1.0, 6.0, 1.0], dtype=torch.float64))
    sample = sample_of(phantom, thick)
    image = BiasFieldCorrectiond(channels=[0], options=QUICK)(sample)["image"][0].numpy()
    per_axis = N4(shrink=(4, 4, 1), iterations=QUICK.iterations)
    stored = sample["image"][0].numpy().astype(np.float32)
    np.testing.assert_array_equal(image, correct(stored, phantom.brain, per_axis))


def test_transform_takes_plain_arrays_with_their_spacing(phantom: Phantom) -> None:
    sample = {"image": phantom.image[None], "brain": phantom.brain[None], "spacing_mm": (1.0, 1.0, 6.0)}
    image = BiasFieldCorrectiond(options=QUICK)(sample)["image"]
    assert isinstance(image, np.ndarray)
    np.testing.assert_array_equal(image[0], correct(phantom.image, phantom.brain, QUICK, spacing_mm=(1, 1, 6)))


def test_transform_takes_arrays_as_files_hold_them(phantom: Phantom) -> None:
    turned = phantom.image[None, ::-1].round().astype(np.uint16)
    turned.flags.writeable = False
    sample = {"image": turned[:, ::-1], "brain": phantom.brain[None].astype(np.uint8)}
    image = BiasFieldCorrectiond(options=QUICK)(sample)["image"]
    np.testing.assert_array_equal(image[0], correct(phantom.image.round(), phantom.brain, QUICK))


def test_transform_without_channels_changes_nothing(phantom: Phantom) -> None:
    sample = sample_of(phantom, torch.eye(4))
    image = BiasFieldCorrectiond(channels=(), options=QUICK)(sample)["image"]
    assert torch.equal(image.as_tensor(), sample["image"].as_tensor().float())


def test_transform_refuses_a_channel_that_is_not_there(phantom: Phantom) -> None:
    with pytest.raises(ConfigError, match="no channel 4 to correct: image has 0 to 2"):
        BiasFieldCorrectiond(channels=(4,), options=QUICK)(sample_of(phantom, torch.eye(4)))
