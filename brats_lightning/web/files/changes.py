"""Waiting in an event loop for what other threads change."""

import asyncio
import threading
from collections import defaultdict
from contextlib import suppress

_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Changes:
    """Counts changes of things by name, and wakes those who wait for the next one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, int] = {}
        self._waiters: defaultdict[str, set[_Waiter]] = defaultdict(set)

    def version(self, name: str) -> int:
        """How often it has changed."""
        return self._versions.get(name, 0)

    def tell(self, name: str, *, gone: bool = False) -> None:
        """It has changed, or is no more.

        Args:
            name: Of the thing.
            gone: Forget that it was.
        """
        with self._lock:
            if gone:
                self._versions.pop(name, None)
            else:
                self._versions[name] = self.version(name) + 1
            waiters = self._waiters.pop(name, set())
        for loop, future in waiters:
            with suppress(RuntimeError):  # a loop that was closed waits no more
                loop.call_soon_threadsafe(_wake, future)

    async def after(self, name: str, since: int) -> None:
        """Return once its version is another than the one that is known, which it may be already."""
        loop = asyncio.get_running_loop()
        waiter: _Waiter = loop, loop.create_future()
        with self._lock:
            if self.version(name) != since:
                return
            self._waiters[name].add(waiter)
        try:
            await waiter[1]
        finally:
            with self._lock:
                if waiters := self._waiters.get(name):
                    waiters.discard(waiter)
                    if not waiters:
                        del self._waiters[name]


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
