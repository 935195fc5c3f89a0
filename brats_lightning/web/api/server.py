"""The server under the application: one that ends in seconds when it is asked to, and waits for nobody for long."""

import asyncio
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from brats_lightning.web.api.events import Streams

SILENCE_SECONDS = 30.0
"""Without a whole request: then a connection is cut."""
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
                timeout_graceful_shutdown=LAST_SECONDS,
                ssl_certfile=certificate,
                ssl_keyfile=key,
            )
        )

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


class Connection(H11Protocol):
    """A connection that is cut where it sends no whole request, or goes on sending what was refused."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Look now and then whether there is a request."""
        super().connection_made(transport)
        # asyncio does so for sockets alone that say they are TCP. Otherwise a body waits 40 ms for the head's receipt.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.access_log = False  # whoever configures logging: paths hold ids, and names of files
        self._free_since = self.loop.time()
        self._look()

    def on_response_complete(self) -> None:
        """The next request's time begins."""
        super().on_response_complete()
        self._free_since = self.loop.time()

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        busy = self.cycle is not None and not self.cycle.response_complete
        left = SILENCE_SECONDS if busy else self._free_since + SILENCE_SECONDS - self.loop.time()
        if left <= 0:
            self.transport.abort()
        else:
            self.loop.call_later(left, self._look)
