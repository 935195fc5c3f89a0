"""A report of one case: what was found where, how large it is, and how well it agrees with the reference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from brats_lightning.errors import ConfigError
from brats_lightning.reports.case.files import CaseFilesRead, read_case_files
from brats_lightning.reports.case.numbers import measure
from brats_lightning.reports.case.record import provenance
from brats_lightning.reports.case.sections import glance, score_section, size_section
from brats_lightning.reports.figures.difference import draw_difference
from brats_lightning.reports.figures.montage import draw_montage
from brats_lightning.reports.figures.overlay import BEST, overlay
from brats_lightning.reports.figures.planes import tilt_degrees
from brats_lightning.reports.html.page import Section, page
from brats_lightning.reports.html.parts import joined, picture
from brats_lightning.reports.html.written import remove_files_of, write_page
from brats_lightning.reports.rendering.scene import brain_mask, scene
from brats_lightning.reports.rendering.still import still
from brats_lightning.reports.rendering.viewer import mesh_section
from brats_lightning.reports.viewer.section import viewer_section

SUBTITLE = "brain-tumour segmentation · report of a case"
PLANES, MONTAGE, DIFFERENCE, SURFACES = "planes.png", "montage.png", "difference.png", "surfaces.png"
"""Names of the pictures beside the page."""
WIDEST_PIXELS = 1600
"""Of a picture on the page; those in the folder beside it stay as they were drawn."""


def case_report(
    case: Path,
    *,
    prediction: Path,
    reference: Path | None = None,
    output: Path | None = None,
    edition: str | None = None,
    prediction_edition: str | None = None,
) -> Path:
    """Write the report of a case: an HTML file that needs nothing beside it, and its pictures in a folder of its name.

    Args:
        case: Folder of the case, or one of its files; a picture of one slice is a case, too.
        prediction: Its label map, or the folder of `brats predict` that has it.
        reference: Label map to compare with; None takes that of the case, if it has one.
        output: The HTML file; None writes `<case>.html`.
        edition: Edition whose label values the reference holds, where names and values do not tell.
        prediction_edition: The same for the prediction, or internal; None takes what `brats predict` has recorded,
            else the edition of the case.

    Returns:
        The HTML file.

    Raises:
        BratsError: Something of the case cannot be used, or the report not be written.
    """
    if output is not None and (output.is_dir() or output.suffix.lower() not in {".html", ".htm"}):
        raise ConfigError(f"{output} is no name of an HTML file: give --output such as {output / 'case.html'}")
    read = read_case_files(
        case, prediction=prediction, reference=reference, edition=edition, prediction_edition=prediction_edition
    )
    path = output or Path(f"{read.case.id}.html")
    folder = _beside(path, read)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_files_of(path, folder=folder)  # an earlier report may have had more to show
        write_page(path, case_page(read, folder))
    except OSError as error:
        raise ConfigError(f"the report {path} cannot be written ({error.strerror}): give another --output") from error
    return path


def _beside(path: Path, read: CaseFilesRead) -> Path:
    """The folder for pictures; of a page beside a case of the same name, another one than that of the case."""
    folder = path.with_suffix("")
    taken = {file.parent.resolve() for file in read.case.files}
    return folder.with_name(f"{folder.name}-report") if folder.resolve() in taken else folder


def case_page(read: CaseFilesRead, folder: Path, *, subtitle: str = SUBTITLE) -> str:
    """The report of a case as the text of a page, which needs nothing beside it.

    Args:
        read: The case.
        folder: For its pictures; it must exist.
        subtitle: Stands below the title.
    """
    return page(f"Case {read.case.id}", _sections(read, folder), subtitle=subtitle, beside=[*_shown(read), SURFACES])


def _sections(read: CaseFilesRead, folder: Path) -> list[Section]:
    numbers = measure(read)
    looked_at = viewer_section(
        read.volumes.image,
        read.segmentations,
        grid=read.volumes.grid,
        modalities=read.modalities,
        placed=read.placed,
        title="Viewer",
    )
    found = [glance(read, numbers), looked_at, size_section(read, numbers)]
    if numbers.scores:
        found.append(score_section(read, numbers))
    return [*found, _pictures(read, folder), _in_three_dimensions(read, folder / SURFACES), provenance(read)]


class _Placed(TypedDict):
    """What every picture of a case is told."""

    spacing_mm: Sequence[float]
    title: str
    tilt_degrees: float
    placed: bool


def _pictures(read: CaseFilesRead, folder: Path) -> Section:
    """Still pictures, which paper and browsers without WebGL2 show too."""
    shown = _shown(read)
    _draw(read, {name: folder / name for name in shown})
    held = [
        picture(folder / name, description=f"{read.case.id}: {what}", caption=what, widest_pixels=WIDEST_PIXELS)
        for name, what in shown.items()
    ]
    return Section("Pictures", joined(*held))


def _shown(read: CaseFilesRead) -> dict[str, str]:
    """Names of the pictures that a case has, with what they show."""
    shown = {PLANES: "the planes with most tumour, with its outlines"}
    if 1 not in read.volumes.grid.shape:
        shown[MONTAGE] = "slices from one end of the tumour to the other"
    if read.reference is not None:
        shown[DIFFERENCE] = "what was missed, and what was found falsely"
    return shown


def _draw(read: CaseFilesRead, paths: Mapping[str, Path]) -> None:
    """Draw those of a case's pictures that have a path."""
    image, grid = read.volumes.image, read.volumes.grid
    about: _Placed = {
        "spacing_mm": grid.spacing_mm,
        "title": read.case.id,
        "tilt_degrees": tilt_degrees(grid.affine),
        "placed": read.placed,
    }
    overlay(image, read.reference, prediction=read.prediction, path=paths[PLANES], modalities=read.modalities, **about)
    modality = BEST if BEST in read.modalities else read.modalities[0]
    grey = image[read.modalities.index(modality)]
    if path := paths.get(MONTAGE):
        draw_montage(grey, reference=read.reference, prediction=read.prediction, path=path, modality=modality, **about)
    if (path := paths.get(DIFFERENCE)) and read.reference is not None:
        draw_difference(grey, read.reference, read.prediction, path=path, modality=modality, **about)


def _in_three_dimensions(read: CaseFilesRead, path: Path) -> Section:
    """The prediction's surfaces inside the brain."""
    volumes = read.volumes
    seen = scene(read.prediction, volumes.grid.affine, title=read.case.id, brain=brain_mask(volumes.image))
    still(seen, path=path)
    return mesh_section(seen, title="The prediction in three dimensions", picture=path)
