"""The API as its own document describes it, tried with what nobody has thought of."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from brats_lightning.web.limits import Limits
from tests.web.pretended import filled_case, serving

SECONDS = 10


def test_every_route_is_told_with_its_meaning_and_its_refusals(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as client:
        document = client.get("/openapi.json").json()
    paths = document["paths"]
    assert {"/api/cases", "/api/cases/{case}", "/api/cases/{case}/files", "/api/cases/{case}/events"} < set(paths)
    for path, methods in paths.items():
        for method, operation in methods.items():
            assert operation["description"], (method, path)
            assert "4XX" in operation["responses"], (method, path)
            assert any(status.startswith("2") for status in operation["responses"]), (method, path)
    assert "HTTPValidationError" not in json.dumps(document)  # FastAPI's own, which nothing is answered with
    assert list(paths["/api/cases/{case}/files"]["post"]["requestBody"]["content"]) == ["application/octet-stream"]


def test_a_method_that_is_not_taken_is_answered_with_those_that_are(tmp_path: Path) -> None:
    with serving(tmp_path) as served, served.client() as client:
        refused = client.put("/api/cases/x")
        assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, PATCH")
        assert client.put("/docs").headers["allow"] == "GET"


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
def test_requests_that_nobody_has_thought_of_are_no_errors_of_the_server(tmp_path: Path, known: bool) -> None:
    """Requests that fit the document and that do not, to a case that there is or to others: every check but one passes.

    That one expects whatever fits the document to be done, but names of networks are known to the server alone.
    """
    limits = Limits(requests_per_minute=1_000_000, cases=2000, file_mb=1, case_mb=4, idle_seconds=2)
    with serving(tmp_path / "folder", limits=limits) as served, served.client() as client:
        case = filled_case(client)
        file = client.get(f"/api/cases/{case}").json()["files"][0]["id"]
        parameters = f'[parameters]\n"path.case" = "{case}"\n"path.file" = "{file}"\n' if known else ""
        (tmp_path / "schemathesis.toml").write_text(parameters)
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{served.url}/openapi.json"]
        command += ["--max-time", str(SECONDS), "--seed", "1", "--request-timeout", "5", "--continue-on-failure"]
        command += ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
        command += ["--exclude-path", "/api/cases/{case}/events"] * known  # of a case that there is, it has no end
        command += ["--exclude-method", "DELETE"] * known
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout
        assert "Test cases:" in done.stdout
        assert client.get("/api/health").status_code == 200
