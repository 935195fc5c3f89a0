"""A report of one case: what was found where, how large it is, and how well it agrees with the reference."""

from pathlib import Path

from brats_lightning.errors import ConfigError
from brats_lightning.reports.case_files import CaseFilesRead, read_case_files
from brats_lightning.reports.case_numbers import measure
from brats_lightning.reports.case_record import provenance
from brats_lightning.reports.case_sections import glance, score_section, size_section
from brats_lightning.reports.figures.difference import draw_difference
from brats_lightning.reports.figures.montage import draw_montage
from brats_lightning.reports.figures.overlay import overlay
from brats_lightning.reports.figures.planes import tilt_degrees
from brats_lightning.reports.html.page import Section, page
from brats_lightning.reports.html.parts import joined, picture
from brats_lightning.reports.rendering.scene import brain_mask, scene
from brats_lightning.reports.rendering.still import still
from brats_lightning.reports.rendering.viewer import mesh_section
from brats_lightning.reports.viewer.section import viewer_section

WIDEST_PIXELS = 1600
"""Of a picture on the page; those in the folder beside it stay as they were drawn."""
BEST = "t2f"


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
        text = page(
            f"Case {read.case.id}", _sections(read, folder), subtitle="brain-tumour segmentation · report of a case"
        )
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"the report {path} cannot be written ({error.strerror}): give another --output") from error
    return path


def _beside(path: Path, read: CaseFilesRead) -> Path:
    """The folder for pictures; of a page beside a case of the same name, another one than that of the case."""
    folder = path.with_suffix("")
    taken = {file.parent.resolve() for file in read.case.files}
    return folder.with_name(f"{folder.name}-report") if folder.resolve() in taken else folder


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
    return [*found, _pictures(read, folder), *_in_three_dimensions(read, folder), provenance(read)]


def _pictures(read: CaseFilesRead, folder: Path) -> Section:
    """Still pictures, which paper and browsers without WebGL2 show too."""
    volumes, title = read.volumes, read.case.id
    best = read.modalities.index(BEST) if BEST in read.modalities else 0
    tilt = tilt_degrees(volumes.grid.affine)
    spacing_mm = volumes.grid.spacing_mm
    paths = {name: folder / f"{name}.png" for name in ("planes", "montage", "difference")}
    overlay(
        volumes.image,
        read.reference,
        prediction=read.prediction,
        spacing_mm=spacing_mm,
        path=paths["planes"],
        title=title,
        modalities=read.modalities,
        tilt_degrees=tilt,
        placed=read.placed,
    )
    shown = {"planes": "the planes with most tumour, with its outlines"}
    grey, modality = volumes.image[best], read.modalities[best]
    if 1 not in volumes.grid.shape:
        draw_montage(
            grey,
            reference=read.reference,
            prediction=read.prediction,
            spacing_mm=spacing_mm,
            path=paths["montage"],
            title=title,
            modality=modality,
            tilt_degrees=tilt,
            placed=read.placed,
        )
        shown["montage"] = "slices from one end of the tumour to the other"
    if read.reference is not None:
        draw_difference(
            grey,
            read.reference,
            read.prediction,
            spacing_mm=spacing_mm,
            path=paths["difference"],
            title=title,
            modality=modality,
            tilt_degrees=tilt,
            placed=read.placed,
        )
        shown["difference"] = "what was missed, and what was found falsely"
    held = [
        picture(paths[name], description=f"{title}: {what}", caption=what, widest_pixels=WIDEST_PIXELS)
        for name, what in shown.items()
    ]
    return Section("Pictures", joined(*held))


def _in_three_dimensions(read: CaseFilesRead, folder: Path) -> list[Section]:
    """The prediction's surfaces inside the brain."""
    volumes = read.volumes
    seen = scene(read.prediction, volumes.grid.affine, title=read.case.id, brain=brain_mask(volumes.image))
    path = folder / "surfaces.png"
    still(seen, path=path)
    return [mesh_section(seen, title="The prediction in three dimensions", picture=path)]
