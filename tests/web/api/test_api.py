import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from brats_lightning.web.api import events
from brats_lightning.web.api.guards import Guards
from brats_lightning.web.api.tokens import Tokens
from brats_lightning.web.limits import Limits
from tests.web.pretended import NETWORKS, RESULTS, Served, filled_case, nifti, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served") / "folder") as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client() as made:
        yield made


def wait_for(client: httpx.Client, case: str, state: str) -> dict[str, Any]:
    deadline = time.monotonic() + 10
    while (record := client.get(f"/api/cases/{case}").json())["state"] != state:
        assert time.monotonic() < deadline, record
        time.sleep(0.02)
    return dict(record)


def happenings(client: httpx.Client, case: str) -> Iterator[tuple[str, Any]]:
    """Events of a case, as pages hear of them."""
    with client.stream("GET", f"/api/cases/{case}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))
            elif line.startswith(":"):
                yield line, None


def test_the_server_says_what_it_is(client: httpx.Client) -> None:
    about = client.get("/api/about").json()
    assert [network["name"] for network in about["networks"]] == [network.name for network in NETWORKS]
    assert about["limits"]["file_mb"] == Limits().file_mb
    assert about["example"] is False
    assert "not a medical device" in about["disclaimer"]
    assert client.get("/api/health").json() == {"status": "ok"}


def test_from_images_to_results(client: httpx.Client, served: Served) -> None:
    case = filled_case(client)
    started = client.post(f"/api/cases/{case}/start")
    assert started.status_code == 202
    assert started.json()["state"] in ("queued", "running")
    assert wait_for(client, case, "done")["results"] == list(RESULTS)
    for name, content in RESULTS.items():
        answer = client.get(f"/api/cases/{case}/results/{name}")
        assert answer.content == content
        tag = {"if-none-match": answer.headers["etag"]}
        assert client.get(f"/api/cases/{case}/results/{name}", headers=tag).status_code == 304
    part = client.get(f"/api/cases/{case}/results/report.html", headers={"range": "bytes=0-1"})
    assert (part.status_code, part.content) == (206, b"<!")


def test_a_case_needs_what_its_networks_need(client: httpx.Client) -> None:
    made = client.post("/api/cases", json={"networks": ["one"]})
    assert made.status_code == 201
    case = made.json()["id"]
    assert made.json()["missing"] == ["t2f"]
    both = client.patch(f"/api/cases/{case}", json={"networks": ["one", "four", "one"]}).json()
    assert both["networks"] == ["one", "four"]
    assert sorted(both["missing"]) == ["t1c", "t1n", "t2f", "t2w"]
    assert client.post(f"/api/cases/{case}/start", json={}).status_code == 422
    answer = client.patch(f"/api/cases/{case}", json={"networks": ["two"]})
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("choose from four, one")
    assert client.get("/api/cases/" + case).json()["networks"] == ["one", "four"]


def test_files_are_recognised_named_and_removed(client: httpx.Client) -> None:
    case = client.post("/api/cases", json={"networks": ["one"]}).json()["id"]
    record = client.post(f"/api/cases/{case}/files", params={"name": "P_flair.nii.gz"}, content=nifti()).json()
    assert [file["kind"] for file in record["files"]] == ["t2f"]
    assert record["missing"] == []
    file = record["files"][0]["id"]
    record = client.patch(f"/api/cases/{case}/files/{file}", json={"kind": "t1n"}).json()
    assert record["missing"] == ["t2f"]
    assert client.delete(f"/api/cases/{case}/files/{file}").json()["files"] == []
    assert client.delete(f"/api/cases/{case}/files/{file}").status_code == 404


def test_networks_may_be_chosen_when_a_case_is_started(client: httpx.Client) -> None:
    case = filled_case(client)
    client.post(f"/api/cases/{case}/start", json={"networks": ["one"]}).raise_for_status()
    assert wait_for(client, case, "done")["networks"] == ["one"]
    answer = client.patch(f"/api/cases/{case}", json={"networks": ["four"]})
    assert answer.status_code == 409


def test_a_reference_of_a_finished_case_is_compared(client: httpx.Client, served: Served) -> None:
    case = filled_case(client)
    client.post(f"/api/cases/{case}/start").raise_for_status()
    wait_for(client, case, "done")
    put = client.put(f"/api/cases/{case}/images/seg", params={"name": "seg.nii.gz"}, content=nifti(value=1))
    assert put.status_code == 200
    assert [work for asked, work in served.queue.asked if asked == case] == ["segment", "compare"]
    (seg,) = (file["id"] for file in put.json()["files"] if file["kind"] == "seg")
    client.delete(f"/api/cases/{case}/files/{seg}").raise_for_status()
    assert [work for asked, work in served.queue.asked if asked == case] == ["segment", "compare", "report"]


def test_a_case_is_cancelled_and_erased(tmp_path: Path) -> None:
    with serving(tmp_path, seconds=60) as slow, slow.client() as client:
        case = filled_case(client)
        client.post(f"/api/cases/{case}/start").raise_for_status()
        assert client.post(f"/api/cases/{case}/cancel").json()["state"] == "cancelled"
        assert client.post(f"/api/cases/{case}/cancel").status_code == 409
        client.post(f"/api/cases/{case}/start").raise_for_status()
        assert client.delete(f"/api/cases/{case}").status_code == 204
        assert not list((tmp_path / "cases").iterdir())
        assert client.get(f"/api/cases/{case}").status_code == 404


def test_events_tell_the_case_at_once_and_each_change_and_its_end(client: httpx.Client) -> None:
    case = filled_case(client)
    heard = happenings(client, case)
    assert next(heard)[1]["state"] == "collecting"
    client.post(f"/api/cases/{case}/start").raise_for_status()
    states = ["collecting"]
    percents = []
    while states[-1] != "done":
        kind, record = next(heard)
        assert kind == "case"
        states.append(record["state"])
        percents.append(record["percent"])
    assert sorted(set(states)) == ["collecting", "done", "queued", "running"] or "queued" not in states
    assert percents == sorted(percents)
    client.delete(f"/api/cases/{case}").raise_for_status()
    assert list(heard) == [("gone", {})]


def test_silence_is_broken_by_pings(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PING_SECONDS", 0.02)
    case = client.post("/api/cases").json()["id"]
    heard = happenings(client, case)
    assert [next(heard)[0] for _ in range(3)] == ["case", ": ping", ": ping"]


def test_two_hear_the_same_and_none_hears_of_anothers_case(client: httpx.Client) -> None:
    mine, other = (client.post("/api/cases", json={"networks": ["one"]}).json()["id"] for _ in range(2))
    first, second, third = (happenings(client, case) for case in (mine, mine, other))
    assert [next(heard)[1]["id"] for heard in (first, second, third)] == [mine, mine, other]
    client.patch(f"/api/cases/{mine}", json={"networks": ["four"]}).raise_for_status()
    assert next(first) == next(second)
    client.delete(f"/api/cases/{other}").raise_for_status()
    assert next(third) == ("gone", {})


def test_there_are_only_so_many_streams(client: httpx.Client, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    case = client.post("/api/cases").json()["id"]
    monkeypatch.setattr(served.server.streams, "_most", 2)
    first, second = happenings(client, case), happenings(client, case)
    next(first), next(second)
    refused = client.get(f"/api/cases/{case}/events")
    assert refused.status_code == 429
    first.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with client.stream("GET", f"/api/cases/{case}/events") as answer:
            if answer.status_code == 200:
                return
    pytest.fail("a page that was closed left its place taken")


def test_downloads_are_called_after_the_case(client: httpx.Client) -> None:
    case = client.post("/api/cases", json={"networks": ["one"]}).json()["id"]
    client.put(
        f"/api/cases/{case}/images/t2f", params={"name": "P_1\r\n_flair.nii.gz"}, content=nifti()
    ).raise_for_status()
    client.post(f"/api/cases/{case}/start").raise_for_status()
    wait_for(client, case, "done")

    def disposition(name: str, **settings: int) -> str:
        answer = client.get(f"/api/cases/{case}/results/{name}", params=settings)
        return str(answer.headers.get("content-disposition", ""))

    assert disposition("mask.nii.gz") == ""
    assert disposition("mask.nii.gz", download=1).endswith('_mask.nii.gz"')
    assert disposition("report.html").startswith("attachment; ")
    assert disposition("report.html", download=0) == ""


def test_a_report_runs_as_nobodys_page(client: httpx.Client) -> None:
    case = filled_case(client)
    client.post(f"/api/cases/{case}/start").raise_for_status()
    wait_for(client, case, "done")
    answer = client.get(f"/api/cases/{case}/results/report.html?download=0")
    assert answer.headers["content-security-policy"] == "sandbox allow-scripts"


def test_a_synthetic_case_comes_with_its_files(tmp_path: Path) -> None:
    image = tmp_path / "example_flair.nii.gz"
    image.write_bytes(nifti())
    with serving(tmp_path / "folder", example={"t2f": image, "seg": image}) as offering, offering.client() as client:
        assert client.get("/api/about").json()["example"] is True
        made = client.post("/api/example")
        assert made.status_code == 201
        assert made.json()["example"] is True
        assert [file["kind"] for file in made.json()["files"]] == ["t2f", "seg"]
    assert image.exists()


def test_where_no_example_is_offered_there_is_none(client: httpx.Client) -> None:
    assert client.post("/api/example").status_code == 404


def test_login_gives_a_session_that_ends_with_logout(tmp_path: Path) -> None:
    token = "a token of these tests"  # noqa: S105
    guards = Guards(tokens=Tokens(token))
    with serving(tmp_path, guards=guards) as guarded, guarded.client() as browser, guarded.client() as other:
        assert browser.get("/api/about").status_code == 401
        assert browser.post("/api/login", json={"token": "a wrong token of these"}).status_code == 401
        entered = browser.post("/api/login", json={"token": token})
        assert entered.status_code == 204
        cookie = entered.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/"))
        assert token not in cookie
        assert browser.get("/api/about").status_code == 200
        assert browser.get("/docs").status_code == 200
        stolen = dict(browser.cookies)
        assert browser.post("/api/logout").status_code == 204
        assert not browser.cookies
        assert browser.get("/api/about").status_code == 401
        other.cookies.update(stolen)
        assert other.get("/api/about").status_code == 401
        assert other.get("/api/about", headers={"authorization": f"Bearer {token}"}).status_code == 200


def test_the_cookie_of_https_is_sent_by_https_alone() -> None:
    assert Guards(secure=True).cookie == "__Host-brats"
    assert Guards().cookie == "brats"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/docs", "text/html"),
        ("/static/docs.js", "text/javascript"),
        ("/static/docs.css", "text/css"),
        ("/static/niivue.umd.js", "text/javascript"),
        ("/openapi.json", "application/json"),
    ],
)
def test_the_pages_are_served(client: httpx.Client, path: str, kind: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    if "etag" in answer.headers:
        assert client.get(path, headers={"if-none-match": answer.headers["etag"]}).status_code == 304


def test_no_page_asks_anything_of_another_server(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/static/docs.js", "/static/docs.css"):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text.replace('"http://"', "")
        assert "https://" not in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/static/nothing.js", 404),
        ("GET", "/api/cases/", 404),
        ("GET", "/api/cases", 405),
        ("POST", "/api/about", 405),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert " " in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [(b"{", "JSON"), (b'{"networks": 3}', "networks"), (b'{"networks": null, "more": 1}', "more"), (b"[]", "body")],
)
def test_bodies_that_make_no_sense_are_refused_in_a_sentence(client: httpx.Client, body: bytes, sentence: str) -> None:
    answer = client.post("/api/cases", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert sentence in answer.json()["detail"]


@pytest.mark.slow
def test_many_ask_at_once(client: httpx.Client, served: Served) -> None:
    """Each of eight makes a case, fills it and gets its results."""
    done: list[str] = []

    def one() -> None:
        with served.client() as mine:
            case = filled_case(mine)
            mine.post(f"/api/cases/{case}/start").raise_for_status()
            done.append(wait_for(mine, case, "done")["id"])

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(done)) == 8
