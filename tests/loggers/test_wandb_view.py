"""That a view arrives at a server: here, where the server's stand-in is."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from brats_lightning.experiment.dashboard import dashboard

pytest.importorskip("wandb_workspaces", reason="brats dashboard needs the extra `dashboard`")


def without_ids(value: Any) -> Any:
    """A specification without the names that are drawn anew each time."""
    if isinstance(value, dict):
        return {key: without_ids(each) for key, each in value.items() if key not in {"__id__", "id"}}
    return [without_ids(each) for each in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_what_arrives_is_what_a_dry_run_writes(server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dashboard(project="brats", dry_run=tmp_path / "view.json")
    dashboard(project="brats", entity="mock")
    (view,) = server.state.views.values()
    assert (view["projectName"], view["entityName"], view["displayName"]) == ("brats", "mock", "brats")
    written = json.loads((tmp_path / "view.json").read_text())["spec"]
    assert without_ids(json.loads(view["spec"])) == without_ids(written)
    assert server.state.unknown == []
    assert "view 'brats' of brats: http" in capsys.readouterr().out
    assert base64.b64decode(next(iter(server.state.views))).startswith(b"View:")
