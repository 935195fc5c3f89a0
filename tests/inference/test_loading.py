from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.multiprocessing.reductions

from brats_lightning.data.case import Case
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import ConfigError
from brats_lightning.inference.loading import cases_to_predict, common_name, load_cases
from brats_lightning.labels import MODALITIES, Modality

WriteCase = Callable[..., Path]
NO_FILES: dict[Modality, Path | None] = {"t1n": None, "t1c": None, "t2w": None, "t2f": None}
SMALL = Preprocessing(size=(8, 8, 8))


def files_of(folder: Path) -> dict[Modality, Path | None]:
    names = ("t1", "t1ce", "t2", "flair")
    return {modality: folder / f"{folder.name}_{name}.nii.gz" for modality, name in zip(MODALITIES, names, strict=True)}


def meant(
    folder: Path | None = None,
    files: dict[Modality, Path | None] = NO_FILES,
    *,
    case: str | None = None,
    edition: str | None = None,
) -> tuple[Case, ...]:
    return cases_to_predict(folder, files, case=case, modalities=MODALITIES, edition=edition).cases


def test_a_folder_of_cases_and_the_folder_of_one_are_both_understood(write_case: WriteCase) -> None:
    one = write_case("BraTS2021_00001")
    write_case("BraTS2021_00002", label=None)
    assert [case.id for case in meant(one.parent)] == ["BraTS2021_00001", "BraTS2021_00002"]
    assert [case.id for case in meant(one)] == ["BraTS2021_00001"]


def test_a_reference_beside_the_images_is_not_read(write_case: WriteCase) -> None:
    folder = write_case()
    (folder / f"{folder.name}_seg.nii.gz").write_bytes(b"no volume")
    (case,) = meant(folder, edition="2021")
    assert case.label is None
    (loaded,) = load_cases([case], [SMALL], align=False, workers=0)
    assert loaded.problems == ()


def test_four_files_of_any_name_make_a_case(write_case: WriteCase, tmp_path: Path) -> None:
    files = files_of(write_case())
    renamed: dict[Modality, Path | None] = {}
    for name, (modality, path) in zip(("T1", "T1gd", "T2", "FLAIR"), files.items(), strict=True):
        assert path is not None
        renamed[modality] = path.rename(tmp_path / f"patient7_{name}.nii.gz")
    (case,) = meant(files=renamed)
    assert (case.id, case.edition) == ("patient7", "2023")
    (case,) = meant(files=renamed, case="anna", edition="2021")
    assert (case.id, case.edition) == ("anna", "2021")
    (loaded,) = load_cases([case], [SMALL], align=False, workers=0)
    assert loaded.samples[0].image.shape == (4, 8, 8, 8)


@pytest.mark.parametrize(
    ("names", "common"),
    [
        (["a-t1n.nii.gz", "a-t1c.nii.gz"], "a"),
        (["BraTS-GLI-00000-000-t1n.nii.gz", "BraTS-GLI-00000-000-t2f.nii.gz"], "BraTS-GLI-00000-000"),
        (["t1.nii.gz", "flair.nii.gz"], None),
        (["t1.nii.gz", "t1ce.nii.gz"], None),
        (["patient_t1c.nii.gz"], "patient"),
    ],
)
def test_a_case_is_named_after_what_its_files_share(names: list[str], common: str | None) -> None:
    assert common_name(names) == common


def test_what_is_missing_or_too_much_is_named(write_case: WriteCase, tmp_path: Path) -> None:
    folder = write_case()
    files = files_of(folder)
    with pytest.raises(ConfigError, match="choose one of them"):
        meant(folder, files)
    with pytest.raises(ConfigError, match="nothing to predict"):
        meant()
    with pytest.raises(ConfigError, match="give --t2w --t2f too"):
        meant(files=files | {"t2w": None, "t2f": None})
    with pytest.raises(ConfigError, match=r"no file .*absent\.nii"):
        meant(files=files | {"t2w": tmp_path / "absent.nii"})
    for name in ("../elsewhere", "a/b", ".hidden", "a b"):
        with pytest.raises(ConfigError, match="expected a name for files"):
            meant(files=files, case=name)
    with pytest.raises(ConfigError, match="one file was given as several modalities"):
        meant(files=files | {"t2w": files["t2f"]})
    nameless = {modality: path.rename(tmp_path / f"{modality}.nii.gz") for modality, path in files.items() if path}
    with pytest.raises(ConfigError, match="name it by --case"):
        meant(files={**NO_FILES, **nameless})
    files = {**NO_FILES, **nameless}
    with pytest.raises(ConfigError, match="edition '2050' is unknown"):
        meant(files=files, case="anna", edition="2050")


def test_a_case_is_the_same_whether_it_is_loaded_here_or_elsewhere(write_case: WriteCase) -> None:
    for number in range(2):
        folder = write_case(f"BraTS2021_0000{number}", shape=(40, 44, 36), seed=number)
    cases = meant(folder.parent)
    elsewhere = list(load_cases(cases, [SMALL], align=False, workers=1))
    for case, loaded in zip(cases, elsewhere, strict=True):
        (here,) = load_cases([case], [SMALL], align=False, workers=1)
        torch.testing.assert_close(here.samples[0].image, loaded.samples[0].image, rtol=0, atol=0)


def test_results_need_no_shared_memory(write_case: WriteCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """In many a container it is smaller than a case."""
    cases = meant(write_case().parent)
    for _ in range(2):
        cases += cases

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(torch.multiprocessing.reductions, "reduce_storage", full)
    monkeypatch.setattr(torch.multiprocessing.reductions, "reduce_tensor", full)
    assert len(list(load_cases(cases, [SMALL], align=False, workers=1))) == 4


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_case_stops_no_other(write_case: WriteCase, workers: int) -> None:
    for number in range(3):
        folder = write_case(f"BraTS2021_0000{number}")
    (folder / f"{folder.name}_t1.nii.gz").write_bytes(b"cut short")
    loaded = list(load_cases(meant(folder.parent), [SMALL, SMALL], align=False, workers=workers))
    assert [each.case.id for each in loaded] == [f"BraTS2021_0000{number}" for number in range(3)]
    assert [len(each.samples) for each in loaded] == [2, 2, 0]
    assert "BraTS2021_00002_t1.nii.gz" in str(loaded[2].problems[0])
