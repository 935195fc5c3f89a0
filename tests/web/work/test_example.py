from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from brats_lightning.errors import BratsError
from brats_lightning.web.records import Network
from brats_lightning.web.work import example
from brats_lightning.web.work.example import example_files

SIZE = (48, 48, 40)
VOLUMES = Network(name="four", modalities=["t1n", "t1c", "t2w", "t2f"], regions=["WT"], slices=False)
SLICES = Network(name="one", modalities=["t1c"], regions=["WT"], slices=True)


class Here:
    """A process that is this one."""

    def __init__(self, target: object, args: tuple[object, ...]) -> None:
        self.target, self.args = target, args

    def start(self) -> None:
        if callable(self.target):
            self.target(*self.args)

    def join(self) -> None:
        pass


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "get_context", lambda _: type("Context", (), {"Process": Here}))


def test_volumes_have_four_modalities_a_reference_and_say_that_they_are_synthetic(tmp_path: Path) -> None:
    files = example_files(tmp_path / "example", [SLICES, VOLUMES], size=SIZE)
    assert list(files) == ["t1n", "t1c", "t2w", "t2f", "seg"]
    for kind, path in files.items():
        image = nibabel.load(path)
        assert image.shape == SIZE
        assert path.name == f"synthetic-phantom_{kind}.nii.gz"
        assert b"synthetic" in image.header["descrip"].tobytes()
    assert set(np.unique(np.asarray(nibabel.load(files["seg"]).dataobj))) == {0, 1, 2, 4}


def test_networks_of_slices_get_a_picture_with_a_mask_of_its_size(tmp_path: Path) -> None:
    files = example_files(tmp_path, [SLICES], size=SIZE)
    assert list(files) == ["t1c", "seg"]
    picture, mask = (np.asarray(Image.open(path)) for path in files.values())
    assert picture.shape == mask.shape == (48, 48)
    assert picture.max() == 255
    assert set(np.unique(mask)) == {0, 255}


def test_it_is_made_once_and_a_half_made_one_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".volumes-1").mkdir()
    first = example_files(tmp_path, [VOLUMES], size=SIZE)
    monkeypatch.setattr(Here, "start", Here.join)
    assert example_files(tmp_path, [VOLUMES], size=SIZE) == first
    with pytest.raises(BratsError, match="the example could not be made"):
        example_files(tmp_path, [SLICES], size=SIZE)
