"""What the README tells people to type and to find exists."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from jsonargparse import auto_parser

from brats_lightning.cli import COMMANDS, _spelled_out, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
LINES = [line for block in CODE for line in block.replace("\\\n", " ").splitlines()]
BRATS = [shlex.split(line, comments=True)[1:] for line in LINES if line.startswith("brats ")]
FUNCTIONS = [words for words in BRATS if not COMMANDS[words[0]].takes_arguments]
EXPERIMENTS = [words for words in BRATS if COMMANDS[words[0]].target.startswith("experiment.commands:")]


def test_every_command_named_is_one() -> None:
    assert {words[0] for words in BRATS} <= set(COMMANDS)
    named = set(re.findall(r"`brats ([a-z]+)", README))
    assert named <= set(COMMANDS)


def test_every_make_target_named_is_one() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", "\n".join(LINES))) <= targets


def test_every_path_of_the_tree_is_there() -> None:
    tree = README.split("```text\n")[1].split("```")[0]
    package = [word for line in tree.splitlines() if line.startswith("  ") for word in line.split("  ")[1].split()]
    assert package
    assert all((ROOT / "brats_lightning" / name).exists() for name in package)
    rooms = {path.name for path in (ROOT / "brats_lightning").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= {name.rstrip("/") for name in package}
    assert (ROOT / re.findall(r"!\[.*\]\((.*)\)", README)[0]).exists()


@pytest.mark.parametrize("words", EXPERIMENTS, ids=" ".join)
def test_options_of_experiments_are_accepted(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    if "--config" not in words:
        words = [*words, "--config", "configs/unet3d.yaml"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--print_config"])
    assert stop.value.code in (0, None)
    config = yaml.safe_load((ROOT / words[words.index("--config") + 1]).read_text())
    assert f"class_path: {config['model']['network']['class_path']}\n" in capsys.readouterr().out


@pytest.mark.parametrize("words", FUNCTIONS, ids=" ".join)
def test_options_of_other_commands_are_accepted(words: list[str]) -> None:
    module, name = COMMANDS[words[0]].target.split(":")
    function = getattr(import_module(f"brats_lightning.{module}"), name)
    auto_parser(function, exit_on_error=False).parse_args(_spelled_out(function, words[1:]))
