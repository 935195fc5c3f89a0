"""`brats dashboard` on a machine where its extra is not installed, as this one may be."""

import sys
from pathlib import Path

import pytest

from brats_lightning.cli import main
from brats_lightning.errors import ConfigError
from brats_lightning.experiment import dashboard as command
from brats_lightning.experiment.dashboard import dashboard


@pytest.fixture(autouse=True)
def _without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules, "wandb_workspaces"]:
        if name.partition(".")[0] == "wandb_workspaces":
            monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(command, "obstacle", lambda: pytest.fail("it asked for the server"))


@pytest.mark.parametrize("dry", [False, True])
def test_it_says_what_to_install(tmp_path: Path, dry: bool) -> None:
    with pytest.raises(ConfigError, match=r"wandb-workspaces, which is not installed: pip install 'brats-.*\[dashb"):
        dashboard(dry_run=tmp_path / "view.json" if dry else None)
    assert not list(tmp_path.iterdir())


def test_the_command_ends_in_that_sentence_and_its_help_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["dashboard", "--project", "p"])
    assert stop.value.code == 1
    assert "pip install 'brats-lightning[dashboard]'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["dashboard", "--help"])
    assert stop.value.code == 0
    assert "--dry_run" in capsys.readouterr().out
