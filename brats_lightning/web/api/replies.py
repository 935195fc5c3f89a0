"""What every answer has: headers, a line in the log, and where a request is refused, a sentence."""

import logging
import time
import traceback

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import Message, Scope, Send

from brats_lightning.web.limits import Refused

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "worker-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
log = logging.getLogger("brats_lightning.web")


class TooOften(Refused):
    """A client that shall wait.

    Args:
        seconds: For so long.
    """

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(429, f"too many requests: wait for {seconds} s")


class Answer:
    """Puts headers on an answer, and knows how it went.

    Args:
        scope: Of the request.
        send: To the client.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._since = time.perf_counter()
        self._status: int | None = None

    async def send(self, message: Message) -> None:
        """Pass a part on."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("cache-control", "no-cache" if is_static(self._scope) else "no-store")
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Answer so, unless something has been answered already."""
        if self._status is not None:
            return  # too late: the connection ends short of what was announced
        await refusal(refused)(self._scope, _nothing, self.send)

    def write_down(self) -> None:
        """Leave a line in the log."""
        # Names of cases and files stand in the path: the route says as much, and nothing of anybody.
        route = getattr(self._scope.get("route"), "path", "(no route)")
        method = self._scope["method"] if self._scope["method"] in METHODS else "(no method)"
        milliseconds = 1000 * (time.perf_counter() - self._since)
        level = logging.DEBUG if is_static(self._scope) else logging.INFO
        log.log(level, "%s %s %s %.0f ms", method, route, self._status or "(no answer)", milliseconds)


def refusal(refused: Refused) -> JSONResponse:
    """What is answered."""
    headers = {"www-authenticate": "Bearer"} if refused.status == 401 else {}
    if isinstance(refused, TooOften):
        headers["retry-after"] = str(refused.seconds)
    return JSONResponse({"detail": str(refused)}, status_code=refused.status, headers=headers)


def tell(error: BaseException) -> None:
    """Write down where an error was raised, but not what it says: that may be a name, or a case's id."""
    frames = traceback.extract_tb(error.__traceback__)
    where = "".join(f"\n  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    log.error("%s within the server:%s", type(error).__name__, where)


def is_static(scope: Scope) -> bool:
    """Whether the page and its parts are asked for, which are everybody's."""
    path: str = scope["path"]
    return path == "/" or path.startswith("/static/")


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
