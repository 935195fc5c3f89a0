"""The part of a run's report about classes, voxels of all cases pooled: their measures, and what became of which."""

from pathlib import Path

from brats_lightning.errors import BratsError
from brats_lightning.reports.class_tables import read_counts
from brats_lightning.reports.html.parts import Html, details, notice, table
from brats_lightning.reports.run.figures import draw_classes
from brats_lightning.reports.run.folder import without_place
from brats_lightning.reports.run.scores import conventions, named_checkpoints
from brats_lightning.reports.run.sections import heading, shown
from brats_lightning.reports.score_files import ScoreFile, read_score_file
from brats_lightning.reports.score_kinds import is_no_score
from brats_lightning.reports.scores import SHOWN


def classes_of(file: ScoreFile, folder: Path, *, title: str) -> list[Html]:
    """What the callback ClassScores has counted on the cases of a file; nothing where it has not.

    Args:
        file: Scores by case.
        folder: For the plot.
        title: Stands above the plot.
    """
    path = file.path.with_name(file.path.name.replace("scores", "scores_classes", 1))
    if not path.is_file():
        return []
    try:
        pooled = read_score_file(path)
    except BratsError as error:
        return [notice(f"{path.name} is left out: {without_place(path, error)}.")]
    if named_checkpoints(pooled) not in ([], named_checkpoints(file)) or not _on_one_grid(file, pooled):
        return [notice(f"{path.name} is left out: it is of another checkpoint or grid than {file.path.name}.")]
    parts = []
    if (found := read_counts(pooled)) is not None:
        counts, names = found
        drawn = draw_classes(counts, names, folder, stem=path.stem, title=title, cases=len(file.cases))
        parts = [heading("Classes, voxels of all cases pooled"), shown(drawn)]
    return [*parts, details("measures of classes, voxels of all cases pooled", _measures(pooled))]


def _on_one_grid(file: ScoreFile, pooled: ScoreFile) -> bool:
    """Whether both say the same, as far as they say anything."""
    grids = [conventions(each).get("grid", "") for each in (file, pooled)]
    return "" in grids or grids[0] == grids[1]


def _measures(pooled: ScoreFile) -> Html:
    columns = [column for column in pooled.scores if not is_no_score(column)]
    rows = [
        [row[1].removeprefix("class_").replace("_", " "), *(f"{pooled.scores[column][row]:.4f}" for column in columns)]
        for row in pooled.rows
    ]
    caption = "accuracy is that of all voxels; micro averages count voxels, macro averages classes"
    return table(["class", *(SHOWN.get(column, column) for column in columns)], rows, caption=caption)
