"""`brats predict` as people call it, with small networks that were not trained."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml
from torch import nn

from brats_lightning.cli import main
from brats_lightning.cluster import signals
from brats_lightning.cluster.signals import Stopped
from brats_lightning.data.preprocessing import Preprocessing
from brats_lightning.errors import ConfigError
from brats_lightning.inference import segmenter as segmenter_module
from brats_lightning.inference.predict import predict as function

WriteCheckpoint = Callable[..., Path]
CASES = 6


@pytest.fixture
def checkpoint(write_checkpoint: WriteCheckpoint) -> Path:
    return write_checkpoint()


def predict(*arguments: object, checkpoint: Path, output: Path) -> dict[str, Any]:
    main(["predict", *map(str, arguments), "--checkpoint", str(checkpoint), "--output", str(output), "--workers", "0"])
    summary: dict[str, Any] = json.loads((output / "predictions.json").read_text())
    return summary


def labels_in(folder: Path) -> dict[str, Any]:
    return {path.name: np.asanyarray(nibabel.load(path).dataobj) for path in sorted(folder.glob("*.nii.gz"))}


def same(first: Path, second: Path) -> bool:
    one, other = labels_in(first), labels_in(second)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_every_case_gets_a_label_map_on_its_own_grid(phantoms: Path, checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    summary = predict(phantoms, checkpoint=checkpoint, output=output)
    assert len(summary["cases"]) == CASES
    assert summary["failed"] == {}
    for case, record in summary["cases"].items():
        written = nibabel.load(output / f"{case}.nii.gz")
        image = nibabel.load(next(phantoms.glob(f"{case}/{case}_t1.nii*")))
        assert written.shape == image.shape
        for field in ("srow_x", "srow_y", "srow_z", "qoffset_x", "quatern_b", "qform_code", "sform_code", "pixdim"):
            np.testing.assert_array_equal(written.header[field], image.header[field])
        array = np.asanyarray(written.dataobj)
        assert set(np.unique(array).tolist()) <= {0, 1, 2, 4}
        voxel_ml = float(np.prod(image.header.get_zooms())) / 1000
        assert record["volumes_ml"]["ET"] == pytest.approx((array == 4).sum() * voxel_ml, abs=1e-3)
        assert set(record["seconds"]) == {"load_and_preprocess", "network", "restore", "write"}
    (used,) = summary["checkpoints"]
    assert used["path"] == str(checkpoint)
    assert len(used["sha256"]) == 64


def test_a_second_call_goes_on_where_the_first_was_stopped(
    phantoms: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    usual, calls = segmenter_module.Segmenter.__call__, 0

    def stopped(self: Any, samples: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return usual(self, samples)

    with monkeypatch.context() as patch:
        patch.setattr(segmenter_module.Segmenter, "__call__", stopped)
        with pytest.raises(SystemExit) as stop:
            predict(phantoms, checkpoint=checkpoint, output=output)
    assert stop.value.code == 130
    finished = {path: path.stat().st_mtime_ns for path in output.glob("*.nii.gz")}
    assert len(finished) == 3
    assert len(json.loads((output / "predictions.json").read_text())["cases"]) == 3
    capsys.readouterr()
    predict(phantoms, checkpoint=checkpoint, output=output)
    assert "3 cases predicted" in (said := capsys.readouterr().out)
    assert "3 were finished before" in said
    assert len(list(output.glob("*.nii.gz"))) == CASES
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    predict(phantoms, "--overwrite", checkpoint=checkpoint, output=output)
    assert all(path.stat().st_mtime_ns > time for path, time in finished.items())


def test_other_options_do_not_mix_with_finished_cases(
    phantoms: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(next(phantoms.glob("BraTS*")), checkpoint=checkpoint, output=tmp_path / "out")
    with pytest.raises(SystemExit):
        predict(phantoms, "--flips", "x", checkpoint=checkpoint, output=tmp_path / "out")
    assert "as another checkpoint or other options predicted it" in capsys.readouterr().err


def test_a_bad_case_is_reported_and_the_others_are_predicted(
    phantoms: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "cases"
    folders = sorted(phantoms.glob("BraTS*"))[:3]
    for folder in folders:
        shutil.copytree(folder, cases / folder.name)
    bad = next((cases / folders[1].name).glob("*_flair*"))
    bad.write_bytes(bad.read_bytes()[:1000])
    next((cases / folders[2].name).glob("*_t2.*")).unlink()
    with pytest.raises(SystemExit) as stop:
        predict(cases, checkpoint=checkpoint, output=tmp_path / "out")
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert bad.name in said
    assert "no t2w among its files" in said
    summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert list(summary["cases"]) == [folders[0].name]
    assert set(summary["failed"]) == {folders[1].name, folders[2].name}


def test_an_ensemble_of_a_model_with_itself_is_the_model(phantoms: Path, checkpoint: Path, tmp_path: Path) -> None:
    case = next(phantoms.glob("BraTS*"))
    predict(case, checkpoint=checkpoint, output=tmp_path / "one")
    summary = predict(case, "--checkpoint", checkpoint, checkpoint=checkpoint, output=tmp_path / "two")
    assert len(summary["checkpoints"]) == 2
    assert same(tmp_path / "one", tmp_path / "two")


def test_members_may_have_been_trained_on_other_grids(
    phantoms: Path, write_checkpoint: WriteCheckpoint, tmp_path: Path
) -> None:
    """Of two networks that always give the same probabilities the mean is known everywhere."""

    def favour(channel: int) -> Callable[[nn.Module], None]:
        def change(network: nn.Module) -> None:
            assert isinstance(network, nn.Conv3d)
            assert network.bias is not None
            network.weight.zero_()
            network.bias.zero_()
            network.bias[channel] = 4 + channel

        return change

    point = {"class_path": "torch.nn.Conv3d", "init_args": {"in_channels": 4, "out_channels": 4, "kernel_size": 1}}
    paths = [
        write_checkpoint(f"{channel}.ckpt", network=point, change=favour(channel), preprocessing=preprocessing)
        for channel, preprocessing in (
            (2, Preprocessing(size=(16, 16, 16))),
            (3, Preprocessing(size=None, crop_margin=2)),
        )
    ]
    case = next(phantoms.glob("BraTS*"))
    arguments = ["predict", str(case), "--checkpoint", *map(str, paths), "--output", str(tmp_path), "--probabilities"]
    main(arguments)
    maps = labels_in(tmp_path)
    ed, et = (maps[f"{case.name}_{region}_probability.nii.gz"] for region in ("ED", "ET"))
    softmax = [np.exp(4 + k) / (np.exp(4 + k) + 3) for k in (2, 3)]
    assert ed.max() == pytest.approx((softmax[0] + 1 / (np.exp(7) + 3)) / 2, abs=1e-3)
    assert et.max() == pytest.approx((softmax[1] + 1 / (np.exp(6) + 3)) / 2, abs=1e-3)
    inside = ed > 0.1
    assert set(np.unique(maps[f"{case.name}.nii.gz"][inside]).tolist()) == {4}
    assert (et > 0.1).sum() > inside.sum() > 0  # the wider box of the second stands alone around the first


def test_members_that_speak_of_other_things_are_refused(
    phantoms: Path, write_checkpoint: WriteCheckpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_checkpoint("first.ckpt")
    other = write_checkpoint("other.ckpt", preprocessing=Preprocessing(modalities=("t1c", "t1n", "t2w", "t2f")))
    with pytest.raises(SystemExit):
        predict(phantoms, "--checkpoint", first, checkpoint=other, output=tmp_path / "out")
    said = capsys.readouterr().err
    assert "members of the same modalities" in said
    assert said.count("\n") == 1


def test_the_files_of_one_case_can_be_named(phantoms: Path, checkpoint: Path, tmp_path: Path) -> None:
    case = min(phantoms.glob("BraTS*"))
    names = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}
    files = [f"--{key}={next(case.glob(f'{case.name}_{name}.nii*'))}" for key, name in names.items()]
    predict(*files, "--labels", "2021", checkpoint=checkpoint, output=tmp_path / "named")
    predict(case, checkpoint=checkpoint, output=tmp_path / "found")
    assert same(tmp_path / "named", tmp_path / "found")


def test_processes_share_the_cases(
    phantoms: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    for rank, expected in ((0, 3), (1, CASES)):
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        summary = predict(phantoms, checkpoint=checkpoint, output=tmp_path / "out")
        assert len(summary["cases"]) == expected


def test_parts_of_an_array_meet_in_one_folder(phantoms: Path, checkpoint: Path, tmp_path: Path) -> None:
    counts = []
    for part in ("2/4", "4/4", "2/4", "1/4", "3/4"):  # elements run in any order, and may run again
        summary = predict(phantoms, "--share", part, checkpoint=checkpoint, output=tmp_path / "out")
        counts.append(len(summary["cases"]))
    assert counts == [2, 3, 3, 5, CASES]
    predict(phantoms, checkpoint=checkpoint, output=tmp_path / "alone")
    assert same(tmp_path / "out", tmp_path / "alone")
    predict(phantoms, "--share", "9/9", checkpoint=checkpoint, output=tmp_path / "more parts than cases")


def test_a_part_is_shared_further_over_the_tasks_of_its_step(
    phantoms: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    for rank, expected in ((1, 1), (0, 3)):
        monkeypatch.setenv("SLURM_PROCID", str(rank))
        summary = predict(phantoms, "--share", "2/2", checkpoint=checkpoint, output=tmp_path / "out")
        assert len(summary["cases"]) == expected


def test_asked_to_stop_it_finishes_the_case_at_hand_and_goes_on_later(
    phantoms: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, calls = segmenter_module.Segmenter.__call__, 0

    def asked_at_the_second(self: Any, samples: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            monkeypatch.setattr(signals, "_asked", "SIGUSR1")
        return usual(self, samples)

    def run() -> None:
        function(phantoms, checkpoint=(checkpoint,), output=tmp_path / "out", workers=0)

    monkeypatch.setattr(segmenter_module.Segmenter, "__call__", asked_at_the_second)
    with pytest.raises(Stopped, match="SIGUSR1"):
        run()
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())["cases"]) == calls == 2
    with pytest.raises(Stopped):
        run()
    assert calls == 2
    monkeypatch.setattr(signals, "_asked", None)
    run()
    assert calls == CASES
    monkeypatch.setattr(signals, "_asked", "SIGUSR1")  # when there is nothing left to do
    run()


def test_what_one_case_meets_in_the_network_stops_no_other(
    phantoms: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usual, calls = segmenter_module.Segmenter.__call__, 0

    def too_large(self: Any, samples: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ConfigError("a volume that does not fit into memory")
        return usual(self, samples)

    monkeypatch.setattr(segmenter_module.Segmenter, "__call__", too_large)
    with pytest.raises(SystemExit) as stop:
        predict(phantoms, checkpoint=checkpoint, output=tmp_path / "out")
    assert stop.value.code == 1
    assert "does not fit into memory" in capsys.readouterr().err
    summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert (len(summary["cases"]), len(summary["failed"])) == (CASES - 1, 1)


def test_asking_for_a_window_is_asking_for_windows(phantoms: Path, checkpoint: Path, tmp_path: Path) -> None:
    case = next(phantoms.glob("BraTS*"))
    predict(case, checkpoint=checkpoint, output=tmp_path / "whole")
    predict(case, "--window", "8", "8", "8", checkpoint=checkpoint, output=tmp_path / "windows")
    assert not same(tmp_path / "whole", tmp_path / "windows")


def test_options_can_stand_in_a_file(phantoms: Path, checkpoint: Path, tmp_path: Path) -> None:
    settings = {
        "flips": ["x"],
        "labels": "internal",
        "postprocessing": [{"class_path": "RemoveSmall", "init_args": {"region": "WT", "mm3": 50}}],
    }
    config = tmp_path / "predict.yaml"
    config.write_text(yaml.safe_dump(settings))
    case = next(phantoms.glob("BraTS*"))
    summary = predict(case, "--config", config, checkpoint=checkpoint, output=tmp_path / "out")
    assert summary["options"]["predictor"]["flips"] == ["x"]
    assert summary["options"]["wanted"]["labels"] == "internal"
    assert "RemoveSmall" in summary["options"]["postprocessing"][-1]["class_path"]


def test_the_configuration_that_is_shipped_is_the_default(phantoms: Path, checkpoint: Path, tmp_path: Path) -> None:
    case = next(phantoms.glob("BraTS*"))
    shipped = Path(__file__).parents[2] / "configs" / "predict.yaml"
    plain = predict(case, checkpoint=checkpoint, output=tmp_path / "plain")
    written = predict(case, "--config", shipped, checkpoint=checkpoint, output=tmp_path / "written")
    assert written["options"] == plain["options"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "no folder nowhere"),
        ([], "nothing to predict"),
        (["--t1n", "a.nii.gz"], "give --t1c --t2w --t2f too"),
        (["{phantoms}", "--device", "cuda:9"], "cuda:9"),
        (["{phantoms}", "--overlap", "1.5"], "overlap"),
        (["{phantoms}", "--labels", "2050"], "labels '2050'"),
        (["{phantoms}", "--postprocessing", '[{"class_path": "os.system"}]'], "'os.system' is unknown"),
        (["{phantoms}", "--postprocessing", '[{"class_path": "KeepLargest", "init_args": {"region": "XX"}}]'], "XX"),
    ],
)
def test_bad_input_ends_in_one_sentence(  # noqa: PLR0917 - fixtures
    arguments: list[str],
    said: str,
    phantoms: Path,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        predict(*[word.format(phantoms=phantoms) if word[0] == "{" else word for word in arguments],
                checkpoint=checkpoint, output=tmp_path / "out")  # fmt: skip
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
