"""`brats export`: a checkpoint's network in forms that other programs read, each checked against the checkpoint."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from errno import ENOSPC
from pathlib import Path
from typing import Any, Literal, get_args

from rich.console import Console
from rich.table import Table
from torch import nn

from brats_lightning.errors import BratsError, CheckpointError, ConfigError
from brats_lightning.inference.exporting.bundle import write_bundle
from brats_lightning.inference.exporting.card import model_card
from brats_lightning.inference.exporting.graphs import write_onnx, write_pt2, write_torchscript
from brats_lightning.inference.exporting.verification import CPU, Check, largest_difference, make_checks, small_sizes
from brats_lightning.inference.models.bundle_folder import SIDECAR, WEIGHTS, is_bundle
from brats_lightning.inference.models.checkpoints import Model, open_checkpoint
from brats_lightning.inference.models.exported import open_exported
from brats_lightning.inference.models.networks import build_network
from brats_lightning.inference.models.runtimes import first_line, require_onnx
from brats_lightning.inference.models.sidecar import describe, sidecar_of, write_description
from brats_lightning.inference.models.spec import ModelSpec
from brats_lightning.runs import CHECKPOINTS

Format = Literal["pt", "pt2", "onnx", "bundle"]
LARGEST_DIFFERENCE = 1e-3
"""Of logits, between an exported network and its checkpoint."""
LITTLE_SPACE = 1_000_000
"""Bytes: PyTorch does not tell a full disk from other failures."""


@dataclass(frozen=True)
class _Exported:
    """A row of the table that is printed."""

    path: Path
    how: str
    megabytes: float
    difference: float
    seconds: float


def export(
    checkpoint: Path,
    output: Path,
    formats: tuple[Format, ...] = ("pt",),
    *,
    trust: tuple[str, ...] = (),
    overwrite: bool = False,
) -> None:
    """Write a checkpoint's network in forms that other programs read, each with a description of what it expects.

    Every file is opened again and compared with the checkpoint on synthetic cases; one that differs by more than
    1e-3 anywhere is not kept. `brats predict --checkpoint` takes every one of them. Beside them lies a model card,
    filled in as far as the checkpoint and its run tell; one that is there stays, for people complete it.

    Args:
        checkpoint: Checkpoint of `brats fit`, or the folder of a run, whose best one is meant.
        output: Folder for the files.
        formats: `pt` is TorchScript, `pt2` torch.export, `onnx` ONNX, `bundle` the folder of a MONAI bundle.
        trust: Packages besides MONAI and PyTorch whose networks may be imported.
        overwrite: Replace files that are there.
    """
    formats = tuple(dict.fromkeys(formats))
    if unknown := [name for name in formats if name not in get_args(Format)]:
        raise ConfigError(f"formats are {', '.join(get_args(Format))}, found {', '.join(unknown)}")
    if "onnx" in formats:
        require_onnx()
    source = open_checkpoint(checkpoint, trust=trust)
    name = _name_of(source.path)
    targets = {form: output / (f"{name}-bundle" if form == "bundle" else f"{name}.{form}") for form in formats}
    for form, target in targets.items():
        _require_free(target, form, overwrite=overwrite)
    card = output / f"{name}-card.md"
    if card.is_file() and not overwrite and source.digest not in card.read_text(encoding="utf-8", errors="replace"):
        raise BratsError(f"{card} is the card of another checkpoint: give another folder, or --overwrite")
    try:
        network, spec = _without_supervision(source, trust)
        checks = make_checks(source.member, spec.preprocessing)
    except CheckpointError as error:
        raise CheckpointError(f"{source.path}: {error}") from error
    exporter = _Exporter(source, network, spec, tuple(checks), trust)
    try:
        output.mkdir(parents=True, exist_ok=True)
        rows = [exporter(form, target) for form, target in targets.items()]
        if overwrite or not card.exists():
            card.write_text(model_card(source, name=name, files=[row.path.name for row in rows]), encoding="utf-8")
    except OSError as error:
        raise BratsError(f"{output} cannot be written ({error.strerror or error})") from error
    _print(rows, checks, card)


@dataclass(frozen=True, eq=False)
class _Exporter:
    """Writes one format after the other.

    Args:
        source: The checkpoint.
        network: To write.
        spec: What it says of itself.
        checks: What it must give.
        trust: Packages whose networks may be imported.
    """

    source: Model
    network: nn.Module
    spec: ModelSpec
    checks: tuple[Check, ...]
    trust: tuple[str, ...]

    def __call__(self, form: Format, target: Path) -> _Exported:
        """Write under a temporary name, open again, compare, and only then put it into its place."""
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
            written = Path(folder) / target.name
            how = self._write(form, written)
            is_folder = form == "bundle"
            file, sidecar = (written / WEIGHTS, written / SIDECAR) if is_folder else (written, sidecar_of(written))
            record: dict[str, Any] = {
                "sizes": sorted({tuple(check.images.shape[2:]) for check in self.checks}),
                "batches": sorted({len(check.images) for check in self.checks}),
                "largest_allowed": LARGEST_DIFFERENCE,
            }
            description = describe(self.spec, file, source=self.source, how=how, verification=record)
            write_description(description, sidecar)  # without which it could not be opened
            record["largest_difference"] = difference = self._compare(written)
            write_description(description | {"verification": record}, sidecar)
            megabytes = file.stat().st_size / 1e6
            if target.is_dir():
                shutil.move(target, Path(folder) / "replaced")
            written.replace(target)
            if not is_folder:
                sidecar.replace(sidecar_of(target))
        return _Exported(target, how, megabytes, difference, time.perf_counter() - started)

    def _write(self, form: Format, path: Path) -> str:
        channels, intake = len(self.spec.preprocessing.modalities), self.spec.intake
        size = small_sizes(intake)[0]
        try:
            if form == "bundle":
                return write_bundle(self.network, self.spec, path)
            if form == "pt":
                return write_torchscript(self.network, size, path, channels=channels)
            write = write_pt2 if form == "pt2" else write_onnx
            return write(self.network, size, path, channels=channels, any_size=intake.divisor is not None)
        except OSError:
            raise
        except Exception as error:  # exporters raise classes of their own, without a common one
            if shutil.disk_usage(path.parent).free < LITTLE_SPACE:
                raise OSError(ENOSPC, "no space left") from error
            raise BratsError(
                f"{self.spec.network['class_path']} cannot be exported as {form} ({first_line(error)}): "
                "use another format"
            ) from error

    def _compare(self, written: Path) -> float:
        """The largest difference from the checkpoint, which is small."""
        try:
            difference = largest_difference(open_exported(written, trust=self.trust).member, self.checks)
        except CheckpointError as error:
            raise CheckpointError(f"{written.name} is not kept: {error}; use another format") from error
        if difference > LARGEST_DIFFERENCE:
            raise CheckpointError(
                f"{written.name} is not kept: its output differs from the checkpoint's by {difference:.2g}, and "
                f"{LARGEST_DIFFERENCE:g} is allowed; use another format"
            )
        return difference


def _require_free(target: Path, form: Format, *, overwrite: bool) -> None:
    """Refuse to write over what is there, and over folders of others in any case."""
    for path in (target, sidecar_of(target)) if form != "bundle" else (target,):
        if path.exists() and not overwrite:
            raise BratsError(f"{path} exists already: give another folder, or --overwrite")
        if path.is_dir() and not (form == "bundle" and is_bundle(path)):
            raise BratsError(f"{path} is a folder that `brats export` did not write: give another --output")


def _without_supervision(source: Model, trust: Sequence[str]) -> tuple[nn.Module, ModelSpec]:
    """The network without the heads that deep supervision trains: prediction ignores them, scripting fails on them."""
    with source.member.on(CPU) as network:
        assert isinstance(network, nn.Module)  # noqa: S101 - that of a checkpoint is one
    arguments = source.spec.network.get("init_args", {})
    if not arguments.get("deep_supervision"):
        return network, source.spec
    settings = {**source.spec.network, "init_args": {**arguments, "deep_supervision": False}}
    plain, weights = build_network(settings, trust=trust), network.state_dict()
    if not plain.state_dict().keys() <= weights.keys():
        return network, source.spec
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain, replace(source.spec, network=settings)


def _name_of(checkpoint: Path) -> str:
    """`demo-best` for `runs/demo/checkpoints/best.ckpt`."""
    path = checkpoint.resolve()
    return f"{path.parents[1].name}-{path.stem}" if path.parent.name == CHECKPOINTS else path.stem


def _print(rows: Sequence[_Exported], checks: Sequence[Check], card: Path) -> None:
    sizes = sorted({"×".join(str(length) for length in check.images.shape[2:]) for check in checks})
    table = Table(
        "file", "how", "MB", "largest difference", "s", caption=f"checked with images of {' and '.join(sizes)}"
    )
    for row in rows:
        table.add_row(row.path.name, row.how, f"{row.megabytes:.1f}", f"{row.difference:.1e}", f"{row.seconds:.1f}")
    console = Console(markup=False, emoji=False)
    console.print(table)
    console.print(f"Written to {rows[0].path.parent}; complete the model card {card.name}", soft_wrap=True)
