"""The server under the application: one that ends in seconds when it is asked to, and waits for nobody for long."""

import asyncio
import resource
import signal
import socket
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from brats_lightning.web.api.events import Streams
from brats_lightning.web.api.replies import tell

SILENCE_SECONDS = 30.0
"""Without a whole request, or without taking anything of the answer: then a connection is cut."""
MOST_CONNECTIONS = 500
"""At once; a browser opens six at most."""
OTHER_FILES = 100
"""That this process has open besides connections and what is sent over them."""
QUEUED_CONNECTIONS = 100
"""That the system holds for this process, all of which asyncio takes at a time."""
QUIET_SECONDS = 10.0
"""Between lines of the log on what goes wrong outside of any request."""
LAST_SECONDS = 2
"""For answers that are being sent when the server is asked to end."""


class Server(uvicorn.Server):
    """Ends when it is asked to by Ctrl-C or SIGTERM, open streams of events included, and leaves with 0.

    Args:
        app: What it serves.
        certificate: File with the certificate's chain, for HTTPS.
        key: File with its key.
    """

    def __init__(self, app: FastAPI, *, certificate: str | None = None, key: str | None = None) -> None:
        self.streams: Streams = app.state.streams
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=Connection,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # guards.py reads them, and only where a proxy was announced
                backlog=QUEUED_CONNECTIONS,
                timeout_graceful_shutdown=LAST_SECONDS,
                ssl_certfile=certificate,
                ssl_keyfile=key,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until it is asked to end."""
        asyncio.get_running_loop().set_exception_handler(_Complaints())
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """A signal asks to end; the second Ctrl-C, to end without waiting for anything.

        uvicorn's own would raise the signal anew once the server has ended.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams first: they would go on until their clients leave."""
        self.streams.end()
        await super().shutdown(sockets)


class _Complaints:
    """What asyncio complains of, without its words, which may be a name's; and not a thousand times.

    Where no more files can be opened, its own handler fills a disk with megabytes a second.
    """

    def __init__(self) -> None:
        self._quiet_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException) and loop.time() >= self._quiet_until:
            self._quiet_until = loop.time() + QUIET_SECONDS
            tell(error)


class Connection(H11Protocol):
    """A connection that is cut where it sends no whole request, goes on sending what was refused, or takes no answer.

    Where there are too many, the one is cut that has been idle for longest: those who hold connections without a word
    keep nobody else out.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Look now and then whether there is a request."""
        super().connection_made(transport)
        # asyncio does so for sockets alone that say they are TCP. Otherwise a body waits 40 ms for the head's receipt.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.access_log = False  # whoever configures logging: paths hold ids, and names of files
        self._free_since = self.loop.time()
        self._full_since: float | None = None
        self._lost = False
        self._make_room()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more to look for."""
        self._lost = True
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """The next request's time begins."""
        super().on_response_complete()
        self._free_since = self.loop.time()

    def pause_writing(self) -> None:
        """The client takes no more for now."""
        self._full_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has taken something."""
        self._full_since = None
        super().resume_writing()

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _make_room(self) -> None:
        """Cut the connection that has been idle for longest where there are too many: this one if all others work."""
        there = [each for each in self.connections if isinstance(each, Connection) and not each._lost]
        if len(there) <= most_connections():
            return
        idle = (each for each in there if not each._is_busy)
        cut = min(idle, key=lambda each: each._free_since, default=self)
        cut._lost = True  # which the transport will say in a moment: the next one who comes cuts another
        cut.transport.abort()

    def _look(self) -> None:
        if self._lost:
            return
        since = self._free_since
        if self._is_busy:
            since = self.loop.time() if self._full_since is None else self._full_since
        left = since + SILENCE_SECONDS - self.loop.time()
        if left <= 0:
            self.transport.abort()
        else:
            self.loop.call_later(left, self._look)


def most_connections() -> int:
    """Connections at once: so many that the files which are sent over them can be opened too."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, (allowed - OTHER_FILES) // 2))
