"""`brats dashboard`: a W&B workspace for a project's runs, the same for everybody."""

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console

from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.labels import region_labels
from brats_lightning.loggers.wandb_server import obstacle
from brats_lightning.reports.wandb_media.workspace import NAME, as_json, workspace

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Workspace

SAVING_SECONDS = 60.0
REGIONS = ("ET", "ED", "NCR", "WT", "TC")


def dashboard(
    *,
    project: str = "brats",
    entity: str | None = None,
    dry_run: Path | None = None,
    name: str = NAME,
    regions: tuple[str, ...] = REGIONS,
    seconds: float = SAVING_SECONDS,
) -> None:
    """Make a view of a W&B project: curves per region with their spread over folds, comparisons, pictures, tables.

    Each call saves a view of its own and prints its address.

    Args:
        project: Of the runs, as in `trainer.logger`.
        entity: Team or user; null takes the key's default.
        dry_run: File for the specification as JSON; then nothing is sent, and no network is needed.
        name: Of the view.
        regions: Whose scores are drawn.
        seconds: After which saving is given up.

    Raises:
        BratsError: No key or route, a server that refuses or does not answer, or a library that is not installed.
    """
    try:
        region_labels(regions)
    except ValueError as error:
        raise ConfigError(f"--regions: {error}") from error
    if not regions or seconds <= 0:
        raise ConfigError("expected at least one of --regions, and --seconds above 0")
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    view = workspace(project=project, entity=entity or "", regions=regions, name=name)
    if dry_run is not None:
        try:
            dry_run.write_text(json.dumps(as_json(view), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{dry_run} cannot be written ({error.strerror}): give another --dry-run") from error
        console.print(f"specification of the view {name!r}: {dry_run}")
        return
    if what_is_missing := obstacle():
        raise BratsError(f"W&B: {what_is_missing}: nothing is saved; --dry-run FILE writes the specification")
    console.print(f"view {name!r} of {project}: {_saved(view, seconds=seconds)}")


def _saved(view: "Workspace", *, seconds: float) -> str:
    """Send a view in a thread that may be left behind: W&B asks a server that does not answer again and again."""
    answers: list[str | Exception] = []

    def send() -> None:
        import wandb  # noqa: PLC0415 - a second that the dry run need not wait for

        try:
            view.entity = view.entity or wandb.Api().default_entity or ""
            cast("Any", view).save()  # which has no annotations
            answers.append(view.url)
        except Exception as error:  # noqa: BLE001 - wandb and its transport raise what they like
            answers.append(error)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise BratsError(f"W&B: no answer within {seconds:g} s: nothing is known to be saved; try again later")
    if isinstance(answers[0], Exception):
        raise BratsError(f"W&B has not saved the view: {' '.join(str(answers[0]).split())}") from answers[0]
    return answers[0]
