"""`brats`: the table of commands. Each command's code is imported when it is called, not before."""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from typing import NamedTuple

from brats_lightning.cluster import signals
from brats_lightning.cluster.allocation import own_task


class Command(NamedTuple):
    """A row of the table.

    Args:
        summary: One line of help.
        target: `module:function` of the package.
        takes_arguments: The function parses its arguments itself; otherwise its parameters are the options.
        stops: It looks whether SIGUSR1 asks it to stop, which SLURM sends before a job's time is up.
    """

    summary: str
    target: str
    takes_arguments: bool = False
    stops: bool = False


COMMANDS = {
    "phantom": Command("write seeded synthetic cases as a BraTS 2021 folder", "phantom.folder:phantom"),
    "check": Command(
        "look through a folder of cases: problems, oddities, numbers", "reports.data_report.command:check"
    ),
    "cache": Command(
        "preprocess the cases of a configuration ahead of training", "experiment.commands:cache", True, stops=True
    ),
    "fit": Command("train a network, or go on training it", "experiment.commands:fit", True, True),
    "validate": Command(
        "score a run's best checkpoint on its validation cases", "experiment.commands:validate", True, True
    ),
    "test": Command("score a run's best checkpoint on its test cases", "experiment.commands:test", True, True),
    "predict": Command(
        "segment cases with trained networks, on their own grids", "inference.predict:predict", stops=True
    ),
    "export": Command("write a network as TorchScript, pt2, ONNX, MONAI bundle", "inference.exporting.export:export"),
    "tune-postprocessing": Command(
        "fit thresholds and volumes on validation cases", "inference.tuning.tune:tune_postprocessing"
    ),
    "evaluate": Command("score anybody's label maps, pool folds, check a submission", "evaluation.evaluate:evaluate"),
    "radiomics": Command("measure segmented regions: size, shape, intensity, texture", "radiomics.radiomics:radiomics"),
    "overlay": Command("draw cases with predicted segmentations, a picture a case", "reports.overlays:overlay"),
    "report": Command("write one HTML file about a run, or about a case", "reports.report:report"),
    "serve": Command("open the web application", "web.serve:serve"),
    "dashboard": Command("make a W&B view of a project's runs", "experiment.dashboard:dashboard"),
    "sync": Command("send to W&B what was logged offline", "loggers.wandb_sync:sync"),
    "repeats": Command("mean and standard deviation of scores over several runs", "reports.repeats:main", True),
    "compare": Command(
        "say which of several runs or methods is better, if the cases suffice", "comparison.compare:main", True
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; what the user can put right ends in one sentence on stderr and exit code 1."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in {"-h", "--help", "help"}:
        print(overview())
    elif name == "--version":
        print(metadata.version("brats-lightning"))
    elif name in COMMANDS:
        if COMMANDS[name].stops:
            signals.listen()  # before the imports that take seconds: until then the signal ends the process
        _run(name, rest)
    else:
        _fail(f"unknown command {name!r}: expected one of {', '.join(COMMANDS)}")


def overview() -> str:
    """Every command in one screen."""
    rows = "\n".join(f"  {name:<21}{command.summary}" for name, command in COMMANDS.items())
    return (
        "brats: brain-tumour segmentation, from a folder of BraTS cases to numbers one can trust\n\n"
        f"{rows}\n\n"
        "`brats COMMAND --help` tells a command's options.\n"
        "From nothing to a result: brats fit --config configs/unet3d.yaml --data.root DIR"
    )


def _run(name: str, arguments: list[str]) -> None:
    from brats_lightning.errors import BratsError
    from brats_lightning.machine import keep_freed_memory

    keep_freed_memory()
    command = COMMANDS[name]
    module, attribute = command.target.split(":")
    try:
        function = getattr(import_module(f"brats_lightning.{module}"), attribute)
        if command.takes_arguments:
            function(arguments)
        else:
            _call(function, name, arguments)
    except signals.Stopped as stopped:
        from brats_lightning.experiment.stopping import leave

        leave(stopped)
    except BratsError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("stopped", code=130)


def _call(function: Callable[..., object], name: str, arguments: list[str]) -> None:
    """Call a function with its parameters from the command line; its docstring is the help."""
    from jsonargparse import ArgumentError, auto_cli

    from brats_lightning.errors import BratsError

    try:
        auto_cli(function, args=_spelled_out(function, arguments), prog=f"brats {name}", exit_on_error=False)
    except ArgumentError as error:
        _fail(" ".join(str(error).split()))
    except ValueError as error:
        # jsonargparse tells what a constructor raised in a text of its own; the original is its cause.
        if isinstance(error.__cause__, BratsError):
            raise error.__cause__ from error
        raise


def _spelled_out(function: Callable[..., object], arguments: list[str]) -> list[str]:
    """Options as people type them, as jsonargparse reads them.

    `--keep-going` becomes `--keep_going=true`; `--runs A B`, and `--runs A --runs B`, become `--runs=["A", "B"]`. A
    first word that is no option goes to a first parameter that has a default, which jsonargparse takes as an option
    alone.
    """
    from inspect import Parameter, signature
    from json import dumps

    parameters = signature(function).parameters
    kinds = {name: str(parameter.annotation) for name, parameter in parameters.items()}
    spelled: list[str] = []
    lists: dict[str, list[str]] = {}
    left = list(arguments)
    first = next(iter(parameters.values()), None)
    optional = first is not None and first.kind is Parameter.POSITIONAL_OR_KEYWORD and first.default is not first.empty
    if first is not None and optional and left and not left[0].startswith("-"):
        spelled.append(f"--{first.name}={left.pop(0)}")
    while left:
        word = left.pop(0)
        option, equals, value = word.partition("=")
        name = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or name not in kinds:
            spelled.append(word)
            continue
        several = "tuple" in kinds[name]
        values = [value] if equals else _values(left, several=several)
        if several and values and not values[0].startswith(("[", "{", "null")):
            lists.setdefault(name, []).extend(values)
        elif values and "bool" in kinds[name] and not equals and values[0] not in {"true", "false"}:
            left.insert(0, values[0])  # a flag takes no value
            spelled.append(f"--{name}=true")
        elif values:
            spelled.append(f"--{name}={' '.join(values)}")
        else:
            spelled.append(f"--{name}=true" if "bool" in kinds[name] else f"--{name}")
    for name, values in lists.items():
        spelled.append(f"--{name}=[{', '.join(values)}]" if "int" in kinds[name] else f"--{name}={dumps(values)}")
    return spelled


def _values(left: list[str], *, several: bool) -> list[str]:
    """The words that follow an option, taken from those that are left."""
    values: list[str] = []
    while left and not left[0].startswith("--") and (several or not values):
        values.append(left.pop(0))
    return values


def _fail(sentence: str, *, code: int = 1) -> None:
    # srun ends the other tasks of a step with one that fails, and this one while it leaves: its own code shall count.
    if own_task().ranks > 1:
        signals.ignore_termination()
    print(f"brats: {sentence}", file=sys.stderr)
    raise SystemExit(code)
