"""What `brats dashboard` shows of a W&B project: built in code, and written down without a network."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from brats_lightning.errors import ConfigError
from brats_lightning.reports.wandb_media.images import PICTURES, SURFACES, TABLE

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import PanelTypes
    from wandb_workspaces.workspaces import Section, Workspace

NAME = "brats"
EPOCH = "epoch"
PARAMETERS = ("learning_rate", "network", "augmentation", "data.batch_size")
"""Keys of a run's configuration that parallel coordinates are drawn over; `experiment.facts` logs the first three."""
MOST_RUNS = 100


def workspace(*, project: str, entity: str = "", regions: Sequence[str], name: str = NAME) -> "Workspace":
    """Curves, comparisons and pictures of a project's runs.

    Curves are grouped by configuration: each is the mean over its runs, such as the folds of a cross-validation, with
    a band of one standard deviation.

    Args:
        project: Of the runs.
        entity: Team or user.
        regions: Whose scores are drawn.
        name: Of the view.

    Raises:
        ConfigError: The library that builds it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its own, of pydantic
            import wandb_workspaces.workspaces as ws  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            "brats dashboard builds its workspace with wandb-workspaces, which is not installed: "
            "pip install 'brats-lightning[dashboard]'"
        ) from error
    best = f"val/dice_{regions[0]}"
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[
            _curves("Dice", [(f"Dice {region}", f"val/dice_{region}") for region in regions], top=1.0),
            _curves("Distance", [(f"HD95 {region} in mm", f"val/hd95_mm_{region}") for region in regions]),
            _training(),
            _comparison(regions),
            _pictures(),
        ],
        settings=ws.WorkspaceSettings(x_axis=EPOCH, max_runs=MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            pinned_columns=["run:group", "run:jobType", "run:tags", f"summary:{best}", "config:commit.value"],
        ),
    )


def as_json(view: "Workspace") -> dict[str, Any]:
    """The specification that W&B's server would be sent."""
    model = view._to_model()
    spec: dict[str, Any] = model.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"entity": view.entity, "project": view.project, "name": view.name, "spec": spec}


def _curves(name: str, curves: Sequence[tuple[str, str]], *, top: float | None = None) -> "Section":
    """A panel a metric: mean and spread over the runs of a configuration."""
    import wandb_workspaces.reports.v2.interface as wr  # noqa: PLC0415
    import wandb_workspaces.workspaces as ws  # noqa: PLC0415

    panels: list[PanelTypes] = [
        wr.LinePlot(
            title=title,
            x=EPOCH,
            y=[metric],
            range_y=(None if top is None else 0.0, top),
            groupby=wr.Metric("Group"),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=MOST_RUNS,
        )
        for title, metric in curves
    ]
    return ws.Section(name=name, panels=panels, is_open=True)


def _training() -> "Section":
    section = _curves(
        "Training",
        [
            ("Training loss", "train/loss_epoch"),
            ("Validation loss", "val/loss"),
            ("Samples a second", "speed/samples_per_s"),
            ("Share of time spent waiting", "speed/waiting"),
            ("GPU memory in GB", "speed/gpu_gb"),
        ],
    )
    import wandb_workspaces.reports.v2.interface as wr  # noqa: PLC0415

    section.panels.append(wr.LinePlot(title="Learning rate", x="trainer/global_step", metric_regex="lr-.*", log_y=True))
    return section


def _comparison(regions: Sequence[str]) -> "Section":
    """Which parameters differ, and what they are worth."""
    import wandb_workspaces.reports.v2.interface as wr  # noqa: PLC0415
    import wandb_workspaces.workspaces as ws  # noqa: PLC0415

    scores = [f"val/dice_{region}" for region in regions]
    columns = [
        wr.ParallelCoordinatesPlotColumn(wr.Config(name), log=True if name == "learning_rate" else None)
        for name in PARAMETERS
    ]
    columns += [wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(score)) for score in scores]
    panels: list[PanelTypes] = [
        wr.RunComparer(diff_only="split"),
        wr.ParallelCoordinatesPlot(title="What the parameters are worth", columns=columns),
        wr.BarPlot(
            title="Last Dice, mean over runs",
            metrics=[*scores],
            groupby="Group",
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        ),
    ]
    wide = ws.SectionLayoutSettings(columns=1, rows=len(panels))
    return ws.Section(name="Comparison", panels=panels, is_open=True, layout_settings=wide)


def _pictures() -> "Section":
    """What `ValidationPictures` has logged."""
    import wandb_workspaces.reports.v2.interface as wr  # noqa: PLC0415
    import wandb_workspaces.workspaces as ws  # noqa: PLC0415

    panels: list[PanelTypes] = [
        wr.MediaBrowser(
            title="Validation cases", media_keys=[PICTURES], mode="grid", grid_x_axis="step", grid_y_axis="run"
        ),
        wr.WeavePanelSummaryTable(table_name=TABLE),
        wr.MediaBrowser(title="Surfaces", media_keys=[SURFACES], mode="gallery", gallery_axis="run"),
    ]
    wide = ws.SectionLayoutSettings(columns=1, rows=len(panels))
    return ws.Section(name="Pictures", panels=panels, is_open=True, layout_settings=wide)
