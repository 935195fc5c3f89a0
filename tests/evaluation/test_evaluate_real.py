"""Nine real segmentations of three editions, with their quirks, against themselves moved by a voxel."""

import csv
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

from brats_lightning.data.cases import find_cases
from brats_lightning.evaluation.evaluate import evaluate
from brats_lightning.evaluation.measures import SCORES
from brats_lightning.labels import EDITIONS, region_labels
from brats_lightning.metrics.case_scores import score_case
from brats_lightning.metrics.empty import EMPTY_POLICIES
from brats_lightning.nifti import read_labels

REGIONS = ("ET", "ED", "NCR", "WT", "TC")


def rows_of(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {(row["case"], row["region"]): row for row in csv.DictReader(file)}


def write_moved(shared: Path, folder: Path, count: int) -> int:
    """Segmentations moved by a voxel, stored in other types, axes and names than the references."""
    folder.mkdir()
    cases = find_cases(shared / "data/brats").cases[:count]
    for number, case in enumerate(cases):
        assert case.label is not None
        volume = read_labels(case.label)
        array = np.roll(volume.array, 1, 0).astype((np.uint8, np.float32, np.int16)[number % 3])
        image = nibabel.Nifti1Image(array, volume.grid.affine)
        if number % 2:
            image = image.as_reoriented(nibabel.orientations.axcodes2ornt("AIR"))
        image.to_filename(folder / f"{case.id}{('.nii', '_seg.nii', '-pred.nii')[number % 3]}")
    return len(cases)


@pytest.mark.parametrize("count", [2, pytest.param(9, marks=pytest.mark.slow)])
def test_scores_of_files_are_those_of_the_arrays(shared: Path, tmp_path: Path, count: int) -> None:
    predictions = tmp_path / "p"
    assert write_moved(shared, predictions, count) == count
    evaluate(
        predictions=predictions,
        references=shared / "data/brats",
        output=tmp_path / "out",
        missing="skip",
        workers=1 if count < 9 else 2,
    )
    rows = rows_of(tmp_path / "out/scores.csv")
    assert len(rows) == count * len(REGIONS)
    for case in find_cases(shared / "data/brats").cases[:count]:
        assert case.label is not None
        reference = EDITIONS[case.edition].decode(read_labels(case.label).array)
        expected = score_case(
            np.roll(reference, 1, 0),
            reference,
            spacing_mm=(1, 1, 1),
            regions=region_labels(REGIONS),
            empty=EMPTY_POLICIES["brats"],
            scores=SCORES,
        )
        for region in REGIONS:
            found = {name: float(rows[case.id, region][name]) for name in SCORES}
            wanted = {name: expected[f"{name}_{region}"] for name in SCORES}
            # Where a region is absent, its volume difference is relative to nothing.
            assert found == pytest.approx(wanted, rel=1e-12, nan_ok=True)
            undefined = {name for name, value in found.items() if not math.isfinite(value)}
            assert undefined <= {"relative_volume_difference"}
            assert found["hd95_mm"] <= 1
            assert float(rows[case.id, region]["accuracy"]) == expected["accuracy"]


def test_a_reference_is_perfect_against_itself(shared: Path, tmp_path: Path) -> None:
    case = shared / "data/brats/BraTS2021_01481"
    evaluate(predictions=case, references=case, output=tmp_path, workers=1, rules="2023-GLI")
    for row in rows_of(tmp_path / "scores.csv").values():
        assert [float(row[name]) for name in ("dice", "iou", "nsd_1mm", "hd95_mm", "assd_mm")] == [1, 1, 1, 0, 0]
    (whole,) = [row for row in rows_of(tmp_path / "scores.csv").values() if row["region"] == "WT"]
    assert (whole["lesionwise_dice"], float(whole["lesionwise_hd95_mm"])) == ("1.0", 0)
