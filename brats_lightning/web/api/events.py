"""What happens to a case, as server-sent events."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Refused

PING_SECONDS = 15.0
"""Between signs of life: a proxy cuts what is silent for longer, often a minute."""
MOST_STREAMS = 200
"""Open at once: each holds a connection."""


class Streams:
    """Streams of events, all of which end when the server does.

    Args:
        store: Cases.
        most: Streams that may be open at once.
    """

    def __init__(self, store: CaseStore, *, most: int = MOST_STREAMS) -> None:
        self._store = store
        self._most = most
        self._open = 0
        self._ended = asyncio.Event()

    def end(self) -> None:
        """End all streams: the server stops. Called in the event loop's thread."""
        self._ended.set()

    async def of(self, case: str) -> AsyncIterator[bytes]:
        """Events of a case: how it is now, and after each change; `gone` when it was erased, which is the last.

        Raises:
            Refused: No such case, or too many streams.
        """
        self._store.get(case)
        if self._open >= self._most:
            raise Refused(429, f"{self._open} pages wait for news already: close some, or ask for the case itself")
        stream = self._stream(case)
        first = await anext(stream)  # which counts it, before anybody else asks
        return _whole(first, stream)

    async def _stream(self, case: str) -> AsyncGenerator[bytes, None]:
        self._open += 1
        ended = asyncio.create_task(self._ended.wait())
        try:
            while not ended.done():
                try:
                    version = self._store.version(case)
                    record = self._store.get(case)
                except Refused:
                    yield b"event: gone\ndata: {}\n\n"
                    return
                yield f"event: case\ndata: {record.model_dump_json()}\n\n".encode()
                while not await self._news(case, version, ended) and not ended.done():
                    yield b": ping\n\n"
        finally:
            ended.cancel()
            self._open -= 1

    async def _news(self, case: str, version: int, ended: "asyncio.Task[bool]") -> bool:
        """Wait for a change, but not long: whether there was one."""
        changed = asyncio.create_task(self._store.changed(case, version))
        try:
            await asyncio.wait({changed, ended}, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if changed.done():
                changed.exception()  # that it was erased is news as well, and is found out in a moment
            return changed.done()
        finally:
            changed.cancel()


async def _whole(first: bytes, stream: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(stream):
        yield first
        async for event in stream:
            yield event
