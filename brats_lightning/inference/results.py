"""What prediction leaves behind: files on the patient's grid, and a record of each case for `predictions.json`.

A case's record is written after its files have been read back, so that a case with a record is a finished one.
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brats_lightning.data.case import Case
from brats_lightning.errors import BratsError, ConfigError, DatasetError, Problem
from brats_lightning.inference.segmenter import Segmentation
from brats_lightning.labels import EDITIONS
from brats_lightning.nifti import UnreadableVolumeError, write_probability, write_volume

SUMMARY = "predictions.json"
RECORDS = ".predictions"
INTERNAL = "internal"
DESCRIPTION = "brats_lightning, research software"


@dataclass(frozen=True)
class Wanted:
    """What to write of each case.

    Args:
        labels: Edition whose values label maps get, `internal`, or None for the case's own edition.
        probabilities: Also a map of each region's probability.
        uncertainty: Also a map of the entropy.
    """

    labels: str | None = None
    probabilities: bool = False
    uncertainty: bool = False

    def __post_init__(self) -> None:
        if self.labels not in {None, INTERNAL, *EDITIONS}:
            raise ConfigError(f"labels {self.labels!r}: expected {INTERNAL} or one of {', '.join(EDITIONS)}")


class ResultFolder:
    """The output folder of a prediction.

    Args:
        folder: Made where it is not there.
        key: Of networks and settings: results of others are neither taken for finished nor overwritten unasked.
        overwrite: Predict finished cases again.

    Raises:
        ConfigError: It cannot be written, or holds another prediction's results.
    """

    def __init__(self, folder: Path, *, key: str, overwrite: bool) -> None:
        self.folder = folder
        self.key = key
        self.overwrite = overwrite
        try:
            (folder / RECORDS).mkdir(parents=True, exist_ok=True)
            probe = folder / f".writable.{_writer()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written ({error.strerror}): give another --output") from error
        if not overwrite and (
            others := [case for case, found in self.records().items() if "files" in found and found.get("key") != key]
        ):
            raise ConfigError(
                f"{folder} holds {others[0]} as another checkpoint or other options predicted it: "
                "give another --output, or --overwrite"
            )

    def records(self) -> dict[str, dict[str, Any]]:
        """What is known of each finished case; a record that cannot be read is none."""
        found = {}
        for path in sorted((self.folder / RECORDS).glob("*.json")):
            with contextlib.suppress(OSError, ValueError):
                found[path.stem] = json.loads(path.read_text())
        return found

    def is_finished(self, case: Case) -> bool:
        """Whether a case need not be predicted again.

        Raises:
            DatasetError: Other files were predicted under its name.
        """
        record = self._record(case.id)
        files = record.get("files")
        if self.overwrite or record.get("key") != self.key or not files:
            return False
        if record.get("inputs") != _inputs(case):
            what = f"{self.folder} holds the result of other files, or of their earlier contents, under this name"
            raise DatasetError(Problem(case.id, "", what, "give another --output, or --overwrite"))
        return all((self.folder / name).is_file() for name in files)

    def _record(self, case: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads((self.folder / RECORDS / f"{case}.json").read_text())
        except (OSError, ValueError):
            return {}
        return record

    def write(
        self,
        case: Case,
        segmentation: Segmentation,
        wanted: Wanted,
        *,
        like: Path,
        regions: Mapping[str, Sequence[int]],
        seconds: Mapping[str, float],
        notes: Sequence[str],
    ) -> None:
        """Write a case's files and read them back; its record comes last.

        Args:
            case: Which one.
            segmentation: What to write.
            wanted: Which files.
            like: File whose geometry they get.
            regions: Label values of the regions whose volumes are stated.
            seconds: What each stage before has taken.
            notes: What was odd about the case, in words.

        Raises:
            DatasetError: The edition has no value for a label.
            BratsError: The folder is full or gone, or a file does not hold what was written.
        """
        started = time.perf_counter()
        edition = wanted.labels or case.edition
        labels = segmentation.labels
        if edition != INTERNAL:
            try:
                labels = EDITIONS[edition].encode(labels)
            except ValueError as error:
                raise DatasetError(
                    Problem(case.id, "", str(error), "choose an edition that has it by --labels")
                ) from error
        files = {f"{case.id}.nii.gz": labels}
        if wanted.probabilities:
            files |= {
                f"{case.id}_{region}_probability.nii.gz": _probability(segmentation.probabilities, values)
                for region, values in regions.items()
                if min(values) < len(segmentation.probabilities)
            }
        if wanted.uncertainty:
            files[f"{case.id}_entropy.nii.gz"] = _entropy(segmentation.probabilities)
        self._discard(case.id, but=files)
        native = segmentation.placement.native
        for name, array in files.items():
            path = self.folder / name
            pasted = segmentation.placement.paste(array)
            put = write_volume if array is labels else write_probability
            try:
                put(path, pasted, native, like=like, description=DESCRIPTION, verify=True)
            except OSError as error:
                raise BratsError(f"{path} could not be written ({error.strerror}): what is finished stays") from error
            except UnreadableVolumeError as error:
                raise BratsError(f"{path} could not be written ({error}): look at the disk") from error
        voxel_ml = float(np.prod(native.spacing_mm)) / 1000
        voxels = np.bincount(segmentation.labels.ravel(order="K"), minlength=256)
        volumes = {region: round(float(voxels[list(values)].sum()) * voxel_ml, 3) for region, values in regions.items()}
        taken = {**seconds, "write": time.perf_counter() - started}
        record = {
            "key": self.key,
            "files": list(files),
            "inputs": _inputs(case),
            "edition": case.edition,
            "labels": edition,
            "volumes_ml": volumes,
            "seconds": {stage: round(value, 3) for stage, value in taken.items()},
            "notes": list(notes),
        }
        self._write_json(Path(RECORDS) / f"{case.id}.json", record)

    def give_up(self, problems: Sequence[Problem]) -> None:
        """Record why cases have no result; what an earlier call has written for them is removed."""
        reasons: dict[str, list[str]] = {}
        for problem in problems:
            reasons.setdefault(problem.case, []).append(str(problem))
        for case, found in reasons.items():
            name = case.replace(os.sep, "_")  # what looks like a case and is none is named after its folder
            self._discard(name)
            self._write_json(Path(RECORDS) / f"{name}.json", {"key": self.key, "problem": "; ".join(found)})

    def _discard(self, case: str, *, but: Collection[str] = ()) -> None:
        """Remove the files that a case's record names: they would stand for something else from now on."""
        for name in self._record(case).get("files", ()):
            if name not in but:
                (self.folder / Path(name).name).unlink(missing_ok=True)

    def summarise(self, about: Mapping[str, Any]) -> Path:
        """Gather the records of all cases, those of other processes too."""
        known: dict[str, dict[str, Any]] | None = None
        while known != (known := self.records()):  # another process may have finished while this one was writing
            own = {case: record for case, record in known.items() if record.get("key") == self.key}
            cases = {case: _without_key(record) for case, record in own.items() if "files" in record}
            failed = {case: record["problem"] for case, record in own.items() if "problem" in record}
            path = self._write_json(Path(SUMMARY), {**about, "cases": cases, "failed": failed})
        return path

    def _write_json(self, name: Path, content: Mapping[str, Any]) -> Path:
        path = self.folder / name
        temporary = path.with_name(f".{path.name}.{_writer()}")
        try:
            temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            temporary.replace(path)
        except OSError as error:
            raise BratsError(f"{path} could not be written ({error.strerror}): what is finished stays") from error
        finally:
            temporary.unlink(missing_ok=True)
        return path


def _writer() -> str:
    """Tells this process from all others that may write here: machines that share a disk share process numbers."""
    return f"{platform.node()}.{os.getpid()}"


def _inputs(case: Case) -> list[dict[str, Any]]:
    """What tells a case's files from others of the same name, and from their own earlier contents."""
    found = []
    for path in case.files:
        about = path.stat()
        found.append({"file": path.name, "bytes": about.st_size, "changed_ns": about.st_mtime_ns})
    return found


def _without_key(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "key"}


def _probability(probabilities: torch.Tensor, values: Sequence[int]) -> Any:
    present = [value for value in values if value < len(probabilities)]
    return probabilities[present].sum(dim=0).clamp(0, 1).float().cpu().numpy()


def _entropy(probabilities: torch.Tensor) -> Any:
    """Entropy of the labels' probabilities, as a share of the largest possible one."""
    entropy = -torch.xlogy(probabilities, probabilities).sum(dim=0) / float(np.log(len(probabilities)))
    return entropy.clamp(0, 1).float().cpu().numpy()
