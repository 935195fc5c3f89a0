import json
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from brats_lightning.errors import ConfigError
from brats_lightning.labels import EDITIONS
from brats_lightning.nifti import read_labels, read_volume
from brats_lightning.phantom import folder as folder_module
from brats_lightning.phantom.folder import NOTE, phantom
from brats_lightning.phantom.scanner import make_phantom

SIZE = (24, 24, 16)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_case_on_disk_is_the_case_in_memory(tmp_path: Path) -> None:
    folder = phantom(tmp_path / "set", cases=2, seed=4, size=SIZE, workers=1)[1]
    made = make_phantom(4, index=1, size=SIZE)
    assert folder.name == "BraTS2021_90001"
    kinds = ("t1", "t1ce", "t2", "flair", "bias", "seg")
    assert {path.name for path in folder.iterdir()} == {f"BraTS2021_90001_{kind}.nii.gz" for kind in kinds}
    volumes = [read_volume(folder / f"{folder.name}_{kind}.nii.gz") for kind in kinds]
    for volume, array in zip(volumes, [*made.images, made.bias], strict=False):
        np.testing.assert_array_equal(volume.array, array)
        assert volume.array.dtype == array.dtype
        assert volume.grid.distance_mm(made.grid) < 1e-4
    label = read_labels(folder / f"{folder.name}_seg.nii.gz").array
    assert set(np.unique(label)) <= {0, 1, 2, 4}
    np.testing.assert_array_equal(EDITIONS["2021"].decode(label), made.label)


def test_everything_says_that_it_is_synthetic(tmp_path: Path) -> None:
    folder = phantom(tmp_path / "set", cases=1, seed=7, size=SIZE, workers=1)[0]
    note = json.loads((tmp_path / "set" / NOTE).read_text())
    assert "synthetic" in note["note"]
    assert note["options"]["seed"] == 7
    assert note["generation"] >= 1
    for path in folder.iterdir():
        assert b"synthetic" in nibabel.load(path).header["descrip"].tobytes()


@pytest.mark.slow
def test_files_depend_on_neither_count_nor_workers_nor_time(tmp_path: Path) -> None:
    phantom(tmp_path / "one", cases=1, size=SIZE, workers=1)
    phantom(tmp_path / "two", cases=2, size=SIZE, workers=2)
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    assert len(one) == 7
    assert len(two) == 13
    assert one == {name: content for name, content in two.items() if name in one}


def test_a_stopped_call_goes_on_and_keeps_what_is_finished(tmp_path: Path) -> None:
    first, second = phantom(tmp_path, cases=2, size=SIZE, workers=1)
    whole = contents(tmp_path)
    kept = first / f"{first.name}_t1.nii.gz"
    os.utime(kept, (1, 1))
    second.rename(tmp_path / f".{second.name}")  # as a stopped call leaves it: hidden, some files missing
    (tmp_path / f".{second.name}" / f"{second.name}_t2.nii.gz").unlink()
    phantom(tmp_path, cases=2, size=SIZE, workers=1)
    assert contents(tmp_path) == whole
    assert kept.stat().st_mtime == 1


def test_a_case_that_lost_a_file_is_written_again(tmp_path: Path) -> None:
    folder = phantom(tmp_path, cases=1, size=SIZE, workers=1)[0]
    whole = contents(tmp_path)
    (folder / f"{folder.name}_seg.nii.gz").unlink()
    phantom(tmp_path, cases=1, size=SIZE, workers=1)
    assert contents(tmp_path) == whole


def test_without_labels_only_the_segmentation_is_missing(tmp_path: Path) -> None:
    folder = phantom(tmp_path, cases=1, size=SIZE, labelled=False, workers=1)[0]
    assert len(list(folder.iterdir())) == 5
    assert not list(folder.glob("*_seg*"))


def test_other_options_do_not_mix_in_one_folder(tmp_path: Path) -> None:
    phantom(tmp_path, cases=1, size=SIZE, workers=1)
    before = contents(tmp_path)
    with pytest.raises(ConfigError, match="other options"):
        phantom(tmp_path, cases=1, size=SIZE, seed=1, workers=1)
    assert contents(tmp_path) == before


def test_phantoms_do_not_mix_with_patients(tmp_path: Path) -> None:
    (tmp_path / "BraTS2021_00000").mkdir()
    with pytest.raises(ConfigError, match="holds other files"):
        phantom(tmp_path, cases=1, size=SIZE, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["BraTS2021_00000"]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"cases": 0}, "cases"),
        ({"cases": 20_000}, "cases"),
        ({"seed": -1}, "seed"),
        ({"size": (15, 24, 24)}, "size"),
        ({"workers": 0}, "workers"),
        ({"noise": -0.1}, "noise"),
        ({"bias": 1.5}, "bias"),
        ({"size": (48, 48, 48), "spacing_mm": 1.0}, "spacing_mm"),
    ],
)
def test_options_without_sense_are_refused(tmp_path: Path, options: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        phantom(tmp_path / "set", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        phantom(tmp_path / "set", cases=1, size=SIZE)


def test_an_output_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"below cannot be written \(.*\): make room or give another folder"):
        phantom(tmp_path / "file" / "below", cases=1, size=SIZE, workers=1)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.slow
def test_an_output_that_cannot_be_written_ends_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    phantom(tmp_path / "set", cases=1, size=SIZE, workers=1)
    (tmp_path / "set" / ".BraTS2021_90001").touch()  # a file where a case's folder is to be made
    with pytest.raises(ConfigError, match=r"set cannot be written \(File exists\)"):
        phantom(tmp_path / "set", cases=3, size=SIZE, workers=workers)


def test_unless_told_every_usable_core_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(folder_module, "usable_cores", lambda: 3)
    monkeypatch.setattr(folder_module, "_write_cases", lambda *_, workers: asked.append(workers))
    phantom(tmp_path, cases=5, size=SIZE)
    assert asked == [3]
