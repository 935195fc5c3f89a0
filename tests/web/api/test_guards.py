import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from brats_lightning.errors import ConfigError
from brats_lightning.web.api import bodies
from brats_lightning.web.api.guards import Guard, Guards
from brats_lightning.web.api.hosts import Hosts
from brats_lightning.web.api.rates import MOST_CLIENTS, Rate
from brats_lightning.web.api.replies import HEADERS
from brats_lightning.web.api.tokens import SESSION_SECONDS, Tokens

TOKEN = "sixteen letters or more"  # noqa: S105 - of these tests


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Client:
    """Asks an application directly, without a server."""

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 1))

    def request(self, method: str, path: str, **what: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost:8000") as asking:
                return await asking.request(method, path, **what)

        return asyncio.run(ask())

    def get(self, path: str, **what: Any) -> httpx.Response:
        return self.request("GET", path, **what)

    def post(self, path: str, **what: Any) -> httpx.Response:
        return self.request("POST", path, **what)


def client(guards: Guards | None = None) -> Client:
    """A client of an application with one route that echoes and one that breaks."""

    async def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(await request.body())

    async def broken(request: Request) -> PlainTextResponse:
        raise ValueError("Doe^Jane")

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"]
    routes = [Route(path, echo, methods=methods) for path in ("/", "/docs", "/static/x", "/api/login", "/api/{case}")]
    app = Starlette(routes=[Route("/api/broken", broken), *routes])
    app.add_middleware(Guard, guards=guards or Guards())
    return Client(app)


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST."])
def test_this_machines_names_are_answered_to(host: str) -> None:
    assert client().get("/api/x", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "192.168.0.7:8000", "localhost:x", "a b", "", "localhost@evil"]
)
@pytest.mark.parametrize("path", ["/", "/static/x", "/api/x", "/api/login"])
def test_another_name_that_points_here_is_refused(host: str, path: str) -> None:
    answer = client().get(path, headers={"host": host})
    assert answer.status_code == 400
    assert "--allowed_hosts" in answer.json()["detail"]


def test_names_beyond_the_machine_are_those_that_were_allowed_and_addresses_in_figures() -> None:
    hosts = Hosts("0.0.0.0", ("Brats.example.org",))  # noqa: S104
    assert all(map(hosts.knows, ["brats.example.org", "192.168.0.7:8000", "[fd00::1]", "localhost"]))
    assert not any(map(hosts.knows, ["example.org", "brats.example.org.evil", "192.168.0.7.evil.example"]))
    assert not Hosts("127.0.0.1", ("brats.example.org",)).knows("192.168.0.7")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # no browser
        ({"origin": "http://localhost:8000"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://localhost:8001"}, False),
        ({"origin": "https://localhost:8000"}, False),
        ({"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://localhost:8000.evil.example"}, False),
    ],
)
def test_pages_of_other_sites_change_nothing(headers: Mapping[str, str], allowed: bool) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert client().request(method, "/api/x", headers=headers).status_code == (200 if allowed else 403)
    assert client().get("/", headers=headers).status_code == 200  # a link to the page is none of this


def test_behind_a_proxy_pages_come_from_its_name() -> None:
    guards = Guards(hosts=Hosts(allowed=("brats.example.org",)), behind_proxy=True, secure=True)
    own = {"origin": "https://brats.example.org"}
    assert client(guards).post("/api/x", headers=own).status_code == 200
    assert client(guards).post("/api/x", headers=own | {"host": "brats.example.org"}).status_code == 200
    assert client(guards).post("/api/x", headers={"origin": "https://evil.example"}).status_code == 403


def test_without_the_token_only_the_shell_is_reached() -> None:
    guarded = client(Guards(tokens=Tokens(TOKEN)))
    reached = {path: guarded.get(path).status_code for path in ("/", "/static/x", "/api/login", "/docs", "/api/x")}
    assert reached == {"/": 200, "/static/x": 200, "/api/login": 200, "/docs": 401, "/api/x": 401}
    assert guarded.get("/api/x").headers["www-authenticate"] == "Bearer"
    assert guarded.get("/api/x", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("wrong", ["", TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "x" * 100_0, "Ω" * 20])
def test_a_wrong_token_opens_nothing(wrong: str) -> None:
    assert not Tokens(TOKEN).is_right(wrong)
    guarded = client(Guards(tokens=Tokens(TOKEN)))
    answer = guarded.get("/api/x", headers={"authorization": f"Bearer {wrong}".encode()})
    assert answer.status_code == 401
    assert guarded.get("/api/x", headers={"authorization": f"Basic {TOKEN}"}).status_code == 401


def test_guessing_tokens_is_slow() -> None:
    guarded = client(Guards(tokens=Tokens(TOKEN)))

    def ask(token: str) -> int:
        return guarded.get("/api/x", headers={"authorization": f"Bearer {token}"}).status_code

    assert [ask(f"guess {number}") for number in range(12)] == [401] * 10 + [429] * 2
    assert ask(TOKEN) == 429


def test_behind_a_proxy_nobody_guesses_as_somebody_else() -> None:
    guarded = client(Guards(tokens=Tokens(TOKEN), behind_proxy=True))

    def ask(*forwarded: str) -> int:
        headers = [("authorization", "Bearer guess"), *(("x-forwarded-for", word) for word in forwarded)]
        return guarded.get("/api/x", headers=headers).status_code

    # HAProxy adds a header of its own behind that of the client; others add a port, which is new each time.
    assert [ask(f"10.0.0.{number}", f"192.0.2.1:{4000 + number}") for number in range(12)] == [401] * 10 + [429] * 2
    assert ask("192.0.2.1", "::ffff:192.0.2.2") == 401  # who is another


def test_a_token_that_can_be_guessed_or_sent_by_no_header_is_refused() -> None:
    for token in ("", "short", "ΩΩΩΩΩΩΩΩΩΩΩΩΩΩΩΩ", "sixteen letters\n or more"):
        with pytest.raises(ConfigError, match="--token"):
            Tokens(token)


def test_a_session_ends_by_its_time_by_leaving_and_by_another_token() -> None:
    clock = Clock()
    tokens = Tokens(TOKEN, clock=clock)
    first, second = tokens.new_session(), tokens.new_session()
    assert tokens.knows(first)
    assert Tokens(TOKEN, clock=clock).knows(first)  # after a restart
    assert not Tokens(TOKEN[::-1], clock=clock).knows(first)
    tokens.revoke(first)
    assert not tokens.knows(first)
    assert tokens.knows(second)
    clock.now += SESSION_SECONDS
    assert not tokens.knows(second)


@pytest.mark.parametrize(
    "change", [str.upper, lambda session: "9" + session, lambda session: session[:-1], lambda _: ""]
)
def test_a_session_that_was_made_elsewhere_is_none(change: Callable[[str], str]) -> None:
    tokens = Tokens(TOKEN)
    assert not tokens.knows(change(tokens.new_session()))
    assert not tokens.knows("Ω.Ω.Ω")


def test_a_client_waits_once_its_minute_is_used_up_and_others_do_not() -> None:
    clock = Clock()
    rate = Rate(60, clock=clock)
    assert [rate.wait("a") for _ in range(61)] == [0] * 60 + [1]
    assert rate.wait("b") == 0
    clock.now += 1
    assert [rate.wait("a"), rate.wait("a")] == [0, 1]
    clock.now += 3600
    assert [rate.wait("a") for _ in range(61)] == [0] * 60 + [1]


def test_a_subscribers_many_addresses_are_one_client() -> None:
    rate = Rate(1)
    assert [rate.wait(f"2001:db8::{number:x}") for number in range(3)] == [0, 60, 60]
    assert rate.wait("2001:db8:0:1::1") == 0


def test_many_clients_take_little_memory() -> None:
    rate = Rate(1)
    for number in range(MOST_CLIENTS + 100):
        rate.wait(f"client {number}")
    assert len(rate._buckets) == MOST_CLIENTS


def test_too_many_requests_are_told_when_to_come_back() -> None:
    guarded = client(Guards(requests=Rate(2)))
    answers = [guarded.get("/api/x") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[-1].headers["retry-after"] == "30"


def test_a_proxys_last_word_tells_clients_apart_and_no_word_does_without_a_proxy() -> None:
    def asked(guards: Guards, *forwarded: str) -> list[int]:
        guarded = client(guards)
        return [guarded.get("/api/x", headers={"x-forwarded-for": word}).status_code for word in forwarded]

    proxied = Guards(requests=Rate(1), behind_proxy=True)
    assert asked(proxied, "10.0.0.1", "10.0.0.2", "9.9.9.9, 10.0.0.1") == [200, 200, 429]
    assert asked(Guards(requests=Rate(1)), "10.0.0.1", "10.0.0.2") == [200, 429]


@pytest.mark.parametrize(
    ("path", "headers"), [("/", {}), ("/api/x", {}), ("/api/broken", {}), ("/nothing", {}), ("/", {"host": "evil"})]
)
def test_every_answer_has_the_headers(path: str, headers: Mapping[str, str]) -> None:
    answer = client().get(path, headers=headers)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert answer.headers["cache-control"] == ("no-cache" if path == "/" else "no-store")
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_a_bug_is_answered_without_its_text_and_logged_without_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="brats_lightning.web"):
        answer = client().get("/api/broken?name=Doe")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "something went wrong within the server: its log tells where"}
    assert not [text for text in caplog.messages if "Doe" in text and "HTTP Request" not in text]
    assert "ValueError within the server" in caplog.text
    assert "test_guards.py" in caplog.text


def test_the_log_tells_routes_and_no_ids(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="brats_lightning.web"):
        client().post("/api/SECRET?name=Doe", content=b"x")
        client().request("BREW", "/api/SECRET")
    assert "POST /api/{case} 200" in caplog.text
    assert "(no method) /api/{case} 200" in caplog.text
    own = [text for text in caplog.messages if not text.startswith("HTTP Request")]  # httpx's
    assert not [text for text in own if "SECRET" in text or "Doe" in text]


def test_bodies_are_short_except_for_files() -> None:
    most = b"x" * bodies.MOST_BYTES

    async def pieces(*pieces: bytes) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    assert client().post("/api/x", content=most).content == most
    assert client().post("/api/x", content=most + b"x").status_code == 413
    assert client().post("/api/x", content=pieces(most, b"x")).status_code == 413
    assert client().post("/api/x", content=pieces(b"a", b"b")).content == b"ab"
    assert client().post("/api/x", content=b"{}", headers={"content-length": "-2"}).status_code == 413
    for method, path in (("POST", "/api/cases/x/files"), ("PUT", "/api/cases/x/images/t1n")):
        assert client().request(method, path, content=most + b"x").status_code == 404  # reached the application
