"""Small bodies, read whole before the application sees them: nothing but a file may be long, and none may dawdle."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from brats_lightning.web.limits import Refused

MOST_BYTES = 64 * 1024
SECONDS = 15.0


async def in_memory(headers: Headers, receive: Receive) -> Receive:
    """Read a request's body, and return what hands it over again.

    Args:
        headers: Of the request.
        receive: Gives its parts.

    Raises:
        Refused: It is longer than any that the API takes, or does not come to its end.
    """
    announced = headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > MOST_BYTES:
        raise _too_long()
    if announced == "0" and "transfer-encoding" not in headers:
        return receive
    try:
        async with asyncio.timeout(SECONDS):
            body = await _read(receive)
    except TimeoutError:
        raise Refused(408, f"the request did not come to its end within {SECONDS:.0f} s: send it again") from None
    waiting: list[Message] = [] if body is None else [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


async def _read(receive: Receive) -> bytes | None:
    """The body; None if the client has gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            raise _too_long()
        if not message.get("more_body", False):
            return bytes(body)


def _too_long() -> Refused:
    return Refused(413, f"expected at most {MOST_BYTES} bytes here; files go to /api/cases/ID/files")
