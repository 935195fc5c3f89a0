"""The sbatch files: well-formed, short, and calling `brats` as they say; with stand-ins for SLURM's commands."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from brats_lightning.cli import main

ROOT = Path(__file__).parents[1]
SLURM = ROOT / "slurm"
SCRIPTS = sorted(SLURM.glob("*.sbatch"))
GRID: list[str] = yaml.safe_load((SLURM / "grid.yaml").read_text())
BASH, SHELLCHECK = shutil.which("bash") or "/bin/bash", shutil.which("shellcheck")
TRAINING = ["fit.sbatch", "folds.sbatch", "sweep.sbatch"]
JOB = {"SLURM_JOB_ID": "123", "SLURM_CPUS_PER_TASK": "3"}
ELEMENT = JOB | {
    "SLURM_ARRAY_JOB_ID": "120",
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_MIN": "1",
    "SLURM_ARRAY_TASK_MAX": "4",
    "SLURM_ARRAY_TASK_COUNT": "4",
}
FIRST = ELEMENT | {"SLURM_ARRAY_TASK_ID": "1"}
# Each writes down how it was called; srun also runs what follows its options.
WORD, CALL = "\x1f", "\x1e"
RECORD = f'printf "%s{WORD}" "${{0##*/}}" "$@" >> "$CALLS"; printf "{CALL}" >> "$CALLS"\n'
STAND_INS = {
    "brats": RECORD + f'printf "threads{WORD}$OMP_NUM_THREADS{WORD}{CALL}" >> "$CALLS"; exit ${{LEAVES_WITH:-0}}',
    "container": RECORD,
    "sbatch": RECORD,
    "wandb": RECORD,
    "srun": RECORD + 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
}
Run = Callable[..., list[list[str]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a script and gives the commands that it called, in order, as lists of words."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in STAND_INS.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}\n")
        (commands / name).chmod(0o755)

    def start(script: str, *arguments: str, expected: int = 0, **variables: str) -> list[list[str]]:
        calls = tmp_path / "calls"
        calls.write_text("")
        environment = {"PATH": f"{commands}:{os.environ['PATH']}", "CALLS": str(calls)} | variables
        done = subprocess.run(
            [BASH, str(SLURM / script), *arguments],
            cwd=tmp_path,
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == expected, done.stderr
        return [call.split(WORD)[:-1] for call in calls.read_text().split(CALL)[:-1]]

    return start


def brats(calls: Sequence[Sequence[str]]) -> list[str]:
    """Words after `brats`, of the only call."""
    (words,) = [call[1:] for call in calls if call[0] == "brats"]
    return list(words)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_short_and_well_formed(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert len(lines) < 40
    assert max(map(len, lines)) <= 120
    subprocess.run([BASH, "-n", str(path)], check=True)
    options = [line for line in lines if line.startswith("#SBATCH")]
    after = lines.index(options[-1])
    assert all(line.startswith("#") for line in lines[:after]), "sbatch reads no option after a command"


@pytest.mark.skipif(SHELLCHECK is None, reason="needs shellcheck, which is not installed here")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run([str(SHELLCHECK), *map(str, SCRIPTS)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [*TRAINING, "predict.sbatch", "cache.sbatch"])
def test_a_script_asks_to_be_told_before_its_end_and_to_go_on(name: str) -> None:
    text = (SLURM / name).read_text()
    options = {line.split()[1].partition("=")[::2] for line in text.splitlines() if line.startswith("#SBATCH")}
    chosen = dict(options)
    assert re.fullmatch(r"SIGUSR1@\d+", chosen["--signal"]), "with B: only the shell would be told"
    assert "--requeue" in chosen
    assert chosen["--open-mode"] == "append"
    assert {"--nodes", "--ntasks-per-node", "--cpus-per-task", "--time", "--output"} <= chosen.keys()
    assert "trap" not in text


def test_every_sbatch_line_that_people_read_names_files_that_exist() -> None:
    texts = [*(path.read_text() for path in SCRIPTS), (ROOT / "README.md").read_text()]
    lines = re.findall(r"^(?:#   )?(?:[A-Z]+=\S+ )*sbatch .*$", "\n".join(texts), re.MULTILINE)
    assert len(lines) >= 10
    for line in lines:
        named = re.findall(r"(?:slurm|configs)/\S+", line)
        assert any(name.endswith(".sbatch") for name in named), line
        assert all((ROOT / name).is_file() for name in named), line


def test_training_gets_a_stable_folder_and_goes_on(run: Run) -> None:
    calls = run("fit.sbatch", "configs/unet3d.yaml", "--data.root", "a folder", **JOB)
    assert brats(calls) == shlex.split(
        "fit --run runs/unet3d-123 --ckpt_path auto --config configs/unet3d.yaml --data.root 'a folder'"
    )
    assert calls[0][:3] == ["srun", "--kill-on-bad-exit=1", "--cpus-per-task=3"]
    assert ["threads", "3"] in calls


def test_a_run_is_gone_on_with_from_its_folder(run: Run) -> None:
    words = brats(run("fit.sbatch", "--trainer.max_epochs", "9", RUN="runs/x", **JOB))
    assert words == shlex.split("fit --run runs/x --ckpt_path auto --trainer.max_epochs 9")
    assert brats(run("fit.sbatch", RUN="runs/x", **JOB)) == shlex.split("fit --run runs/x --ckpt_path auto")
    assert run("fit.sbatch", expected=1, **JOB) == []


def test_a_site_file_sets_up_and_says_how_brats_is_called(run: Run, tmp_path: Path) -> None:
    (tmp_path / "slurm").mkdir()
    site = 'BRATS_SETUP="export NCCL_DEBUG=$FROM_SITE"\nFROM_SITE=1\nBRATS="container exec --nv brats.sif brats"\n'
    (tmp_path / "slurm" / "site.env").write_text(site)
    calls = run("fit.sbatch", "unet3d.yaml", **JOB)
    assert calls[-1][:6] == shlex.split("container exec --nv brats.sif brats fit")
    (tmp_path / "other.env").write_text("BRATS=brats")
    assert brats(run("predict.sbatch", "DIR", BRATS_SITE="other.env", **JOB)) == ["predict", "DIR"]


@pytest.mark.parametrize("name", [*TRAINING, "predict.sbatch", "cache.sbatch"])
def test_a_setup_that_fails_ends_the_job(name: str, run: Run) -> None:
    assert run(name, "configs/unet3d.yaml", "grid", expected=1, BRATS_SETUP="false", **ELEMENT) == []


def test_an_element_trains_and_scores_its_fold(run: Run) -> None:
    calls = [
        call for call in run("folds.sbatch", "configs/unet3d.yaml", "--data.root=d", **ELEMENT) if call[0] != "srun"
    ]
    assert [call[0] for call in calls if call[0] in STAND_INS] == ["brats", "brats"]
    fit, validate = (call[1:] for call in calls if call[0] == "brats")
    assert fit == shlex.split(
        "fit --config configs/unet3d.yaml --run runs/unet3d-120/fold-2 --ckpt_path auto --data.split "
        "brats_lightning.data.splits.KFold --data.split.folds 4 --data.split.fold 2 --data.root=d"
    )
    assert validate == shlex.split("validate --run runs/unet3d-120/fold-2")


def test_a_fold_that_was_cut_short_is_not_scored_yet(run: Run) -> None:
    assert brats(run("folds.sbatch", "unet3d.yaml", expected=75, LEAVES_WITH="75", **ELEMENT))[0] == "fit"


def test_the_first_element_leaves_the_evaluation_behind_once(run: Run, tmp_path: Path) -> None:
    pooled = [call for call in run("folds.sbatch", "unet3d.yaml", RUN="my runs/x", **FIRST) if call[0] == "sbatch"]
    assert {"--dependency=afterok:120", "--kill-on-invalid-dep=yes"} < set(pooled[0])
    again = run("folds.sbatch", "unet3d.yaml", SLURM_RESTART_COUNT="1", **FIRST)
    assert "sbatch" not in {call[0] for call in again}
    calls = run("folds.sbatch", "unet3d.yaml", RUN="my runs/x", BASELINE="an other/y.csv", **FIRST)
    (wrapped,) = [word.removeprefix("--wrap=") for call in calls for word in call if word.startswith("--wrap=")]
    for fold in (0, 1):
        (tmp_path / "my runs" / "x" / f"fold-{fold}").mkdir(parents=True)
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "site.env").write_text(f"BRATS_SETUP={shlex.quote(wrapped)}")
    evaluate, compare, *_ = (call[1:] for call in run("fit.sbatch", "x.yaml", **JOB) if call[0] == "brats")
    assert evaluate == shlex.split(
        "evaluate --runs 'my runs/x/fold-0' 'my runs/x/fold-1' --output 'my runs/x/evaluation'"
    )
    assert compare == shlex.split("compare 'my runs/x/evaluation' 'an other/y.csv' --output 'my runs/x/comparison'")


def test_prediction_is_shared_out_over_an_array_from_one(run: Run) -> None:
    words = shlex.split("'the cases' --checkpoint runs/a --output out")
    assert brats(run("predict.sbatch", *words, **JOB)) == ["predict", *words]
    calls = run("predict.sbatch", *words, **ELEMENT)
    assert brats(calls) == ["predict", *words, "--share", "2/4"]
    assert "--kill-on-bad-exit=0" in calls[0]


def test_the_cache_is_filled_by_the_configuration(run: Run) -> None:
    words = brats(run("cache.sbatch", "configs/unet3d.yaml", "--data.root=d", **ELEMENT))
    assert words == shlex.split("cache --config configs/unet3d.yaml --data.root=d")


def test_an_element_takes_its_line_of_the_grid(run: Run) -> None:
    words = brats(run("sweep.sbatch", "a.yaml", str(SLURM / "grid.yaml"), "--data.root=d", **ELEMENT))
    start = shlex.split("fit --run runs/sweep-120/2 --ckpt_path auto --config a.yaml")
    assert words == [*start, *GRID[2].split(), "--data.root=d"]
    beyond = ELEMENT | {"SLURM_ARRAY_TASK_ID": str(len(GRID))}
    assert run("sweep.sbatch", "a.yaml", str(SLURM / "grid.yaml"), expected=1, **beyond) == []


def test_an_element_asks_the_sweep_at_its_first_start_only(run: Run, tmp_path: Path) -> None:
    assert run("sweep.sbatch", SWEEP="me/brats/x1", **ELEMENT) == [shlex.split("wandb agent --count 1 me/brats/x1")]
    started = tmp_path / "runs" / "sweep-120" / "2" / "config.yaml"
    started.parent.mkdir(parents=True)
    started.touch()
    calls = run("sweep.sbatch", SWEEP="me/brats/x1", **ELEMENT)
    assert brats(calls) == shlex.split("fit --run runs/sweep-120/2 --ckpt_path auto")


@pytest.mark.parametrize(
    "variables",
    [
        {"BRATS": "srun container exec brats", "RUN": "runs/sweep-120/2"},
        {"WANDB_SWEEP_ID": "x1", "WANDB_RUN_ID": "y2"},  # an agent without SLURM
    ],
)
def test_the_sweep_calls_brats_with_options_that_it_knows(
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
) -> None:
    sweep = yaml.safe_load((ROOT / "configs" / "sweep.yaml").read_text())
    drawn = {"model.optimizer.init_args.lr": {"value": 0.0002}, "data.batch_size": {"value": 4}}
    assert sweep["parameters"].keys() == drawn.keys()
    command = [word if word != "${args}" else "" for word in create_sweep_command(sweep["command"])]
    command[command.index("") :] = create_sweep_command_args({"args": drawn})["args"]
    calls = tmp_path / "calls"
    calls.write_text("")
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "CALLS": str(calls)} | variables
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    called = [call.split(WORD)[:-1] for call in calls.read_text().split(CALL)[:-1]]
    first = shlex.split(variables.get("BRATS", "brats"))
    assert called[0][: len(first)] == first
    assert accepted(called[0][len(first) :], monkeypatch, capsys)["data"]["batch_size"] == 4
    assert called[0][len(first) :][:3] == ["fit", "--run", variables.get("RUN", "runs/sweep-x1/y2")]


def test_of_a_sweep_brats_is_called_through_srun(run: Run, tmp_path: Path) -> None:
    wandb = tmp_path / "bin" / "wandb"
    wandb.write_text(f'{wandb.read_text()}\nprintf "%s{WORD}" $BRATS >> "$CALLS"; printf "{CALL}" >> "$CALLS"\n')
    assert run("sweep.sbatch", SWEEP="me/brats/x1", BRATS="container exec brats", **ELEMENT)[1] == [
        "srun", "container", "exec", "brats",
    ]  # fmt: skip


@pytest.mark.parametrize("line", GRID)
def test_lines_of_the_grid_are_options_that_brats_knows(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accepted(["fit", "--config=configs/unet3d.yaml", *line.split()], monkeypatch, capsys)["run"] is None


def accepted(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, dict[str, object]]:
    """The configuration that options lead to."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stop:
        main([*words, "--print_config"])
    assert stop.value.code in (0, None)
    configuration: dict[str, dict[str, object]] = yaml.safe_load(capsys.readouterr().out)
    return configuration
