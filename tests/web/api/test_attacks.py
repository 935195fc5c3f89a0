"""What people may try, against the server as it runs: each answered with the right status, and nothing left behind."""

import contextlib
import errno
import gzip
import io
import json
import pickle
import socket
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import httpx
import nibabel
import numpy as np
import pytest

from brats_lightning.web.api import server
from brats_lightning.web.api.guards import Guards
from brats_lightning.web.api.tokens import Tokens
from brats_lightning.web.files import uploads
from brats_lightning.web.limits import Limits
from tests.web.pretended import Served, filled_case, nifti, serving

LIMITS = Limits(
    file_mb=2, case_mb=4, unpacked_mb=8, voxels_millions=1, files=6, cases=40, upload_seconds=5, idle_seconds=0.3
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("attacked") / "folder", limits=LIMITS) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client() as made:
        yield made


@pytest.fixture
def case(client: httpx.Client) -> Iterator[str]:
    made: str = client.post("/api/cases").json()["id"]
    yield made
    client.delete(f"/api/cases/{made}")


def left(served: Served, case: str) -> list[str]:
    """Names of what lies in a case's folder of files."""
    return sorted(path.name for path in served.store.files(case).iterdir())


def refused(served: Served, client: httpx.Client, case: str, content: bytes, *, name: str = "P_t1.nii.gz") -> int:
    """Status that a file is refused with, of which nothing remains; the server goes on."""
    answer = client.post(f"/api/cases/{case}/files", params={"name": name}, content=content)
    assert left(served, case) == []
    assert client.get(f"/api/cases/{case}").json()["files"] == []
    detail = answer.json()["detail"]
    assert str(served.store.files(case)) not in detail
    assert "Traceback" not in detail
    good = client.post(f"/api/cases/{case}/files", params={"name": "P_t1.nii.gz"}, content=nifti())
    assert good.status_code == 200
    client.delete(f"/api/cases/{case}/files/{good.json()['files'][0]['id']}").raise_for_status()
    return answer.status_code


def zipped(**members: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def claiming(shape: tuple[int, ...]) -> bytes:
    """A header that promises an image of this shape, and 100 voxels of it."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((1, 1, 1))
    header["dim"][: len(shape) + 1] = [len(shape), *shape]
    header["vox_offset"] = 352
    return gzip.compress(header.binaryblock + bytes(4) + bytes(800))


@pytest.mark.parametrize(
    "name",
    ["../../../etc/passwd", "/etc/passwd", "..\\..\\x_t1.nii", "a\x00b", "CON", ".", "~root", "x" * 255, "'; --"],
)
def test_a_name_is_shown_and_never_a_path(served: Served, client: httpx.Client, case: str, name: str) -> None:
    before = {path for path in served.store.folder(case).parent.parent.rglob("*") if path.is_dir()}
    answer = client.post(f"/api/cases/{case}/files", params={"name": name}, content=nifti())
    assert answer.status_code == 200
    (file,) = answer.json()["files"]
    assert left(served, case) == [f"{file['id']}.nii.gz"]
    assert "/" not in file["name"]
    assert {path for path in served.store.folder(case).parent.parent.rglob("*") if path.is_dir()} == before


@pytest.mark.parametrize(
    "path",
    [
        "/static/../application.py",
        "/static/%2e%2e/application.py",
        "/static/..%2f..%2f..%2fpyproject.toml",
        "/static//etc/passwd",
        "/api/cases/..%2f..%2f",
        "/api/cases/../lock",
        "/api/cases/%2e%2e",
        "/api/cases/CASE/results/../case.json",
        "/api/cases/CASE/results/%2e%2e%2fcase.json",
        "/api/cases/CASE/results//etc/passwd",
        "/api/cases/CASE/results/..%5ccase.json",
        "/api/cases/CASE/results/mask.nii.gz%00",
        "/api/cases/CASE/results/.",
        "/api/cases/CASE%00",
    ],
)
def test_paths_lead_nowhere(served: Served, client: httpx.Client, case: str, path: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as connection:  # a client would tidy the path
        target = path.replace("CASE", case)
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert int(answer.split()[1]) in (400, 404)
    assert "detail" in json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_foreign_page_and_a_rebound_name_change_nothing(client: httpx.Client, case: str) -> None:
    foreign = ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"})
    for headers in foreign:
        assert client.delete(f"/api/cases/{case}", headers=headers).status_code in (400, 403)
        assert client.post("/api/cases", headers=headers).status_code in (400, 403)
        assert client.get("/api/about", headers=headers).status_code in (400, 403)
    assert client.get(f"/api/cases/{case}").status_code == 200
    assert "access-control-allow-origin" not in client.get("/api/about").headers


@pytest.mark.parametrize("unknown", ["x", "A" * 22, "A" * 10_000, "ü", "..", "null"])
def test_ids_that_nobody_was_told_are_answered_all_alike(client: httpx.Client, unknown: str) -> None:
    answers = [
        client.get(f"/api/cases/{unknown}"),
        client.delete(f"/api/cases/{unknown}"),
        client.post(f"/api/cases/{unknown}/start"),
        client.get(f"/api/cases/{unknown}/events"),
        client.get(f"/api/cases/{unknown}/results/mask.nii.gz"),
        client.post(f"/api/cases/{unknown}/files", params={"name": "x"}, content=b"x"),
    ]
    if unknown != "..":
        assert {answer.status_code for answer in answers} == {404}
        assert len({answer.json()["detail"] for answer in answers}) == 1
    else:
        assert {answer.status_code for answer in answers} <= {404, 405}


def test_too_large_a_file_is_refused_before_it_is_sent(served: Served, case: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        head = f"POST /api/cases/{case}/files?name=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(100)
    assert left(served, case) == []


def test_too_large_a_file_of_unsaid_size_is_refused_as_it_comes(
    served: Served, client: httpx.Client, case: str
) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(200):
            sent += 100_000
            yield bytes(100_000)

    with contextlib.suppress(httpx.WriteError):
        answer = client.post(f"/api/cases/{case}/files", params={"name": "x"}, content=pieces())
        assert answer.status_code == 413
    assert left(served, case) == []


@pytest.mark.slow
@pytest.mark.parametrize("behind_header", [True, False])
def test_a_gzip_bomb_is_stopped(served: Served, client: httpx.Client, case: str, behind_header: bool) -> None:
    header = gzip.decompress(nifti((100, 100, 90)))[:352] if behind_header else b""
    bomb = gzip.compress(header + bytes(100_000_000), compresslevel=9)
    assert len(bomb) < LIMITS.file_bytes
    since = time.monotonic()
    assert refused(served, client, case, bomb) in (413, 415, 422)
    assert time.monotonic() - since < 15


@pytest.mark.parametrize("shape", [(1000, 1000, 500), (32767, 32767, 32767), (0, 5, 5), (-3, 5, 5), (5,) * 7])
def test_a_header_that_promises_too_much_is_not_believed(
    served: Served, client: httpx.Client, case: str, shape: tuple[int, ...]
) -> None:
    assert refused(served, client, case, claiming(shape)) in (413, 415, 422)


@pytest.mark.parametrize("share", [0.999, 0.5, 0.02])
def test_a_truncated_file_is_refused(served: Served, client: httpx.Client, case: str, share: float) -> None:
    whole = gzip.compress(np.random.default_rng(0).bytes(1000) + nifti((30, 30, 30)))
    image = nifti((30, 30, 30))
    for content in (image[: int(share * len(image))], whole[: int(share * len(whole))]):
        assert refused(served, client, case, content) in (415, 422)


def checkpoint_like() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"state_dict": {}}))
        archive.writestr("archive/version", "3\n")
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        pickle.dumps({"state_dict": {}}),
        checkpoint_like(),
        b"<!DOCTYPE html><script>alert(1)</script>",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"MZ" + bytes(1000),
        b"%PDF-1.7\n",
        bytes(128) + b"DICM" + bytes(100),
        b"GIF89a" + struct.pack("<HH", 65535, 65535),
        np.random.default_rng(1).bytes(5000),
    ],
)
def test_what_is_no_image_is_refused(served: Served, client: httpx.Client, case: str, content: bytes) -> None:
    assert refused(served, client, case, content) in (415, 422)


def test_a_zips_members_land_nowhere_else(served: Served, client: httpx.Client, case: str) -> None:
    bad = {"../../evil_t1.nii.gz": nifti(), "/tmp/evil_t2.nii.gz": nifti(), "C:\\x\\flair.nii.gz": nifti()}  # noqa: S108
    answer = client.post(f"/api/cases/{case}/files", params={"name": "a.zip"}, content=zipped(**bad, ok_t1ce=nifti()))
    root = served.store.folder(case).parent.parent
    assert not list(root.parent.rglob("*evil*"))
    assert not Path("/tmp/evil_t2.nii.gz").exists()  # noqa: S108
    if answer.status_code == 200:
        assert left(served, case) == sorted(f"{file['id']}.nii.gz" for file in answer.json()["files"])
        assert not any("/" in file["name"] or "\\" in file["name"] for file in answer.json()["files"])
    else:
        assert left(served, case) == []


@pytest.mark.slow
def test_zip_bombs_are_stopped(served: Served, client: httpx.Client, case: str) -> None:
    deep = zipped(**{"x.zip": zipped(**{"y.zip": zipped(**{"a_t1.nii.gz": nifti()})})})
    wide = zipped(**{f"{number}_t1.nii": b"" for number in range(5000)})
    tall = zipped(**{"a_t1.nii": gzip.decompress(nifti())[:352] + bytes(20_000_000)})
    for content in (deep, wide, tall):
        assert refused(served, client, case, content, name="a.zip") in (413, 415, 422)


def test_a_slow_upload_is_given_up(served: Served, case: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        head = f"POST /api/cases/{case}/files?name=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n12345"
        connection.sendall(head.encode())
        assert b" 408 " in connection.recv(100)
    assert left(served, case) == []


def test_of_an_upload_that_breaks_off_nothing_remains(served: Served, case: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        head = f"POST /api/cases/{case}/files?name=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n12345"
        connection.sendall(head.encode())
        deadline = time.monotonic() + 5
        while not left(served, case) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert left(served, case)
    while left(served, case) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left(served, case) == []


def test_a_full_disk_is_said_in_words(
    served: Served, client: httpx.Client, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: BinaryIO, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(uploads, "_write", full)
        answer = client.post(f"/api/cases/{case}/files", params={"name": "P_t1.nii.gz"}, content=nifti())
        assert answer.status_code == 507
        assert "disk" in answer.json()["detail"]
        assert left(served, case) == []
    assert client.post(f"/api/cases/{case}/files", params={"name": "P_t1.nii.gz"}, content=nifti()).status_code == 200


def test_limits_of_a_case_hold_over_all_its_files(served: Served, client: httpx.Client, case: str) -> None:
    noise = np.random.default_rng(0).integers(-30000, 30000, (90, 90, 90)).astype(np.int16)
    large = gzip.compress(nibabel.Nifti1Image(noise, np.eye(4)).to_bytes(), compresslevel=1)
    statuses = [
        client.post(f"/api/cases/{case}/files", params={"name": f"{number}.nii.gz"}, content=large).status_code
        for number in range(4)
    ]
    assert statuses[0] == 200
    assert statuses[-1] == 413
    assert sum(path.stat().st_size for path in served.store.files(case).iterdir()) <= LIMITS.case_bytes


def test_only_so_many_cases_are_kept(tmp_path: Path) -> None:
    with serving(tmp_path, limits=Limits(cases=2)) as small, small.client() as client:
        first = client.post("/api/cases").json()["id"]
        assert client.post("/api/cases").status_code == 201
        assert client.post("/api/cases").status_code == 429
        client.delete(f"/api/cases/{first}").raise_for_status()
        assert client.post("/api/cases").status_code == 201


@pytest.mark.slow
def test_a_client_that_never_stops_asking_waits(tmp_path: Path) -> None:
    from brats_lightning.web.api.rates import Rate  # noqa: PLC0415

    with serving(tmp_path, guards=Guards(requests=Rate(20))) as strict, strict.client() as client:
        statuses = [client.get("/api/health").status_code for _ in range(25)]
        assert statuses[:20] == [200] * 20
        assert statuses[-1] == 429


@pytest.mark.slow
def test_without_the_token_nothing_is_done(tmp_path: Path) -> None:
    token = "a token of these tests"  # noqa: S105
    with serving(tmp_path, guards=Guards(tokens=Tokens(token))) as guarded, guarded.client() as client:
        entered = {"authorization": f"Bearer {token}"}
        case = client.post("/api/cases", headers=entered).json()["id"]
        paths = client.get("/openapi.json", headers=entered).json()["paths"]
        for path, methods in paths.items():
            for method in methods:
                if path != "/api/login":
                    answer = client.request(method, path.format(case=case, file="x", kind="t1n", name="x"))
                    assert answer.status_code == 401, (method, path)
        assert client.get(f"/api/cases/{case}", headers=entered).status_code == 200


def test_connections_that_say_nothing_are_cut(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SILENCE_SECONDS", 0.2)
    halves = (b"", b"GET / HTTP/1.1\r\nHost: loc", b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for half in halves:
        with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
            connection.sendall(half)
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass


def test_what_is_no_http_is_refused(served: Served, client: httpx.Client) -> None:
    for content in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"GET /\r\n\r\n", b"A" * 200_000):
        with (
            socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection,
            contextlib.suppress(ConnectionResetError, BrokenPipeError),
        ):
            connection.sendall(content + b"\r\n\r\n")
            assert b" 400 " in connection.recv(100)
    assert client.get("/api/health").status_code == 200


def test_nobodys_name_stands_in_the_log(
    served: Served, client: httpx.Client, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        for content in (nifti(), b"no image"):
            client.post(f"/api/cases/{case}/files", params={"name": "DOE^JANE_t1.nii.gz"}, content=content)
        client.get(f"/api/cases/{case}/results/DOE^JANE")
        filled = filled_case(client)
        client.post(f"/api/cases/{filled}/start").raise_for_status()
        client.delete(f"/api/cases/{filled}").raise_for_status()
    own = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]  # httpx, httpcore
    assert [text for text in own if text.startswith("POST /api/cases/{case}/files 200")]
    assert not [text for text in own if "DOE" in text or case in text or filled in text]
