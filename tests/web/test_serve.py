import os
import re
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from brats_lightning.cli import main
from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.web.api.access import Access
from brats_lightning.web.limits import Limits
from brats_lightning.web.serve import default_folder, serve
from tests.web.pretended import NO_HTTPS

PRETENDED = """
import asyncio, sys
from pathlib import Path
from tests.web.pretended import PretendedQueue
from brats_lightning.web import running
from brats_lightning.web.api.access import Access
from brats_lightning.web.limits import Limits
from brats_lightning.web.work.messages import WorkOptions

running.JobQueue = lambda store, limits, **_: PretendedQueue(store, seconds=60)
settings = running.Settings((), Path(sys.argv[1]), ("cpu",), Limits(), (), WorkOptions())
running.run(settings, access=Access(port=0))
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A server of its own over a pretended queue."""
    command = [sys.executable, "-c", PRETENDED, str(tmp_path / "folder")]
    started = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield started
    started.kill()
    started.communicate()


def address(process: "subprocess.Popen[str]") -> str:
    """Of a server that has just said what it is not, and where it is."""
    assert process.stdout is not None
    said = process.stdout.readline()
    assert "not a medical device" in said, process.stderr.read() if process.stderr else said
    found = re.fullmatch(r"Open (https?://(127\.0\.0\.1|localhost):[0-9]+/)\n", process.stdout.readline())
    assert found
    return found[1]


@pytest.mark.parametrize("sign", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_it_ends_in_seconds_with_open_pages_and_uploads(
    process: "subprocess.Popen[str]", tmp_path: Path, sign: signal.Signals
) -> None:
    url = address(process)
    heard: list[str] = []
    with httpx.Client(base_url=url, timeout=20, verify=NO_HTTPS) as client:
        case = client.post("/api/cases").json()["id"]

        def listen() -> None:
            with client.stream("GET", f"/api/cases/{case}/events") as answer:
                heard.extend(answer.iter_lines())

        listeners = [threading.Thread(target=listen) for _ in range(3)]
        for listener in listeners:
            listener.start()
        assert (tmp_path / "folder" / "cases" / case / "case.json").stat().st_mode & 0o077 == 0
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)
        with socket.create_connection(("127.0.0.1", int(url.strip("/").rpartition(":")[2]))) as uploading:
            head = f"POST /api/cases/{case}/files?name=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"
            uploading.sendall(head.encode())
            time.sleep(0.3)
            since = time.monotonic()
            process.send_signal(sign)
            out, err = process.communicate(timeout=20)
            assert time.monotonic() - since < 15
        for listener in listeners:
            listener.join(5)
    assert process.returncode == 0
    assert out.endswith("stopped\n")
    assert len([line for line in heard if line.startswith("event: case")]) == 3
    assert "Traceback" not in err
    assert case not in err


@pytest.mark.slow
def test_a_case_outlives_its_server(tmp_path: Path) -> None:
    cases: list[str] = []
    for _ in range(2):
        command = [sys.executable, "-c", PRETENDED, str(tmp_path / "folder")]
        with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as started:
            with httpx.Client(base_url=address(started), verify=NO_HTTPS) as client:
                if cases:
                    assert client.get(f"/api/cases/{cases[0]}").json()["id"] == cases[0]
                else:
                    cases.append(client.post("/api/cases").json()["id"])
            started.terminate()
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("access", "sentence"),
    [
        ({"host": "0.0.0.0"}, "--certificate and --key for HTTPS, or --behind_proxy"),  # noqa: S104
        ({"host": "192.168.0.7"}, "unencrypted"),
        ({"host": "::"}, "unencrypted"),
        ({"token": "guessable"}, "--token: expected at least 16"),
        ({"certificate": Path("x.pem")}, "belong together"),
        ({"certificate": Path("x.pem"), "key": Path("x.key")}, "x.pem cannot be read"),
        ({"port": 70000}, "--port is 70000"),
        ({"allowed_hosts": ("https://brats.example.org/",)}, "--allowed_hosts"),
        ({"allowed_hosts": ("*",)}, "--allowed_hosts"),
    ],
)
def test_what_is_not_safe_is_not_begun(access: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        Access(**access)  # type: ignore[arg-type]


def test_beyond_the_machine_there_is_always_a_token() -> None:
    beyond = [Access(host=host, behind_proxy=True) for host in ("0.0.0.0", "127.0.0.1")]  # noqa: S104
    assert all(access.token and len(access.token) >= 32 for access in beyond)
    assert beyond[0].token != beyond[1].token
    assert Access().token is None
    given = Access(token="sixteen letters or more")  # noqa: S106
    assert given.guards(Limits()).tokens.wanted
    assert given.address(8000) == "http://127.0.0.1:8000/#token=sixteen letters or more"
    assert (
        Access(behind_proxy=True, allowed_hosts=("b.example.org",)).address(8000).startswith("https://b.example.org/#")
    )
    assert beyond[0].guards(Limits()).cookie.startswith("__Host-")


@pytest.mark.slow
def test_https_is_spoken_with_files_that_belong_together(tmp_path: Path) -> None:
    pairs = [(tmp_path / f"{name}.pem", tmp_path / f"{name}.key") for name in "ab"]
    for certificate, key in pairs:
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        subprocess.run([*command, *subject, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with pytest.raises(ConfigError, match="are no pair for HTTPS"):
        Access(certificate=pairs[0][0], key=pairs[1][1])
    certificate, key = pairs[0]
    given = f"Access(host='localhost', port=0, certificate=Path({str(certificate)!r}), key=Path({str(key)!r}))"
    script = PRETENDED.replace("Access(port=0)", given)
    command = [sys.executable, "-c", script, str(tmp_path / "folder")]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as started:
        url = address(started)
        assert url.startswith("https://localhost:")
        with httpx.Client(base_url=url, verify=ssl.create_default_context(cafile=str(certificate))) as client:
            assert client.get("/api/health").status_code == 200
            own = {"origin": url.strip("/")}
            assert client.post("/api/cases", headers=own).status_code == 201
        started.terminate()


def test_a_port_that_is_taken_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BratsError, match=rf"127\.0\.0\.1, port {port} .*give another --port"):
            Access(port=port).bound()
    with pytest.raises(BratsError, match="cannot listen"):
        Access(host="nowhere.invalid", behind_proxy=True).bound()


def test_cases_are_kept_where_the_system_keeps_such_things(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "brats" / "serve"
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".local" / "state" / "brats" / "serve"


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(BratsError, match=r"pip install -c constraints\.txt -e '\.\[web\]'"):
        serve(checkpoint=(Path("x.ckpt"),))


def test_the_token_is_kept_from_the_processes_that_read_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRATS_TOKEN", "short")
    with pytest.raises(ConfigError, match="--token: expected at least 16"):  # it was read
        serve(checkpoint=(Path("x.ckpt"),))
    assert "BRATS_TOKEN" not in os.environ


def test_the_commands_options_reach_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--checkpoint", "a.ckpt", "b.ckpt", "--limits.file_mb", "-1"])
    assert "limits.file_mb is -1" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["serve", "--checkpoint", "a.ckpt", "--host", "0.0.0.0"])  # noqa: S104
    assert "--host 0.0.0.0 is reached from other machines" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "drop a patient's images into a browser" in capsys.readouterr().out


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_opened_ends_it_with_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "wrong.ckpt").write_bytes(b"no checkpoint")
    command = [sys.executable, "-m", "brats_lightning", "serve", "--port", "0", "--device", "cpu"]
    command += ["--checkpoint", str(tmp_path / "wrong.ckpt"), "--folder", str(tmp_path / "folder")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))
    assert done.returncode == 1
    assert done.stderr.startswith("brats: ")
    assert "wrong.ckpt" in done.stderr
    assert done.stderr.count("\n") == 1
