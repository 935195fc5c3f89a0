"""`brats predict` on pictures of single slices: figshare's MATLAB files, PNG, JPEG and NIfTI."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from brats_lightning.cli import main
from brats_lightning.data.cache import CaseCache
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.homes import MemoryHome
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.data.reading import read_case
from brats_lightning.errors import ConfigError, DatasetError
from brats_lightning.inference.loading import cases_to_predict, common_name
from brats_lightning.inference.restore import Placement
from brats_lightning.inference.results import ResultFolder, Wanted
from brats_lightning.inference.segmenter import Segmentation
from brats_lightning.labels import MASK, MODALITIES, WHOLE, Modality

Write = Callable[..., Path]
T1C: tuple[Modality, ...] = ("t1c",)
AS_READ = Preprocessing(modalities=T1C, crop=False, size=None)
SHAPE = (24, 20)
TUMOUR = (slice(12, 17), slice(3, 7))


def point(channels: int) -> dict[str, Any]:
    arguments = {"in_channels": 1, "out_channels": channels, "kernel_size": 1}
    return {"class_path": "torch.nn.Conv3d", "init_args": arguments}


def bright(network: nn.Module) -> None:
    """The last channel is what lies more than 1.5 deviations above the mean."""
    assert isinstance(network, nn.Conv3d)
    assert network.bias is not None
    with torch.no_grad():
        network.weight.zero_()
        network.bias.zero_()
        network.weight[-1] = 1.0
        network.bias[-1] = -1.5


@pytest.fixture
def checkpoint(write_checkpoint: Write) -> Path:
    settings = {"network": point(1), "regions": ["WT"], "outputs": "tumour"}
    return write_checkpoint(
        network=point(1), preprocessing=AS_READ, regions=["WT"], change=bright, hyper_parameters=settings
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """One picture in three formats, with a bright tumour that lies off any centre."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(1, 60, SHAPE).astype(np.uint8)
    pixels[TUMOUR] += 180
    Image.fromarray(pixels).save(folder / "png.png")
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(folder / "jpeg.jpg", quality=100, subsampling=0)
    affine = np.diag([-0.5, -0.75, 5.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(pixels.T, affine), folder / "two.nii.gz")
    nibabel.save(nibabel.Nifti1Image(pixels.T[..., None], affine), folder / "three.nii.gz")
    return folder


def predict(*arguments: object, checkpoint: Path, output: Path) -> dict[str, Any]:
    main(["predict", *map(str, arguments), "--checkpoint", str(checkpoint), "--output", str(output), "--workers", "0"])
    summary: dict[str, Any] = json.loads((output / "predictions.json").read_text())
    return summary


def mask_in(path: Path) -> Any:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image)


def test_a_folder_of_pictures_gets_masks_of_their_pixels(pictures: Path, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    summary = predict(pictures, checkpoint=checkpoint, output=output)
    assert summary["failed"] == {}
    assert set(summary["cases"]) == {"png", "jpeg", "two", "three"}
    assert {path.name for path in output.glob("*.png")} == {"png.png", "jpeg.png"}
    expected = np.zeros(SHAPE, np.uint8)
    expected[TUMOUR] = 1
    for case, record in summary["cases"].items():
        label = nibabel.load(output / f"{case}.nii.gz")
        assert label.shape == ((20, 24) if case == "two" else (20, 24, 1))
        np.testing.assert_array_equal(np.asarray(label.dataobj).reshape(20, 24).T, expected)
        assert record["labels"] == MASK
        if case in {"png", "jpeg"}:
            assert "no pixel size in the file, 1 mm taken" in record["notes"]
            np.testing.assert_array_equal(mask_in(output / f"{case}.png"), expected * 255)
            np.testing.assert_array_equal(label.affine, np.diag([-1, -1, 1, 1]))
        else:
            np.testing.assert_array_equal(label.affine, nibabel.load(pictures / f"{case}.nii.gz").affine)


def test_a_second_call_goes_on_and_a_mask_that_is_gone_is_made_again(
    pictures: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = pictures / "out"  # among the pictures, whose results are none
    predict(pictures, checkpoint=checkpoint, output=output)
    (output / "png.png").unlink()
    capsys.readouterr()
    predict(pictures, checkpoint=checkpoint, output=output)
    assert "1 case predicted" in (said := capsys.readouterr().out)
    assert "3 were finished before" in said
    assert (output / "png.png").is_file()


@pytest.mark.parametrize("name", ["png.png", "jpeg.jpg", "two.nii.gz", "three.nii.gz"])
def test_one_file_is_a_case(pictures: Path, checkpoint: Path, tmp_path: Path, name: str) -> None:
    case = name.partition(".")[0]
    assert list(predict(pictures / name, checkpoint=checkpoint, output=tmp_path / "a")["cases"]) == [case]
    assert list(predict("--t1c", pictures / name, checkpoint=checkpoint, output=tmp_path / "b")["cases"]) == [case]
    arguments = (pictures / name, "--case", "anna")
    assert list(predict(*arguments, checkpoint=checkpoint, output=tmp_path / "c")["cases"]) == ["anna"]
    assert (tmp_path / "a" / f"{case}.nii.gz").read_bytes() == (tmp_path / "b" / f"{case}.nii.gz").read_bytes()


def test_a_matlab_file_is_a_case(write_figshare: Write, checkpoint: Path, tmp_path: Path) -> None:
    file = write_figshare("17.mat")
    summary = predict(file, checkpoint=checkpoint, output=tmp_path / "out")
    assert list(summary["cases"]) == ["17"]
    with h5py.File(file) as content:
        expected = content["cjdata/tumorMask"][()].T * 255
    np.testing.assert_array_equal(mask_in(tmp_path / "out" / "17.png"), expected)


def test_a_network_of_tissues_writes_their_values(
    write_checkpoint: Write, write_figshare: Write, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(network=point(4), preprocessing=AS_READ, change=bright)
    summary = predict(write_figshare("17.mat"), checkpoint=checkpoint, output=tmp_path / "out")
    assert summary["cases"]["17"]["labels"] == "2023"
    assert set(np.unique(mask_in(tmp_path / "out" / "17.png")).tolist()) == {0, 3}


def test_bad_pictures_stop_no_other(
    write_figshare: Write, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_figshare("1.mat").parent
    write_figshare("2.mat", image=np.full(SHAPE, 3))
    (folder / "3.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(SystemExit):
        predict(folder, checkpoint=checkpoint, output=tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert list(summary["cases"]) == ["1"]
    assert set(summary["failed"]) == {"2", "3"}
    assert "3.mat: a file of MATLAB's version 7 or older where 7.3 is expected; save it with -v7.3" in (
        capsys.readouterr().err
    )


def test_pictures_are_not_overwritten_by_their_results(
    pictures: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in pictures.iterdir()}
    for cases in (pictures, pictures / "png.png"):
        with pytest.raises(SystemExit):
            predict(cases, checkpoint=checkpoint, output=pictures)
        assert "would be overwritten by its own result: give another --output" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in pictures.iterdir()} == before


def meant(path: Path, **more: Any) -> tuple[Case, ...]:
    options = {"case": None, "modalities": T1C, "edition": None, **more}
    return cases_to_predict(path, dict.fromkeys(MODALITIES), **options).cases


def test_a_file_that_cannot_be_meant_is_refused(pictures: Path, write_case: Write, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"png\.png is one modality, and the networks need t1n, t1c: .*--t1n --t1c"):
        meant(pictures / "png.png", modalities=("t1n", "t1c"))
    with pytest.raises(ConfigError, match=r"no file .*absent\.mat"):
        meant(pictures / "absent.mat")
    (pictures / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"no folder .*notes\.txt"):
        meant(pictures / "notes.txt")
    folder = write_case()
    assert meant(folder / "BraTS2021_00001_t1ce.nii.gz")[0].id == "BraTS2021_00001"
    with pytest.raises(ConfigError, match=r"BraTS2021_00001_flair\.nii\.gz is not t1c by its name"):
        meant(folder / "BraTS2021_00001_flair.nii.gz")
    with pytest.raises(ConfigError, match="edition '2050' is unknown"):
        meant(pictures / "png.png", edition="2050")
    (pictures / "of slices.png").mkdir()
    shutil.copy(pictures / "png.png", pictures / "of slices.png" / "a (1).png")
    assert [case.id for case in meant(pictures / "of slices.png")] == ["a (1)"]
    assert [case.id for case in meant(pictures / "of slices.png" / "a (1).png")] == ["a (1)"]


@pytest.mark.parametrize(
    ("name", "case"),
    [("slice_07.nii.gz", "slice_07"), ("1.mat", "1"), ("a-t1c.nii", "a"), ("t1c.nii.gz", None), ("a.b.png", "a.b")],
)
def test_a_file_alone_gives_its_name(name: str, case: str | None) -> None:
    assert common_name([name]) == case


def write_back(case: Case, preprocessing: Preprocessing, output: Path) -> Any:
    """The PNG that is written where a network gives its target, by way of cache and native grid."""
    sample = CaseCache(preprocessing, MemoryHome()).get(case)
    assert sample.label is not None
    placement = Placement.between(sample.grid, sample.native)
    probabilities = torch.cat([sample.label == 0, sample.label == WHOLE])
    restored = placement.resample(probabilities)
    labels = (restored.argmax(dim=0) * WHOLE).to(torch.uint8).numpy()
    results = ResultFolder(output, key="", overwrite=True)
    results.write(
        case,
        Segmentation(labels, restored, placement),
        Wanted(),
        like=case.files[0],
        regions={"WT": (WHOLE,)},
        seconds={},
        notes=(),
    )
    return mask_in(output / f"{case.id}.png")


@pytest.mark.parametrize("crop", [True, False])
def test_a_label_map_with_an_axis_of_one_voxel_comes_back_exactly(
    write_figshare: Write, tmp_path: Path, *, crop: bool
) -> None:
    image = np.zeros(SHAPE, np.int16)
    image[3:21, 2:15] = np.random.default_rng(0).integers(1, 99, (18, 13))
    mask = np.zeros(SHAPE, np.uint8)
    mask[TUMOUR] = 1
    (case,) = find_cases(write_figshare(image=image, mask=mask).parent, modalities=T1C).cases
    preprocessing = Preprocessing(modalities=T1C, crop=crop, size=None)
    np.testing.assert_array_equal(write_back(case, preprocessing, tmp_path / "out"), mask * 255)


def test_resampled_slices_come_back_to_their_own_pixels(write_figshare: Write, tmp_path: Path) -> None:
    (case,) = find_cases(write_figshare().parent, modalities=T1C).cases
    with h5py.File(case.files[0]) as file:
        mask = file["cjdata/tumorMask"][()].T * 255
    for size in ((40, 48, None), (40, 48, 1)):  # twice as many pixels, which is undone exactly
        preprocessing = Preprocessing(modalities=T1C, crop=False, size=size)
        np.testing.assert_array_equal(write_back(case, preprocessing, tmp_path / "out"), mask)


def test_real_masks_come_back_bit_for_bit(shared: Path, tmp_path: Path) -> None:
    cases = find_cases(shared / "data" / "figshare", modalities=T1C).cases
    for case in cases[::4]:
        with h5py.File(case.files[0]) as file:
            mask = file["cjdata/tumorMask"][()].T
        np.testing.assert_array_equal(write_back(case, AS_READ, tmp_path / "out"), mask * 255)


def test_real_slices_are_predicted(shared: Path, checkpoint: Path, tmp_path: Path) -> None:
    """What is bright in a head is no tumour, but it is known where it is."""
    folder = tmp_path / "two"
    folder.mkdir()
    for name in ("1.mat", "1887.mat"):
        (folder / name).symlink_to((shared / "data" / "figshare" / name).resolve())
    summary = predict(folder, checkpoint=checkpoint, output=tmp_path / "out")
    assert set(summary["cases"]) == {"1", "1887"}
    for case in find_cases(folder, modalities=T1C).cases:
        image = AS_READ(case).image[0, ..., 0].numpy()[::-1, ::-1].T
        mask = mask_in(tmp_path / "out" / f"{case.id}.png") == 255
        np.testing.assert_array_equal(mask, image >= 1.5)
        assert 100 < mask.sum() < mask.size / 2
        assert np.asarray(nibabel.load(tmp_path / "out" / f"{case.id}.nii.gz").dataobj).sum() == mask.sum()


def test_a_picture_of_several_modalities_is_read_from_several_files(pictures: Path) -> None:
    files = {**dict.fromkeys(MODALITIES), "t1n": pictures / "png.png", "t1c": pictures / "jpeg.jpg"}
    (case,) = cases_to_predict(None, files, case="anna", modalities=("t1n", "t1c"), edition=None).cases
    volumes = read_case(case, modalities=("t1n", "t1c"))
    assert volumes.image.shape == (2, 20, 24, 1)
    assert "png.png: no pixel size in the file, 1 mm taken" in volumes.notes
    with pytest.raises(DatasetError, match="the file is not there"):
        read_case(Case("a", "a", MASK, {"t1c": pictures / "absent.png"}), modalities=T1C)
