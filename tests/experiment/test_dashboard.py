import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brats_lightning.cli import main
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.experiment import dashboard as command
from brats_lightning.experiment.dashboard import dashboard
from brats_lightning.experiment.facts import facts_of

pytest.importorskip("wandb_workspaces", reason="brats dashboard needs the extra `dashboard`")


@pytest.fixture
def specification(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a dry run, which asks nobody."""
    monkeypatch.setattr(command, "obstacle", lambda: pytest.fail("it asked"))
    file = tmp_path / "view.json"
    dashboard(project="p", entity="e", dry_run=file, regions=("ET", "WT"))
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def panels(specification: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and configuration of each panel."""
    for section in specification["spec"]["section"]["panelBankConfig"]["sections"]:
        for panel in section["panels"]:
            yield panel["viewType"], panel["config"]


def test_curves_of_each_region_are_means_over_runs_of_a_configuration(specification: dict[str, Any]) -> None:
    assert (specification["entity"], specification["project"], specification["name"]) == ("e", "p", "brats")
    curves = {config["metrics"][0]: config for kind, config in panels(specification) if config.get("metrics")}
    for metric in ("val/dice_ET", "val/dice_WT", "val/hd95_mm_ET", "train/loss_epoch", "val/loss"):
        found = [curves[metric][key] for key in ("groupBy", "groupAgg", "groupArea")]
        assert found == ["group", "mean", "stddev"]
    assert "val/dice_TC" not in json.dumps(specification)


def test_runs_are_compared_by_what_is_logged_of_them(specification: dict[str, Any]) -> None:
    found = dict(panels(specification))
    assert "Run Comparer" in found
    columns = [column["accessor"] for column in found["Parallel Coordinates Plot"]["columns"]]
    scored = ["summary:val/dice_ET", "summary:val/dice_WT"]
    parameters = [name.removeprefix("config:").partition(".value") for name in columns if name not in scored]
    assert [name for name in columns if name in scored] == scored
    config = {"model": {"network": "a.B", "outputs": "labels", "optimizer": {"init_args": {"lr": 1}}}, "data": {}}
    logged = facts_of(config, Nothing())  # type: ignore[arg-type]
    assert {first for first, _, rest in parameters if not rest} <= set(logged)
    assert {"learning_rate", "network", "augmentation"} <= {first for first, *_ in parameters}


class Nothing:
    """A data module before it has looked for cases."""

    parts = None


def test_pictures_and_tables_are_those_that_a_run_logs(specification: dict[str, Any]) -> None:
    media = [key for kind, config in panels(specification) if kind == "Media Browser" for key in config["mediaKeys"]]
    assert media == ["pictures/validation", "pictures/3d"]
    tables = [json.dumps(config) for kind, config in panels(specification) if kind == "Weave"]
    assert len(tables) == 1
    assert "pictures/cases" in tables[0]


def test_it_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["dashboard", "--project", "p", "--regions", "WT", "TC", "--dry-run", str(tmp_path / "view.json")])
    assert "specification of the view 'brats'" in capsys.readouterr().out
    assert "val/dice_TC" in (tmp_path / "view.json").read_text()


def test_without_a_route_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "obstacle", lambda: "no route to https://host")
    with pytest.raises(BratsError, match=r"no route to https://host: nothing is saved; --dry-run FILE writes"):
        dashboard(project="p")


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf:
        entity = "e"

        def save(self) -> None:
            time.sleep(5)

    start = time.monotonic()
    with pytest.raises(BratsError, match=r"no answer within 0\.2 s"):
        command._saved(Deaf(), seconds=0.2)  # type: ignore[arg-type]
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"regions": ("XX",)}, "--regions: unknown region XX"),
        ({"regions": ()}, "at least one of --regions"),
        ({"seconds": 0.0}, "--seconds above 0"),
        ({"dry_run": Path("nowhere/view.json")}, "nowhere/view.json cannot be written"),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=told):
        dashboard(**options)
