"""`brats predict` on real cases with all their quirks; what the network says of them does not matter here."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from brats_lightning.cli import main
from brats_lightning.data.cases import find_cases
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.nifti import read_volume

WriteCheckpoint = Callable[..., Path]
GEOMETRY = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units",
)  # fmt: skip
VALUES = {"2018": {0, 1, 2, 4}, "2021": {0, 1, 2, 4}, "2023": {0, 1, 2, 3}}


def predict(checkpoint: Path, output: Path, *arguments: object) -> dict[str, Any]:
    main(["predict", *map(str, arguments), "--checkpoint", str(checkpoint), "--output", str(output)])
    summary: dict[str, Any] = json.loads((output / "predictions.json").read_text())
    return summary


def header_of(path: Path) -> Any:
    return nibabel.load(path).header


@pytest.mark.slow
def test_ten_cases_of_three_editions_get_files_on_their_own_grids(
    shared: Path, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(preprocessing=Preprocessing(size=(32, 32, 32)))
    for folder in ("brats", "brats_unlabelled"):
        root = shared / "data" / folder
        output = tmp_path / folder
        summary = predict(checkpoint, output, root)
        cases = find_cases(root).cases
        assert set(summary["cases"]) == {case.id for case in cases}
        for case in cases:
            written = output / f"{case.id}.nii.gz"
            image = next(path for path in case.files if path != case.label)
            expected, found = header_of(image), header_of(written)
            for field in GEOMETRY:
                np.testing.assert_array_equal(found[field], expected[field], err_msg=f"{case.id} {field}")
            labels = read_volume(written)
            assert labels.grid.distance_mm(read_volume(image).grid) == 0
            assert labels.array.dtype == np.uint8
            assert set(np.unique(labels.array).tolist()) <= VALUES[case.edition]


def test_an_exam_on_three_grids_is_refused_with_the_cure_and_aligned_when_asked(
    shared: Path, write_checkpoint: WriteCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_checkpoint(preprocessing=Preprocessing(size=(32, 32, 32)))
    folder = shared / "data" / "formats" / "TCGA-FG-6692_native"
    endings = {"t1n": "_t1", "t1c": "_t1c", "t2w": "_t2", "t2f": "_fla"}
    names = {kind: next(folder.glob(f"*{ending}.nii.gz")) for kind, ending in endings.items()}
    files = [f"--{kind}={path}" for kind, path in names.items()]
    with pytest.raises(SystemExit) as stop:
        predict(checkpoint, tmp_path / "refused", *files, "--case", "tcga")
    assert stop.value.code == 1
    assert "--align header" in capsys.readouterr().err
    summary = predict(checkpoint, tmp_path / "aligned", *files, "--case", "tcga", "--align", "header")
    (record,) = summary["cases"].values()
    assert any("resampled by its header onto the grid of" in note for note in record["notes"])
    expected, found = header_of(names["t1c"]), header_of(tmp_path / "aligned" / "tcga.nii.gz")
    for field in GEOMETRY:
        np.testing.assert_array_equal(found[field], expected[field])
