"""`brats radiomics`: measure segmented regions, one row a case and region."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from brats_lightning.errors import SHOWN_PROBLEMS, ConfigError, DatasetError, Problem
from brats_lightning.evaluation.tables import print_problems
from brats_lightning.labels import MODALITIES, Modality, region_labels
from brats_lightning.machine import usable_cores
from brats_lightning.parallel import in_parallel
from brats_lightning.radiomics.columns import columns
from brats_lightning.radiomics.files import FORMATS, INSTALL_PARQUET, Format, has_parquet, write_results
from brats_lightning.radiomics.measuring import AS_READ, NORMALISED, Row, Settings, measure_case
from brats_lightning.radiomics.sources import Source, find_sources

REGIONS = ("ET", "ED", "NCR", "WT", "TC")


def radiomics(
    root: Path,
    *,
    predictions: Path | None = None,
    output: Path = Path("radiomics"),
    edition: str | None = None,
    prediction_edition: str | None = None,
    modalities: tuple[Modality, ...] = MODALITIES,
    regions: tuple[str, ...] = REGIONS,
    bin_width: float = 25.0,
    normalise: bool = False,
    formats: tuple[Format, ...] | None = None,
    workers: int | None = None,
) -> None:
    """Measure segmented regions: place, volume, diameters, shape, intensities, texture; a row a case and region.

    Features have pyradiomics' names and values and the IBSI's definitions; radiomics.json beside the table says which.
    Intensities are those of the image files, a background other than 0 shifted to 0. Cases that cannot be measured
    are passed over and named at the end; the exit code is 1 then. A cell is empty where a region is absent or too
    small for a feature.

    Args:
        root: Folder of cases of any edition.
        predictions: Folder of label maps named after the cases, measured instead of the references.
        output: Folder for radiomics.csv, radiomics.parquet and radiomics.json.
        edition: Edition whose label values the references hold, where names and values do not tell.
        prediction_edition: The same for the predictions; null takes the edition of each case.
        modalities: Whose intensities are measured; every case must have them.
        regions: Names such as ET, ED, NCR, WT, TC, RC, CC.
        bin_width: Width of the grey levels, in the unit of the intensities.
        normalise: Measure z-scores, inside the brain and times 100, instead of intensities as they were read.
        formats: csv and parquet; null writes both where the library for parquet is installed.
        workers: Processes; null takes the cores this process may use.
    """
    console = Console(markup=False, emoji=False, highlight=False)  # brackets in a file's name are no markup
    settings = _settings(modalities, regions, bin_width=bin_width, normalise=normalise, workers=workers)
    chosen = _formats(formats)
    sources = find_sources(
        root,
        predictions=predictions,
        modalities=modalities,
        edition=edition,
        prediction_edition=prediction_edition,
    )
    rows, problems = _measure(sources.found, settings, workers=workers or usable_cores())
    problems = sorted([*sources.problems, *problems], key=lambda problem: (problem.case, problem.file))
    if not rows and not problems:
        raise ConfigError(f"no case of {root} has a segmentation: give label maps with --predictions")
    if rows:
        about = {
            "root": str(root),
            "predictions": str(predictions) if predictions else None,
            "settings": asdict(settings) | {"intensities": NORMALISED if normalise else AS_READ},
            "without_segmentation": sources.without,
        }
        table = columns(modalities)
        written = write_results(output, rows, table, formats=chosen, about=about, problems=problems)
        _print_summary(rows, settings, console)
        console.print(f"{len(table)} columns: {', '.join(map(str, written))}", soft_wrap=True)
    if formats is None and len(chosen) < len(FORMATS):
        console.print(f"No Parquet file: its library is not installed ({INSTALL_PARQUET}).", soft_wrap=True)
    if sources.without:
        shown = ", ".join(sources.without[:SHOWN_PROBLEMS]) + (" …" if len(sources.without) > SHOWN_PROBLEMS else "")
        console.print(f"{len(sources.without)} cases without a segmentation: {shown}", soft_wrap=True)
    if problems:
        if len(problems) > SHOWN_PROBLEMS:
            print_problems(problems, console=console)
        raise DatasetError(problems)


def _settings(
    modalities: tuple[Modality, ...],
    regions: tuple[str, ...],
    *,
    bin_width: float,
    normalise: bool,
    workers: int | None,
) -> Settings:
    """Refuse options without sense.

    Raises:
        ConfigError: Says which.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}: give 1 or more")
    if not 0 < bin_width < float("inf"):
        raise ConfigError(f"bin_width is {bin_width:g}: give a width above 0")
    if not regions:
        raise ConfigError(f"no regions: give some, such as {', '.join(REGIONS)}")
    for what, given in (("modalities", modalities), ("regions", regions)):
        if len(set(given)) < len(given):
            raise ConfigError(f"{what} has a name twice: {', '.join(given)}")
    try:
        return Settings(modalities, region_labels(regions), bin_width, normalise)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _formats(formats: tuple[Format, ...] | None) -> tuple[Format, ...]:
    """Which files to write.

    Raises:
        ConfigError: The library for one is not installed.
    """
    if formats is None:
        return FORMATS if has_parquet() else ("csv",)
    if not formats:
        raise ConfigError(f"no formats: give {' or '.join(FORMATS)}")
    if "parquet" in formats and not has_parquet():
        raise ConfigError(f"Parquet files need a library that is not installed: {INSTALL_PARQUET}")
    return tuple(dict.fromkeys(formats))


def _measure(sources: Sequence[Source], settings: Settings, *, workers: int) -> tuple[list[Row], list[Problem]]:
    """Measure cases on several processes.

    Returns:
        Rows sorted by case, regions in the order asked for, and why some cases have none.
    """
    rows: dict[str, list[Row]] = {}
    problems: list[Problem] = []
    jobs = [(source, settings) for source in sources]
    for (source, _), results in in_parallel(measure_case, jobs, workers=workers, doing="Measuring cases"):
        for result in results:
            if isinstance(result, Problem):
                problems.append(result)
            else:
                rows.setdefault(source.case.id, []).append(result)
    return [row for case in sorted(rows) for row in rows[case]], problems


def _print_summary(rows: Sequence[Row], settings: Settings, console: Console) -> None:
    table = Table(title=f"Regions of {len({row['case'] for row in rows})} cases, medians of those that have them")
    for heading in ("region", "cases", "ml", "longest mm", "axial mm"):
        table.add_column(heading, justify="left" if heading == "region" else "right")
    for region in settings.regions:
        own = [row for row in rows if row["region"] == region and row["voxels"]]
        volume, longest, axial, across = (
            _median(own, name)
            for name in ("volume_ml", "shape_Maximum3DDiameter", "axial_diameter_mm", "axial_perpendicular_mm")
        )
        table.add_row(region, str(len(own)), volume, longest, f"{axial} × {across}" if own else "–")
    console.print(table)


def _median(rows: Sequence[Row], name: str) -> str:
    values = [value for row in rows if isinstance(value := row.get(name), int | float)]
    return f"{statistics.median(values):.1f}" if values else "–"
