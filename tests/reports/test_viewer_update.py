"""Taking in another version of NiiVue: from a registry on this machine."""

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.reports.viewer import update
from brats_lightning.reports.viewer.section import NIIVUE, RECORD

SCRIPT = b"let a"
DESCRIBED = "/@niivue%2Fniivue/9.9.9"


def archive(
    *, script: bytes = SCRIPT, inputs: tuple[str, ...] = (), licence: str = "BSD-2-Clause", without: str = ""
) -> bytes:
    """As npm packs a version."""
    files = {
        "dist/niivue.umd.js": script,
        "dist/metafile-esm.json": json.dumps({"inputs": {name: {} for name in inputs}}).encode(),
        "package.json": json.dumps({"license": licence}).encode(),
    }
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as package:
        for name, held in files.items():
            if name != without:
                about = tarfile.TarInfo(f"package/{name}")
                about.size = len(held)
                package.addfile(about, io.BytesIO(held))
    return content.getvalue()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an update goes instead of into the package."""
    monkeypatch.setattr(update, "NIIVUE", tmp_path / NIIVUE.name)
    monkeypatch.setattr(update, "RECORD", tmp_path / RECORD.name)
    return tmp_path


class Registry(ThreadingHTTPServer):
    """A registry of npm packages: answers by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers: dict[str, bytes] = {}
        self.address = f"http://127.0.0.1:{self.server_port}"

    def publish(self, content: bytes, **told: Any) -> None:
        """Version 9.9.9, with a description that may say something else."""
        self.answers["/niivue.tgz"] = content
        dist = {"tarball": f"{self.address}/niivue.tgz", "integrity": update.integrity(content)}
        described: Mapping[str, Any] = {"version": "9.9.9", "dist": dist | told}
        self.answers[DESCRIBED] = json.dumps(described).encode()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Registry)
        content = self.server.answers.get(self.path)
        self.send_response(404 if content is None else 200)
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Registry() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_an_update_takes_the_file_and_records_its_hash(registry: Registry, elsewhere: Path) -> None:
    inputs = ("../node_modules/fflate/esm/index.mjs", "../node_modules/@lukeed/uuid/dist/index.mjs", "src/a.ts")
    registry.publish(archive(inputs=inputs))
    update.update("9.9.9", registry=registry.address)
    record = json.loads((elsewhere / RECORD.name).read_text())
    taken = (elsewhere / NIIVUE.name).read_bytes()
    assert (taken, record["version"], record["sha256"]) == (SCRIPT, "9.9.9", hashlib.sha256(taken).hexdigest())
    assert record.keys() == json.loads(RECORD.read_text(encoding="utf-8")).keys()
    registry.answers["/@niivue%2Fniivue/latest"] = registry.answers[DESCRIBED]
    update.update("latest", registry=registry.address)
    assert json.loads((elsewhere / RECORD.name).read_text())["version"] == "9.9.9"


def test_an_archive_that_is_not_the_published_one_is_refused(registry: Registry, elsewhere: Path) -> None:
    registry.publish(archive())
    registry.answers["/niivue.tgz"] = archive(script=b"let evil")
    with pytest.raises(BratsError, match=r"niivue\.tgz is not what was published: expected sha512-.*, found sha512-"):
        update.update("9.9.9", registry=registry.address)
    registry.answers["/niivue.tgz"] = archive()[:-9]  # the connection was lost
    with pytest.raises(BratsError, match="is not what was published"):
        update.update("9.9.9", registry=registry.address)
    assert not list(elsewhere.iterdir())


def test_a_registry_that_does_not_give_it_is_told_in_a_sentence(registry: Registry, elsewhere: Path) -> None:
    with pytest.raises(BratsError, match=r"the registry has no .*/@niivue%2Fniivue/0\.0\.1 \(404 Not Found\)"):
        update.update("0.0.1", registry=registry.address)
    for answer in (b"<html>", b"[]", b'{"version": "9.9.9", "dist": {"tarball": "x"}}'):
        registry.answers[DESCRIBED] = answer
        with pytest.raises(BratsError, match="does not say where the archive lies and what its hash is"):
            update.update("9.9.9", registry=registry.address)
    registry.publish(b"", tarball="file:///etc/hostname")
    with pytest.raises(BratsError, match="file:///etc/hostname is no address of a registry"):
        update.update("9.9.9", registry=registry.address)
    registry.shutdown()
    registry.server_close()
    with pytest.raises(BratsError, match=r"cannot be fetched \(.*refused\): a network is needed"):
        update.update("9.9.9", registry=registry.address)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (archive(inputs=("node_modules/fflate/node_modules/left-pad/a.js",)), "bundles left-pad: add"),
        (archive(script=b"a = '</script>'"), "cannot stand in a page"),
        (archive(without="dist/metafile-esm.json"), r"has no dist/metafile-esm\.json"),
        (archive(licence="proprietary"), "is under proprietary, expected BSD-2-Clause"),
        (b"nonsense", "came as no archive of npm's"),
    ],
    ids=["another package", "script", "contents", "licence", "no archive"],
)
def test_a_version_that_cannot_be_used_changes_nothing(content: bytes, sentence: str, elsewhere: Path) -> None:
    with pytest.raises(BratsError, match=sentence):
        update.put_in_place(content, version="9.9.9")
    assert not list(elsewhere.iterdir())
