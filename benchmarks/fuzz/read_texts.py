"""Readers of texts and records: configurations, splits, tables, JSON, entries of the cache."""

import io
import json
import logging
import math
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.fuzz.children import Reader
from benchmarks.fuzz.mutating import of_bytes, of_json, of_text
from benchmarks.fuzz.read_models import of_safetensors
from brats_lightning.cluster.holder import from_json, lives, this_process
from brats_lightning.data.case import Case
from brats_lightning.data.homes import DiskHome
from brats_lightning.data.preprocessing import Sample
from brats_lightning.data.splits import Listed, Parts, require_cases
from brats_lightning.errors import BratsError
from brats_lightning.experiment import commands
from brats_lightning.experiment.training import BratsCLI
from brats_lightning.inference.results import SUMMARY, ResultFolder
from brats_lightning.loggers.metrics_csv import MetricsCsv
from brats_lightning.loggers.wandb_identity import identity
from brats_lightning.loggers.wandb_segments import is_finished, mend, tail_of
from brats_lightning.nifti import Grid
from brats_lightning.phantom.folder import NOTE, phantom
from brats_lightning.reports.predicted import find_predictions
from brats_lightning.reports.run.facts import FACTS, Start, write_starts
from brats_lightning.reports.run.folder import open_run
from brats_lightning.reports.run.history import read_history
from brats_lightning.reports.run.record import machine_of_run, seconds_of_run, versions_of_run
from brats_lightning.reports.run.settings import differences, lasting, monitored, read_settings
from brats_lightning.reports.run.wandb import machine_of, read_wandb
from brats_lightning.reports.score_files import read_score_file
from brats_lightning.web.files import case_folders
from brats_lightning.web.records import CaseRecord, FileRecord
from brats_lightning.web.work.tasks.kept import RECORD, SegmentedAs

CONFIGS = Path(__file__).parents[2] / "configs"
_CASE = Case("a", "a", "2023", {}, Path("a-seg.nii"))
_ID = "A" * 22


def text_readers() -> list[Reader]:
    """Every reader of texts and records."""
    return [
        Reader("configuration of a run, to report", "config.yaml", _configs, of_text, _report_config),
        Reader("configuration, to train", "config.yaml", _configs, of_text, _train),
        Reader("split", "split.json", _splits, of_json, _split),
        Reader("metrics.csv", "metrics.csv", _metrics, of_text, _read_metrics),
        Reader("scores", "scores_test.csv", _scores, of_text, _read_scores),
        Reader("facts.json", FACTS, _facts, of_json, _read_facts),
        Reader("predictions.json", SUMMARY, _summary, of_json, lambda folder: find_predictions(folder, [])),
        Reader("record of a predicted case", ".predictions/a.json", _record, of_json, _read_record),
        Reader("entry of the cache", "cache/a-0.safetensors", _entry, of_safetensors, _read_entry),
        Reader("lease of a run", "lease.json", _lease, of_json, _read_lease),
        Reader("W&B's file of a run", "wandb/offline-run-1-x/run-x.wandb", _wandb, of_bytes, _read_wandb),
        Reader(
            "W&B's id of a run", "wandb_id", lambda folder: [f"unet3d-1a2b\n{folder}\n".encode()], of_text, identity
        ),
        Reader("note of a phantom", f"phantom/{NOTE}", _note, of_json, _phantom),
        Reader("case of the web application", f"{_ID}/case.json", _case, of_json, lambda f: case_folders.read(f / _ID)),
        Reader("mask of the web application", RECORD, lambda _: [b'{"edition": "2021"}'], of_json, SegmentedAs.read),
    ]


def _configs(folder: Path) -> list[bytes]:
    del folder
    return [(CONFIGS / f"{name}.yaml").read_bytes() for name in ("demo", "unet3d", "dynunet")]


def _report_config(folder: Path) -> None:
    settings = read_settings(folder / "config.yaml")
    lasting(settings)
    differences([settings, {}])
    monitored(settings)


class _Parsed(BaseException):
    """Thrown in place of a training."""


class _ParsesOnly(BratsCLI):
    def before_instantiate_classes(self) -> None:
        raise _Parsed


def _train(folder: Path) -> None:
    logging.getLogger("lightning_fabric.utilities.seed").setLevel(logging.WARNING)
    with suppress(_Parsed):
        commands._call(_ParsesOnly, ["fit", "--config", str(folder / "config.yaml"), "--data.root", str(folder)])


def _splits(folder: Path) -> list[bytes]:
    path = folder / "written.json"
    Parts(("a", "b"), ("c",), ("d",), {"e": "cut short"}).write(path)
    return [path.read_bytes(), b'{"train": ["a"], "validation": ["b"]}']


def _split(folder: Path) -> None:
    path = folder / "split.json"
    cases = [replace(_CASE, id=name, patient=name) for name in "abcd"]
    parts = Listed(path)(cases)
    require_cases(parts, cases, source=path, needed=("train",))


def _metrics(folder: Path) -> list[bytes]:
    csv = MetricsCsv(folder / "logged")
    for step in range(6):
        csv.log_metrics({"epoch": step // 2, "train/loss": 1 / (step + 1), "val/dice_ET": math.nan, "lr": 1e-4}, step)
    return [csv.path.read_bytes(), b"epoch,step,train/loss\n0,0,0.5\n0,1,0.25\n1,2,"]


def _read_metrics(folder: Path) -> None:
    history = read_history(folder / "metrics.csv")
    history.best()
    csv = MetricsCsv(folder)
    csv.go_on_from(3)
    csv.log_metrics({"train/loss": 0.5}, 3)


def _scores(folder: Path) -> list[bytes]:
    del folder
    header = "case,region,dice,hd95_mm,reference_volume_ml,empty,grid,checkpoint\n"
    rows = [
        f"BraTS2021_0000{case},{region},0.{case}5,{case}.25,{case}1.5,brats,native,best.ckpt\n"
        for case in range(3)
        for region in ("ET", "TC", "WT")
    ]
    return [(header + "".join(rows)).encode(), b"case,region,dice\na,WT,0.5\nb,WT,nan\nc,WT,\n"]


def _read_scores(folder: Path) -> None:
    path = folder / "scores_test.csv"
    failed = None
    try:
        read_score_file(path, incomplete=True)
    except BratsError as error:
        failed = error
    found = read_score_file(path)
    if failed is not None:
        raise AssertionError("read as a whole one, and refused as a cut one")
    for column in found.scores:
        found.is_case_wise(column)


def _facts(folder: Path) -> list[bytes]:
    first = Start(
        "2026-03-05T14:02:31+01:00",
        steps=10,
        seconds=3.5,
        commit="abc",
        versions={"torch": "2.6"},
        machine={"GPU": "1"},
    )
    write_starts(folder, [first, Start("2026-03-05T15:02:31+01:00", from_step=10, data_sha256="00")])
    (folder / "split.json").write_text('{"train": ["a"], "validation": ["b"]}')
    return [(folder / FACTS).read_bytes()]


def _read_facts(folder: Path) -> None:
    run = open_run(folder)
    for start in run.starts:
        str(start.when)
    versions_of_run(folder), machine_of_run(folder), seconds_of_run(folder)


def _summary(folder: Path) -> list[bytes]:
    (folder / "a.nii.gz").touch()
    case = {"files": ["a.nii.gz"], "labels": "2021", "volumes_ml": {"ET": 1.5}, "inputs": [{"file": "a", "bytes": 3}]}
    return [
        json.dumps({"checkpoints": [{"sha256": "00"}], "cases": {"a": case}, "failed": {"b": "cut"}}, indent=1).encode()
    ]


def _record(folder: Path) -> list[bytes]:
    (folder / "a.nii.gz").touch()
    record = {"key": "k", "files": ["a.nii.gz"], "inputs": [], "edition": "2023", "labels": "2023", "volumes_ml": {}}
    return [json.dumps(each, indent=1).encode() for each in (record, {"key": "k", "problem": "cut short"})]


def _read_record(folder: Path) -> None:
    case = replace(_CASE, label=None)
    for overwrite in (True, False):
        results = ResultFolder(folder, key="k", overwrite=overwrite)
        results.is_finished(case)
        results.summarise({})
    results.give_up([])
    results._discard("a", but=["a.nii.gz"])


def _entry(folder: Path) -> list[bytes]:
    home = DiskHome(folder / "cache")
    grid = Grid((4, 4, 4), torch.eye(4, dtype=torch.float64).numpy())
    image, label = torch.ones(4, 4, 4, 4, dtype=torch.float16), torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    home.save("a-0", Sample("a", "2023", image, label, grid, grid, ("odd",)))
    return [(folder / "cache" / "a-0.safetensors").read_bytes()]


def _read_entry(folder: Path) -> None:
    DiskHome(folder / "cache").load("a-0")


def _lease(folder: Path) -> list[bytes]:
    del folder
    return [this_process(None).json.encode()]


def _read_lease(folder: Path) -> None:
    found = from_json((folder / "lease.json").read_text(encoding="utf-8", errors="replace"))
    lives(found, this_process(None), silent_seconds=1)
    str(found), found.cure


def _wandb(folder: Path) -> list[bytes]:
    """Records as W&B frames them: a configuration, an environment, rows of the history, an end."""
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415

    (folder / "wandb" / "offline-run-1-x").mkdir(parents=True)
    entries = [Record() for _ in range(5)]
    update = entries[0].config.update.add()
    update.key, update.value_json = "model", '{"lr": 1}'
    entries[1].environment.cpu_count = 2
    for step, entry in enumerate(entries[2:4]):
        entry.history.step.num = step
        for name, value in (("trainer/global_step", step), ("train/loss", 0.5), ("_runtime", 2.5)):
            item = entry.history.item.add()
            item.nested_key.append(name)
            item.value_json = json.dumps(value)
    entries[4].exit.exit_code = 0
    parts = [entry.SerializeToString() for entry in entries]
    framed = b"".join(bytes(4) + len(part).to_bytes(2, "little") + b"\1" + part for part in parts)
    return [b":W&B\0\0\0"[:7] + framed]


def _read_wandb(folder: Path) -> None:
    files = sorted(folder.glob("wandb/*/run-*.wandb"))
    record = read_wandb(files)
    record.history.best()
    machine_of(files)
    is_finished(files[0])
    tail_of(files)
    mend(files[0])


def _note(folder: Path) -> list[bytes]:
    _phantom(folder)
    return [(folder / "phantom" / NOTE).read_bytes()]


def _phantom(folder: Path) -> None:
    with redirect_stderr(io.StringIO()):  # its progress
        phantom(folder / "phantom", cases=1, size=(16, 16, 16), spacing_mm=10, workers=1)


def _case(folder: Path) -> list[bytes]:
    for name in ("files", "results"):
        (folder / _ID / name).mkdir(parents=True)
    file = FileRecord(id="f", name="a_t1.nii", kind="t1n", bytes=3, shape=(4, 4, 4), spacing_mm=(1, 1, 1))
    (folder / _ID / "files" / "f.nii").touch()
    record = CaseRecord(id=_ID, name="a", created=1.0, expires=2.0, files=[file], needs=["t1n"])
    return [record.model_dump_json(indent=1).encode()]
