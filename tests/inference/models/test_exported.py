import io
import json
import logging
import pickle
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from brats_lightning.errors import BratsError, CheckpointError
from brats_lightning.inference.exporting.export import export
from brats_lightning.inference.models.checkpoints import digest_of, open_checkpoint
from brats_lightning.inference.models.exported import GraphMember, open_exported, open_model
from brats_lightning.inference.models.runtimes import quiet
from brats_lightning.inference.predictor.intake import Intake
from tests.inference.conftest import WriteCheckpoint

CPU = torch.device("cpu")
MARK = "code-was-run"


class Evil:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path(MARK),)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that all tests take copies of: an export takes most of a second."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def exports(write_checkpoint: WriteCheckpoint, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of `model.pt`, its description, and the checkpoint that it comes from."""
    monkeypatch.chdir(tmp_path)
    if not any(store.iterdir()):
        checkpoint = write_checkpoint()
        export(checkpoint, store)
        shutil.copy(checkpoint, store)
    return shutil.copytree(store, tmp_path / "out")


def describe_anew(path: Path) -> None:
    """Make a description fit a file that was changed."""
    sidecar = path.with_name(f"{path.name}.json")
    description = json.loads(sidecar.read_text())
    description["file"]["sha256"] = digest_of(path)
    sidecar.write_text(json.dumps(description))


def test_an_exported_network_is_the_model_that_it_was(exports: Path) -> None:
    model, source = open_exported(exports / "model.pt"), open_checkpoint(exports / "model.ckpt")
    assert model.spec == source.spec
    assert model.member.intake == source.member.intake
    assert model.digest == digest_of(exports / "model.pt")
    images = torch.randn(1, 4, 18, 16, 20)
    with model.member.on(CPU) as network, source.member.on(CPU) as expected, torch.inference_mode():
        torch.testing.assert_close(network(images), expected(images), rtol=0, atol=0)


def test_any_path_opens_what_it_holds(exports: Path, write_checkpoint: WriteCheckpoint, tmp_path: Path) -> None:
    best = write_checkpoint("run/checkpoints/best.ckpt")
    assert open_model(tmp_path / "run").path == best
    assert open_model(exports / "model.pt").path == exports / "model.pt"
    assert open_model(exports / "model.ckpt").path == exports / "model.ckpt"


@pytest.mark.parametrize("name", ["nothing.pt", "nothing.pt2", "nothing.onnx", "nothing.ckpt", "nothing"])
def test_missing_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BratsError, match=f"no .*{name}"):
        open_model(tmp_path / name)


def test_other_files_and_folders_are_no_exports(exports: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model\.ckpt is no exported network: expected \.pt, \.pt2, \.onnx"):
        open_exported(exports / "model.ckpt")
    with pytest.raises(CheckpointError, match=r"is no bundle that `brats export` wrote"):
        open_exported(tmp_path)


def test_a_strangers_torchscript_is_refused_in_words(tmp_path: Path) -> None:
    with quiet():
        torch.jit.script(torch.nn.Conv3d(4, 4, 1)).save(str(tmp_path / "theirs.pt"))
    with pytest.raises(CheckpointError, match=r"theirs\.pt has no description theirs\.pt\.json beside it"):
        open_model(tmp_path / "theirs.pt")


def test_a_changed_file_is_refused(exports: Path) -> None:
    with (exports / "model.pt").open("ab") as file:
        file.write(b" ")
    with pytest.raises(CheckpointError, match=r"is not the file that model\.pt\.json describes \(their SHA-256 differ"):
        open_model(exports / "model.pt")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"file": 1}', "null"])
def test_a_damaged_description_is_named(exports: Path, text: str) -> None:
    (exports / "model.pt.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"model\.pt\.json is damaged, or no description"):
        open_model(exports / "model.pt")


def test_a_description_that_lacks_something_is_named(exports: Path) -> None:
    description = json.loads((exports / "model.pt.json").read_text())
    changes: list[dict[str, Any]] = [{"format": 99}, {"intake": {}}, {"regions": ["nowhere"]}]
    for change in changes:
        (exports / "model.pt.json").write_text(json.dumps(description | change))
        with pytest.raises(CheckpointError, match=r"model\.pt\.json: "):
            open_model(exports / "model.pt")


@pytest.mark.parametrize("suffix", ["pt", "pt2", "onnx"])
@pytest.mark.parametrize("content", [b"", b"neither zip nor protobuf", b"PK\x03\x04 cut short"])
def test_files_that_are_something_else_are_named(exports: Path, suffix: str, content: bytes) -> None:
    if suffix == "onnx":
        pytest.importorskip("onnxruntime")
    path = exports / f"other.{suffix}"
    path.write_bytes(content)
    shutil.copy(exports / "model.pt.json", exports / f"other.{suffix}.json")
    describe_anew(path)
    with pytest.raises(CheckpointError, match=rf"other\.{suffix} is no .*file, or a damaged one"):
        open_model(path)


def test_a_checkpoint_by_another_name_is_no_torchscript(exports: Path) -> None:
    shutil.copy(exports / "model.ckpt", exports / "model.pt")
    describe_anew(exports / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt is no TorchScript file"):
        open_model(exports / "model.pt")


def test_pickled_code_in_torchscript_is_not_run(exports: Path) -> None:
    """Proof that PyTorch's reader of TorchScript makes no Python objects."""
    with zipfile.ZipFile(exports / "model.pt") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    data = next(name for name in content if name.endswith("/data.pkl"))
    content[data] = pickle.dumps(Evil())
    with zipfile.ZipFile(exports / "model.pt", "w") as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    describe_anew(exports / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt is no TorchScript file, or a damaged one"):
        open_model(exports / "model.pt")
    assert not Path(MARK).exists()
    pickle.loads(content[data])  # noqa: S301 - the pickle would have left its mark
    assert Path(MARK).exists()


def test_torchscript_that_writes_files_is_not_loaded(exports: Path) -> None:
    class Writing(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            torch.save(image, "stolen")
            return image

    with quiet():
        torch.jit.script(Writing()).save(str(exports / "model.pt"))
    describe_anew(exports / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt reads or writes files: it is not loaded"):
        open_model(exports / "model.pt")


def test_a_graph_returns_to_the_cpu() -> None:
    places: list[torch.device] = []

    class Travelling(torch.nn.Identity):
        def to(self, device: torch.device) -> "Travelling":  # type: ignore[override]
            places.append(device)
            return self

    cuda = torch.device("cuda")
    with suppress(torch.OutOfMemoryError), GraphMember(Travelling(), intake=Intake(None)).on(cuda):
        raise torch.OutOfMemoryError
    assert places == [cuda, CPU]


@pytest.mark.slow
def test_onnx_runs_where_it_can(
    exports: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    export(exports / "model.ckpt", exports, ("onnx",))
    model = open_model(exports / "model.onnx")
    images = torch.randn(2, 4, 16, 20, 24)
    with open_checkpoint(exports / "model.ckpt").member.on(CPU) as network, torch.inference_mode():
        expected = network(images)
    for device in (CPU, torch.device("cuda")):
        with caplog.at_level(logging.WARNING), model.member.on(device) as network:
            torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-4)
            assert network(images.half()).dtype == torch.float32
    assert ("runs on the CPU" in caplog.text) == ("CUDA" not in str(providers()))
    monkeypatch.setattr("brats_lightning.inference.models.runtimes.find_spec", lambda _: None)
    with pytest.raises(BratsError, match=r"brats-lightning\[onnx\]"):
        open_model(exports / "model.onnx")


def providers() -> list[str]:
    import onnxruntime  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

    found: list[str] = onnxruntime.get_available_providers()
    return found


@pytest.mark.slow
def test_onnx_of_others_is_refused(exports: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with quiet():
        program = torch.onnx.export(torch.nn.ReLU(), (torch.zeros(2, 2),), dynamo=True, verbose=False)
    assert program is not None
    program.save(exports / "model.onnx")
    shutil.copy(exports / "model.pt.json", exports / "model.onnx.json")
    describe_anew(exports / "model.onnx")
    with pytest.raises(CheckpointError, match=r"model\.onnx has another input or output"):
        open_model(exports / "model.onnx")


@pytest.mark.slow
def test_an_exported_program_that_this_pytorch_does_not_know_is_named(
    exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(exports / "model.ckpt", exports, ("pt2",))

    def fail(file: io.BytesIO) -> None:
        raise RuntimeError("schema version 99")

    monkeypatch.setattr("torch.export.load", fail)
    with pytest.raises(CheckpointError, match=r"cannot be opened by PyTorch .* \(schema version 99\)"):
        open_model(exports / "model.pt2")
