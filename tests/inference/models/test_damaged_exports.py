"""TorchScript files that benchmarks/fuzzing.py has found to take far more memory than they hold, or to end badly."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from brats_lightning.errors import CheckpointError
from brats_lightning.inference.exporting.export import export
from brats_lightning.inference.models import exported
from brats_lightning.inference.models.exported import open_exported
from brats_lightning.inference.models.sidecar import sidecar_of


def repacked(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    """Change members of an exported file, and put right what its description says of it, as who means harm would."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(buffer, "w") as target:
        for info in archive.infolist():
            target.writestr(info.filename, change(info.filename, archive.read(info)))
    path.write_bytes(buffer.getvalue())
    description = json.loads(sidecar_of(path).read_text())
    description["file"]["sha256"] = hashlib.sha256(buffer.getvalue()).hexdigest()
    sidecar_of(path).write_text(json.dumps(description))


@pytest.fixture
def torchscript(write_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    export(write_checkpoint(), tmp_path / "exported")
    (path,) = (tmp_path / "exported").glob("*.pt")
    return path


def test_a_text_of_a_gigabyte_that_is_not_there_is_refused_unread(torchscript: Path) -> None:
    claim = b"\x80\x02X" + (1 << 30).to_bytes(4, "little") + b"short"
    repacked(torchscript, lambda name, content: claim if name.endswith("/constants.pkl") else content)
    with pytest.raises(CheckpointError, match=r"expected 1073741824 bytes in a unicodestring4, but only 5 remain"):
        open_exported(torchscript)


@pytest.mark.parametrize("ending", [".py", "/data.pkl"])
def test_far_too_much_code_is_refused_unread(torchscript: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    repacked(torchscript, lambda _, content: content)
    open_exported(torchscript)
    monkeypatch.setattr(exported, "_LARGEST_CODE", 100_000)
    repacked(torchscript, lambda name, content: bytes(100_001) if name.endswith(ending) else content)
    with pytest.raises(CheckpointError, match="more than 100000 bytes"):
        open_exported(torchscript)


def test_what_zip_itself_finds_damaged_is_told_in_a_sentence(torchscript: Path) -> None:
    content = bytearray(torchscript.read_bytes())
    with zipfile.ZipFile(torchscript) as archive:
        code = next(info for info in archive.infolist() if info.filename.endswith(".py"))
    start = code.header_offset + 30 + len(code.filename)
    content[start : start + 200] = bytes(200)
    torchscript.write_bytes(content)
    with pytest.raises(CheckpointError, match="differ"):  # by accident
        open_exported(torchscript)
    description = json.loads(sidecar_of(torchscript).read_text())
    description["file"]["sha256"] = hashlib.sha256(content).hexdigest()
    sidecar_of(torchscript).write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="is no TorchScript file, or a damaged one"):
        open_exported(torchscript)
