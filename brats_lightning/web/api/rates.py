"""How often a client may ask: a bucket each, which fills again by the second."""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_CLIENTS = 10_000
"""Buckets that are kept; those of clients that were longest silent go first."""


class Rate:
    """So many requests a minute, and as many at once after a silence.

    Args:
        per_minute: Requests of one client.
        clock: Seconds.
    """

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, *, cost: int = 1) -> int:
        """Take a request out of a client's bucket.

        Args:
            client: Its address.
            cost: Requests that this one counts for; 0 only asks.

        Returns:
            0 if it may come in, else the seconds after which it may.
        """
        key = _network(client)
        now = self._clock()
        left, since = self._buckets.pop(key, (float(self.per_minute), now))
        left = min(left + (now - since) * self.per_minute / 60, self.per_minute)
        refused = left < 1
        if not refused:
            left -= cost
        self._buckets[key] = left, now
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return math.ceil((1 - left) * 60 / self.per_minute) if refused else 0


def _network(client: str) -> str:
    """A subscriber of IPv6 has 2^64 addresses: they count as one."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False))
