import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from brats_lightning.errors import ConfigError
from brats_lightning.labels import MODALITIES
from brats_lightning.radiomics.sources import Sources, find_sources

Write = Callable[..., Path]
BOX = {1: (slice(2, 4), slice(2, 4), slice(2, 4))}


def sources(root: Path, **options: object) -> Sources:
    return find_sources(root, modalities=MODALITIES, **options)  # type: ignore[arg-type]


def test_references_are_measured_and_cases_without_one_named(write_case: Write, tmp_path: Path) -> None:
    write_case("BraTS2021_00002")
    write_case("BraTS2021_00001", label=None)
    found = sources(tmp_path / "cases")
    assert [source.case.id for source in found.found] == ["BraTS2021_00002"]
    assert found.found[0].prediction is None
    assert found.without == ("BraTS2021_00001",)
    assert found.problems == ()


def test_predictions_are_matched_by_name_and_replace_the_reference(
    write_case: Write, write_labels: Write, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        write_case(f"BraTS2021_0000{number}", label=None if number == 1 else "_seg")
    write_labels("p/BraTS2021_00001.nii.gz", BOX)
    write_labels("p/brats2021_00002_pred.nii.gz", BOX)
    write_labels("p/BraTS2021_00009.nii.gz", BOX)
    found = sources(tmp_path / "cases", predictions=tmp_path / "p")
    assert [source.case.id for source in found.found] == ["BraTS2021_00001", "BraTS2021_00002"]
    assert [source.edition for source in found.found] == ["2021", "2021"]
    assert all(source.case.label is None for source in found.found)
    assert found.without == ("BraTS2021_00003",)
    assert [(problem.case, problem.what) for problem in found.problems] == [
        ("BraTS2021_00009", "a prediction without a case")
    ]


def test_a_case_that_is_refused_is_not_called_without_segmentation(
    write_case: Write, write_labels: Write, tmp_path: Path
) -> None:
    (write_case() / "BraTS2021_00001_t1.nii.gz").unlink()
    write_case("BraTS2021_00002")
    write_labels("p/BraTS2021_00001.nii.gz", BOX)
    write_labels("p/BraTS2021_00002.nii.gz", BOX)
    write_labels("p/more/BraTS2021_00002.nii.gz", BOX)
    found = sources(tmp_path / "cases", predictions=tmp_path / "p")
    assert (found.found, found.without) == ((), ())
    assert {problem.case for problem in found.problems} == {"BraTS2021_00001", "BraTS2021_00002"}


def test_editions_are_checked(write_case: Write, write_labels: Write, tmp_path: Path) -> None:
    write_case()
    write_labels("p/BraTS2021_00001.nii.gz", BOX)
    told = sources(tmp_path / "cases", predictions=tmp_path / "p", prediction_edition="2023")
    assert told.found[0].edition == "2023"
    with pytest.raises(ConfigError, match="edition '1999' is unknown"):
        sources(tmp_path / "cases", predictions=tmp_path / "p", prediction_edition="1999")


def test_masks_are_told_once_in_words(
    write_case: Write, write_labels: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_case()
    write_labels("p/BraTS2021_00001.nii.gz", BOX)
    with caplog.at_level(logging.WARNING):
        assert not sources(tmp_path / "cases", predictions=tmp_path / "p").found[0].is_mask
        assert caplog.text == ""
        (source,) = sources(tmp_path / "cases", predictions=tmp_path / "p", prediction_edition="mask").found
    assert source.is_mask
    assert caplog.text.count("1 of 1 segmentations are masks of the whole tumour: WT alone is measured") == 1
