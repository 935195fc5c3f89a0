"""What a report of a case is made of: its images, as many as there are, its prediction and its reference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.naming import MODALITY_OF_NAME, CaseFiles, group_files
from brats_lightning.data.pictures import is_picture, picture_files
from brats_lightning.data.reading import CaseVolumes, read_case, reference_file
from brats_lightning.errors import ConfigError, DatasetError, Problem
from brats_lightning.inference.results import INTERNAL, SUMMARY
from brats_lightning.labels import EDITIONS, MODALITIES, Modality
from brats_lightning.nifti import UnreadableVolumeError
from brats_lightning.reports.predicted import Labels, Predicted, find_predictions, read_prediction

PICTURES_SHOW: Modality = "t1c"
"""What pictures of one slice are taken for: those of figshare 1512427 are."""
DESCRIPTION = "dataset.json"
"""Of a folder of the Medical Segmentation Decathlon."""


@dataclass(frozen=True, eq=False)
class CaseFilesRead:
    """A case with everything that a report shows of it, in RAS order.

    Args:
        case: Its files.
        modalities: Channels of its image.
        volumes: Of its images.
        predicted: The file of the prediction, and whose labels it holds.
        prediction: (X, Y, Z) labels as inside the program.
        reference_path: The file of the reference, None where there is none.
        reference: Like the prediction.
        reference_edition: Whose labels its file holds.
        placed: Whether directions and mm are those of the patient, which pictures do not know.
    """

    case: Case
    modalities: tuple[Modality, ...]
    volumes: CaseVolumes
    predicted: Predicted
    prediction: Labels
    reference_path: Path | None
    reference: Labels | None
    reference_edition: str
    placed: bool

    @property
    def missing(self) -> tuple[Modality, ...]:
        """Modalities that a case of BraTS has and this one has not; of a picture, nothing is missing."""
        return tuple(name for name in MODALITIES if name not in self.modalities) if self.placed else ()

    @property
    def editions(self) -> dict[str, str]:
        """Whose labels the file of each segmentation holds, or `internal`."""
        return {"prediction": str(self.predicted.labels), "reference": self.reference_edition}

    @property
    def segmentations(self) -> dict[str, Labels]:
        """By name, the prediction first."""
        found = {"prediction": self.prediction}
        return found if self.reference is None else found | {"reference": self.reference}


def read_case_files(
    path: Path,
    *,
    prediction: Path,
    reference: Path | None,
    edition: str | None,
    prediction_edition: str | None,
) -> CaseFilesRead:
    """Read a case with its prediction.

    Args:
        path: Folder of the case, or one of its files.
        prediction: Its label map, or the folder of `brats predict` that has it.
        reference: Label map to compare with, None for the case's own.
        edition: Whose label values the reference holds, None to recognise it.
        prediction_edition: The same for the prediction; None takes what `brats predict` has recorded, else the case's.

    Raises:
        BratsError: Something of it is not there, is several, or cannot be used.
    """
    for name in (edition, prediction_edition):
        if name not in {None, INTERNAL, *EDITIONS}:
            raise ConfigError(f"edition {name!r} is unknown: expected {INTERNAL} or one of {', '.join(EDITIONS)}")
    case, modalities = find_case(path, edition=edition)
    if reference is not None:
        case = replace(case, label=None)  # the one that was asked for counts, whatever is the matter with its own
    volumes = read_case(case, modalities=modalities, align=True)
    predicted = _predicted(prediction, case, prediction_edition)
    found = _read(predicted, case, volumes, option="--prediction-edition")
    compared, meant = volumes.label, case.edition
    if reference is not None:
        _require_file(reference)
        meant = edition or case.edition
        compared = _read(Predicted(reference, meant), case, volumes, option="--edition")
    return CaseFilesRead(
        case=case,
        modalities=modalities,
        volumes=volumes,
        predicted=predicted,
        prediction=found,
        reference_path=reference or case.label,
        reference=compared,
        reference_edition=meant,
        placed=not is_picture(reference_file(case, modalities=modalities, align=True)),
    )


def find_case(path: Path, *, edition: str | None = None) -> tuple[Case, tuple[Modality, ...]]:
    """The one case of a folder, or that a file belongs to, with the modalities that it has.

    Raises:
        ConfigError: There is nothing of that name, or several cases are there.
        DatasetError: No case is there, or something is wrong with it.
    """
    if not path.exists():
        raise ConfigError(f"no {path}: expected the folder of a case, or one of its files")
    file = path if path.is_file() else None
    root = _root_of(path) if file else path
    groups = [group for group in group_files(root)[0] if _modalities(group) and _holds(group, file)]
    if len(groups) > 1:
        raise _several(path, [group.case for group in groups])
    wanted = _modalities(groups[0]) if groups else (PICTURES_SHOW,) if _only_pictures(root) else MODALITIES
    found = find_cases(root, modalities=wanted, edition=None if edition == INTERNAL else edition)
    names = {group.case.lower() for group in groups}
    cases = [
        case for case in found.cases
        if (case.id.lower() in names if names else file is None or _same(file, case.files))
    ]  # fmt: skip
    if len(cases) > 1:
        raise _several(path, [case.id for case in cases])
    if not cases:
        own = [problem for problem in found.problems if not names or problem.case.lower() in names]
        raise DatasetError(own or Problem(path.name, "", "no case of a known edition", "give the folder of a case"))
    return cases[0], wanted


def _root_of(file: Path) -> Path:
    """The folder that tells what a file is; a file of the Decathlon lies one below."""
    above = file.absolute().parent.parent
    return above if (above / DESCRIPTION).is_file() else file.parent


def _modalities(group: CaseFiles) -> tuple[Modality, ...]:
    found = {MODALITY_OF_NAME[kind] for kind in group.found if kind in MODALITY_OF_NAME}
    return tuple(name for name in MODALITIES if name in found)


def _only_pictures(root: Path) -> bool:
    return not (root / DESCRIPTION).is_file() and bool(picture_files(root))


def _holds(group: CaseFiles, file: Path | None) -> bool:
    return file is None or _same(file, [path for paths in group.found.values() for path in paths])


def _same(file: Path, others: Sequence[Path]) -> bool:
    return any(file.absolute() == other.absolute() for other in others)


def _several(path: Path, names: Sequence[str]) -> ConfigError:
    shown = ", ".join(sorted(names)[:2])
    return ConfigError(f"{path} has {len(names)} cases, such as {shown}: give the folder of one, or one of its files")


def _predicted(path: Path, case: Case, edition: str | None) -> Predicted:
    """The prediction's file, and whose labels it holds."""
    if path.is_dir():
        problems: list[Problem] = []
        own = find_predictions(path, problems).get(case.id.lower())
        if own is None:
            same = [problem for problem in problems if problem.case.lower() == case.id.lower()]
            raise (
                DatasetError(same)
                if same
                else ConfigError(
                    f"{path} has no label map of {case.id}: expected {case.id}.nii.gz, or give the file itself"
                )
            )
    else:
        _require_file(path)
        own = Predicted(path)
        if (path.parent / SUMMARY).is_file():
            recorded = find_predictions(path.parent, []).get(case.id.lower())
            own = recorded if recorded and _same(path, [recorded.path]) else own
    return Predicted(own.path, edition or own.labels or case.edition)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"no file {path}: expected a label map of the case")


def _read(predicted: Predicted, case: Case, volumes: CaseVolumes, *, option: str) -> Labels:
    """Labels of a file that belongs to the case.

    Raises:
        DatasetError: It does not lie on the case's grid, or holds no labels of its edition.
    """
    try:
        return read_prediction(predicted, volumes)
    except (UnreadableVolumeError, ValueError) as error:
        cure = f"write it again on the grid of the case, or say with {option} which labels it holds"
        raise DatasetError(Problem(case.id, predicted.path.name, str(error), cure)) from error
