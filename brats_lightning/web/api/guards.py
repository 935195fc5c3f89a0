"""What stands before every request: names, rates, foreign pages, tokens; and behind every answer: headers, the log.

Plain ASGI, around the whole application, so that nothing is answered without it, errors included.
"""

import asyncio
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from brats_lightning.web.api.bodies import in_memory
from brats_lightning.web.api.hosts import Hosts, address_of
from brats_lightning.web.api.rates import Rate
from brats_lightning.web.api.replies import Answer, TooOften, is_static, log, tell
from brats_lightning.web.api.tokens import Tokens
from brats_lightning.web.limits import Refused

WRONG_TOKENS_PER_MINUTE = 10
READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Guards:
    """How the server is reached, and by whom.

    Args:
        hosts: Names it answers to.
        tokens: Who may come in.
        secure: Whether browsers reach it by HTTPS.
        behind_proxy: A proxy stands before it, whose `X-Forwarded-For` tells clients apart.
        requests: Of a client, a minute.
        wrong: Wrong tokens of a client, a minute.
    """

    hosts: Hosts = field(default_factory=Hosts)
    tokens: Tokens = field(default_factory=lambda: Tokens(None))
    secure: bool = False
    behind_proxy: bool = False
    requests: Rate = field(default_factory=lambda: Rate(1200))
    wrong: Rate = field(default_factory=lambda: Rate(WRONG_TOKENS_PER_MINUTE))

    @property
    def cookie(self) -> str:
        """Name of the session's cookie; with this prefix no other host can have set it."""
        return "__Host-brats" if self.secure else "brats"

    def client(self, scope: Scope) -> str:
        """Address of who asks: a proxy's last word on it, since what stands before that anybody may write."""
        forwarded = _last_word(Headers(scope=scope), "x-forwarded-for") if self.behind_proxy else ""
        address: str = (scope.get("client") or ("unknown", 0))[0]
        return address_of(forwarded) or address

    def session(self, scope: Scope) -> str:
        """Session of a request's cookie, empty without one."""
        return cookie_parser(Headers(scope=scope).get("cookie", "")).get(self.cookie, "")


class Guard:
    """Lets a request in, or answers it with the reason why not.

    Args:
        app: What is guarded.
        guards: Settings.
    """

    def __init__(self, app: ASGIApp, guards: Guards) -> None:
        self.app = app
        self.guards = guards

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Guard one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        answer = Answer(scope, send)
        try:
            self._admit(scope)
            if not _is_upload(scope):
                receive = await in_memory(Headers(scope=scope), receive)
            await self.app(scope, receive, answer.send)
        except Refused as refused:
            await answer.refuse(refused)
        except asyncio.CancelledError:  # this is the whole of the request's task: nobody above waits for the news
            await answer.refuse(Refused(503, "the server is being stopped: try again later"))
        except ClientDisconnect:
            log.debug("a client left in mid-request")
        except Exception as error:  # noqa: BLE001 - the server goes on, and says nothing of what it holds
            tell(error)
            await answer.refuse(Refused(500, "something went wrong within the server: its log tells where"))
        finally:
            answer.write_down()

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        guards = self.guards
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not guards.hosts.knows(hosts[0]):
            raise Refused(
                400, "this server is not known by that name: open it by the address that it printed when it started, "
                "or start it with --allowed_hosts NAME",
            )  # fmt: skip
        client = guards.client(scope)
        _count(guards.requests, client)
        self._same_origin(scope, headers, hosts[0])
        if not _is_open(scope) and guards.tokens.wanted:
            self._token(headers, guards.session(scope), client)

    def _same_origin(self, scope: Scope, headers: Headers, host: str) -> None:
        site = headers.get("sec-fetch-site", "same-origin")
        origin = headers.get("origin")
        scheme = scope["scheme"]
        if self.guards.behind_proxy:
            scheme = _last_word(headers, "x-forwarded-proto") or "https"
            host = _last_word(headers, "x-forwarded-host") or host
        guarded = scope["method"] not in READING or scope["path"].startswith("/api/")
        own = origin is None or self.guards.hosts.is_own(origin, scheme=scheme, host=host)
        if guarded and not (own and site in {"same-origin", "none"}):
            raise Refused(403, "this came from a page of another site, which may ask nothing here")

    def _token(self, headers: Headers, session: str, client: str) -> None:
        if session and self.guards.tokens.knows(session):
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            admit_token(self.guards, token.strip(), client)
            return
        raise Refused(401, "expected the token that the server printed when it started: log in with it")


def admit_token(guards: Guards, token: str, client: str) -> None:
    """Hold a token against the server's; who was wrong too often waits, even with the right one.

    Args:
        guards: Of the server.
        token: As it was sent.
        client: Address of who sent it.

    Raises:
        Refused: It is wrong.
    """
    _count(guards.wrong, client, cost=0)
    if not guards.tokens.is_right(token):
        _count(guards.wrong, client)
        raise Refused(401, "this is not the token that the server printed when it started")


def _last_word(headers: Headers, name: str) -> str:
    """Of a header that each proxy adds to: behind a comma, or, as HAProxy does, as one more header of this name."""
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


def _count(rate: Rate, client: str, *, cost: int = 1) -> None:
    seconds = rate.wait(client, cost=cost)
    if seconds:
        raise TooOften(seconds)


def _is_open(scope: Scope) -> bool:
    return is_static(scope) or scope["path"] == "/api/login"


def _is_upload(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith("/api/cases/") and (
        (scope["method"] == "POST" and path.endswith("/files")) or (scope["method"] == "PUT" and "/images/" in path)
    )
