"""Fixtures that several rooms share."""

import csv
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from brats_lightning.labels import CASE, IMAGE, LABEL, SPACING
from brats_lightning.phantom.folder import phantom

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Small volumes on several threads spend their time waiting for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
SHARED = Path(__file__).parents[1] / ".." / "shared"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_ARGUMENTS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
NO_WEBGL2 = "HTMLCanvasElement.prototype.getContext = () => null;"
"""A script that takes WebGL2 from a page."""
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
WriteCase = Callable[..., Path]
WriteScores = Callable[..., Path]
WriteLabels = Callable[..., Path]
WriteFigshare = Callable[..., Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest, and waits more than it computes, begins first."""
    items.sort(key=lambda item: item.path.name != "test_slurm.py")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real cases and reference values beside the checkout; tests that need it are skipped without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the real cases and reference values in ../shared, which are absent here")
    return SHARED


def brain_and_tumour(
    shape: tuple[int, int, int], values: Sequence[int], seed: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Four images (4, X, Y, Z) of a ball of noise, and nested boxes that hold the label values, outermost first."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    ball = np.sum(np.square(axes), axis=0) < 0.8
    images = (generator.integers(100, 1000, (4, *shape)) * ball).astype(np.int16)
    label = np.zeros(shape, np.uint8)
    for depth, value in enumerate(values):
        box = tuple(slice(size // 3 + depth, size // 3 + 2 * len(values) + 2 - depth) for size in shape)
        label[box] = value
        images[(slice(None), *box)] += np.int16(300 * (depth + 1))
    label[~ball] = 0
    images *= ball.astype(np.int16)
    return images, label


@pytest.fixture
def write_case(tmp_path: Path) -> WriteCase:
    """Writes one small case in any edition's naming below `tmp_path / "cases"` and returns its folder."""

    def write(
        case: str = "BraTS2021_00001",
        *,
        names: Sequence[str] = ("_t1", "_t1ce", "_t2", "_flair"),
        label: str | None = "_seg",
        values: Sequence[int] = (2, 4, 1),
        shape: tuple[int, int, int] = (20, 22, 18),
        ending: str = ".nii.gz",
        folder: str = "",
        affine: npt.NDArray[Any] = LPS,
        seed: int = 0,
    ) -> Path:
        target = tmp_path / "cases" / folder / case
        target.mkdir(parents=True, exist_ok=True)
        images, labels = brain_and_tumour(shape, values, seed)
        for name, image in zip(names, images, strict=True):
            nibabel.save(nibabel.Nifti1Image(image, affine), target / f"{case}{name}{ending}")
        if label is not None:
            nibabel.save(nibabel.Nifti1Image(labels, affine), target / f"{case}{label}{ending}")
        return target

    return write


@pytest.fixture
def write_decathlon(tmp_path: Path) -> Callable[[], Path]:
    """Writes two small cases as the Medical Segmentation Decathlon's Task01 and returns the folder."""

    def write() -> Path:
        root = tmp_path / "Task01_BrainTumour"
        for part in ("imagesTr", "labelsTr", "imagesTs"):
            (root / part).mkdir(parents=True)
        for seed, part in ((1, "imagesTr"), (2, "imagesTs")):
            images, labels = brain_and_tumour((20, 22, 18), (1, 3, 2), seed)
            flair_t1_t1c_t2 = np.stack([images[3], images[0], images[1], images[2]], axis=-1)
            path = root / part / f"BRATS_{seed:03}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(flair_t1_t1c_t2, LPS), path)
            (root / part / f"._{path.name}").write_bytes(b"shadow")
            if part == "imagesTr":
                nibabel.save(nibabel.Nifti1Image(labels, LPS), root / "labelsTr" / path.name)
        description = {
            "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
            "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
        }
        (root / "dataset.json").write_text(json.dumps(description))
        return root

    return write


@pytest.fixture
def write_figshare(tmp_path: Path) -> WriteFigshare:
    """Writes one small slice as figshare 1512427 has them below `tmp_path / "slices"` and returns its file.

    Image and mask are (rows, columns), as MATLAB shows them; the tumour is what is brightest.
    """

    def write(
        name: str = "1.mat",
        *,
        image: npt.NDArray[Any] | None = None,
        mask: npt.NDArray[Any] | None = None,
        patient: str | None = "100360",
        shape: tuple[int, int] = (24, 20),
        seed: int = 0,
        change: Callable[[Any], None] | None = None,
    ) -> Path:
        import h5py  # noqa: PLC0415 - not every test shall wait for it

        path = tmp_path / "slices" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if mask is None:
            mask = np.zeros(shape, np.uint8)
            mask[shape[0] // 2 : shape[0] // 2 + 5, 3:7] = 1
        if image is None:
            image = np.random.default_rng(seed).integers(1, 500, mask.shape).astype(np.int16)
            image[mask == 1] += 1000
        with h5py.File(path, "w", userblock_size=512) as file:
            content = file.create_group("cjdata")
            content["image"], content["tumorMask"], content["label"] = image.T, mask.T, [[1.0]]
            if patient is not None:
                content["PID"] = np.array([[ord(letter)] for letter in patient], np.uint16)
            if change:
                change(content)
        with path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64".ljust(124) + b"\x00\x02IM")
        return path

    return write


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of six small synthetic cases."""
    folder = tmp_path_factory.mktemp("phantoms") / "cases"
    phantom(folder, cases=6, size=(48, 48, 31), workers=1)
    return folder


@pytest.fixture
def write_score_file(tmp_path: Path) -> WriteScores:
    """Writes a score file below `tmp_path` from the numbers of each case, the same in every region given."""

    def write(
        name: str,
        numbers: Mapping[str, float | Sequence[float]],
        *,
        columns: Sequence[str] = ("dice",),
        regions: Sequence[str] = ("ET",),
        **words: str,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        words = {"empty_masks": "brats", "distances": "directed", "grid": "native"} | words
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "region", *columns, *words])
            for case, values in numbers.items():
                row = [values] if isinstance(values, int | float) else list(values)
                for region in regions:
                    writer.writerow([case, region, *row, *words.values()])
        return path

    return write


@pytest.fixture
def write_labels(tmp_path: Path) -> WriteLabels:
    """Writes a label map below `tmp_path`: boxes of one label each on a small grid of 1 mm, or a whole array."""

    def write(
        name: str,
        boxes: Mapping[int, tuple[slice, slice, slice]] | npt.NDArray[Any],
        *,
        shape: tuple[int, int, int] = (8, 9, 10),
        affine: npt.NDArray[Any] = LPS,
        dtype: type = np.uint8,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(boxes, np.ndarray):
            array = boxes
        else:
            array = np.zeros(shape, dtype)
            for value, box in boxes.items():
                array[box] = value
        nibabel.save(nibabel.Nifti1Image(array, affine), path)
        return path

    return write


@pytest.fixture
def cases_of() -> Callable[..., Any]:
    """Makes a loader of random cases as a module gets them, every label of which is somewhere."""
    import torch  # noqa: PLC0415 - not every test shall wait for it
    from torch.utils.data import DataLoader  # noqa: PLC0415

    def make(
        count: int = 4, *, size: int = 8, labels: Sequence[int] = (0, 1, 2, 3), batch_size: int = 2
    ) -> "DataLoader[dict[str, Any]]":
        generator = torch.Generator().manual_seed(0)
        samples: Any = []
        for case in range(count):
            chosen = torch.randint(len(labels), (1, size, size, size), generator=generator)
            label = torch.tensor(labels, dtype=torch.uint8)[chosen]
            image = torch.randn((4, size, size, size), generator=generator) + label
            samples.append({IMAGE: image, LABEL: label, CASE: f"case-{case}", SPACING: torch.ones(3)})
        return DataLoader(samples, batch_size=batch_size)

    return make


@pytest.fixture
def trainer_of(tmp_path: Path) -> Callable[..., Any]:
    """Makes a trainer that says nothing."""
    from pytorch_lightning import Trainer  # noqa: PLC0415 - not every test shall wait for it

    def make(**settings: Any) -> Trainer:
        quiet: dict[str, Any] = {
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "num_sanity_val_steps": 0,
            "max_epochs": 1,
            "default_root_dir": tmp_path,
        }
        return Trainer(**(quiet | settings))

    return make


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """This machine's Chromium without a window; tests are skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright, which is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("needs Chromium, which is not on this machine")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=BROWSER_ARGUMENTS)
        yield opened
        opened.close()
