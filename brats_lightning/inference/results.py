"""What prediction leaves behind: files on the patient's grid, and a record of each case for `predictions.json`.

A case's record is written after its files have been read back, so that a case with a record is a finished one.
"""

import contextlib
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from brats_lightning.data.case import Case
from brats_lightning.data.pictures import RECORDS, is_picture, write_picture_mask
from brats_lightning.errors import BratsError, ConfigError, DatasetError, Problem
from brats_lightning.inference.segmenter import Segmentation
from brats_lightning.labels import EDITIONS, MASK, WHOLE
from brats_lightning.model.outputs import channels_within
from brats_lightning.nifti import UnreadableVolumeError, write_probability, write_volume
from brats_lightning.whole_files import half_name, sweep_halves, whole_file

SUMMARY = "predictions.json"
INTERNAL = "internal"
TISSUES_IN_PICTURES = "2023"
DESCRIPTION = "brats_lightning, research software"


@dataclass(frozen=True)
class Wanted:
    """What to write of each case.

    Args:
        labels: Edition whose values label maps get, `internal`, or None for the case's own edition, where that has the
            labels: tumour of no stated tissue is written as a mask, and tissues in a picture as BraTS 2023 does.
        probabilities: Also a map of each region's probability.
        uncertainty: Also a map of the entropy.
    """

    labels: str | None = None
    probabilities: bool = False
    uncertainty: bool = False

    def __post_init__(self) -> None:
        if self.labels not in {None, INTERNAL, *EDITIONS}:
            raise ConfigError(f"labels {self.labels!r}: expected {INTERNAL} or one of {', '.join(EDITIONS)}")


def require_other_folder(cases: Iterable[Case], output: Path) -> None:
    """Refuse to write over what is read: results have the names of their cases, as pictures do.

    Raises:
        ConfigError: A case's own file would be overwritten.
    """
    for case in cases:
        results = {f"{case.id}{ending}".lower() for ending in (".nii.gz", ".png")}
        for path in case.files:
            if path.name.lower() in results and path.parent.resolve() == output.resolve():
                raise ConfigError(f"{path} would be overwritten by its own result: give another --output")


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
            probe = half_name(folder / "writable")
            probe.touch()
            probe.unlink()
            for place, names in ((folder, "*.nii.gz"), (folder, "*.png"), (folder / RECORDS, "*.json")):
                sweep_halves(place, names)
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
            if record := _read_record(path):
                found[path.stem] = record
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
        return _read_record(self.folder / RECORDS / f"{case}.json")

    def write(
        self,
        case: Case,
        segmentation: Segmentation,
        wanted: Wanted,
        *,
        like: Path,
        edition: str | None = None,
        regions: Mapping[str, Sequence[int]],
        seconds: Mapping[str, float],
        notes: Sequence[str],
    ) -> None:
        """Write a case's files and read them back; its record comes last.

        Args:
            case: Which one.
            segmentation: What to write.
            wanted: Which files.
            like: File whose geometry they get; of a picture, which has none, a PNG mask is written too.
            edition: Whose values the labels have unless `wanted` names one, None for the case's own.
            regions: Label values of the regions whose volumes are stated.
            seconds: What each stage before has taken.
            notes: What was odd about the case, in words.

        Raises:
            DatasetError: The edition has no value for a label.
            BratsError: The folder is full or gone, or a file does not hold what was written.
        """
        started = time.perf_counter()
        edition = wanted.labels or edition or _edition(case, segmentation.labels)
        labels = _values(case, segmentation.labels, edition)
        files: dict[str, npt.NDArray[Any]] = {f"{case.id}.nii.gz": labels}
        files |= _maps(case, segmentation.probabilities, wanted, regions)
        picture = f"{case.id}.png" if is_picture(like) else None
        names = [*files, *([picture] if picture else [])]
        self._discard(case.id, but=names)
        paste, native = segmentation.placement.paste, segmentation.placement.native
        geometry = None if picture else like
        for name, array in files.items():
            put = write_volume if array is labels else write_probability
            with self._named(name) as path:
                put(path, paste(array), native, like=geometry, description=DESCRIPTION, verify=True)
        if picture:
            with self._named(picture) as path:
                write_picture_mask(path, paste(segmentation.labels), paste(labels))
        taken = {**seconds, "write": time.perf_counter() - started}
        record = {
            "key": self.key,
            "files": names,
            "inputs": _inputs(case),
            "edition": case.edition,
            "labels": edition,
            "volumes_ml": _volumes_ml(segmentation, regions),
            "seconds": {stage: round(value, 3) for stage, value in taken.items()},
            "notes": list(notes),
        }
        self._write_json(Path(RECORDS) / f"{case.id}.json", record)

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[Path]:
        """The path of a result; what goes wrong in writing it is told with its name."""
        path = self.folder / name
        try:
            yield path
        except OSError as error:
            raise BratsError(f"{path} could not be written ({error.strerror}): what is finished stays") from error
        except UnreadableVolumeError as error:
            raise BratsError(f"{path} could not be written ({error}): look at the disk") from error

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
        for name in self._record(case).get("files") or ():
            if name not in but and (path := self.folder / Path(name).name).is_file():
                path.unlink(missing_ok=True)

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
        try:
            with whole_file(path) as half:
                text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
                half.write_text(text, encoding="utf-8", errors="replace")
        except OSError as error:
            raise BratsError(f"{path} could not be written ({error.strerror}): what is finished stays") from error
        return path


def _read_record(path: Path) -> dict[str, Any]:
    """A record of a case; an empty one where there is none, or a damaged one."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(record, dict):
        return {}
    files = record.get("files")
    finished = isinstance(files, list) and all(isinstance(name, str) for name in files)
    return record if finished or (files is None and isinstance(record.get("problem"), str)) else {}


def _inputs(case: Case) -> list[dict[str, Any]]:
    """What tells a case's files from others of the same name, and from their own earlier contents."""
    found = []
    for path in case.files:
        about = path.stat()
        found.append({"file": path.name, "bytes": about.st_size, "changed_ns": about.st_mtime_ns})
    return found


def _without_key(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "key"}


def _edition(case: Case, labels: npt.NDArray[np.uint8]) -> str:
    """Whose values a label map gets where nobody says: those of the case, if they have its labels."""
    if (labels == WHOLE).any():
        return MASK
    return TISSUES_IN_PICTURES if case.edition == MASK and labels.any() else case.edition


def _values(case: Case, labels: npt.NDArray[np.uint8], edition: str) -> npt.NDArray[np.uint8]:
    if edition == INTERNAL:
        return labels
    try:
        return EDITIONS[edition].encode(labels)
    except ValueError as error:
        raise DatasetError(Problem(case.id, "", str(error), "choose an edition that has it by --labels")) from error


def _volumes_ml(segmentation: Segmentation, regions: Mapping[str, Sequence[int]]) -> dict[str, float]:
    voxel_ml = float(np.prod(segmentation.placement.native.spacing_mm)) / 1000
    voxels = np.bincount(segmentation.labels.ravel(order="K"), minlength=256)
    return {region: round(float(voxels[list(values)].sum()) * voxel_ml, 3) for region, values in regions.items()}


def _maps(
    case: Case, probabilities: torch.Tensor, wanted: Wanted, regions: Mapping[str, Sequence[int]]
) -> dict[str, npt.NDArray[np.float32]]:
    """Maps besides the labels that are wanted, by the names of their files."""
    maps: dict[str, npt.NDArray[np.float32]] = {}
    if wanted.probabilities:
        for region, values in regions.items():
            if channels_within(values, len(probabilities)):
                maps[f"{case.id}_{region}_probability.nii.gz"] = _probability(probabilities, values)
    if wanted.uncertainty:
        maps[f"{case.id}_entropy.nii.gz"] = _entropy(probabilities)
    return maps


def _probability(probabilities: torch.Tensor, values: Sequence[int]) -> Any:
    return probabilities[channels_within(values, len(probabilities))].sum(dim=0).clamp(0, 1).float().cpu().numpy()


def _entropy(probabilities: torch.Tensor) -> Any:
    """Entropy of the labels' probabilities, as a share of the largest possible one."""
    entropy = -torch.xlogy(probabilities, probabilities).sum(dim=0) / float(np.log(len(probabilities)))
    return entropy.clamp(0, 1).float().cpu().numpy()
