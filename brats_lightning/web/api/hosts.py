"""Which names this server answers to, and which pages may change something: against DNS rebinding and foreign pages."""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", re.IGNORECASE)
_ORIGIN = re.compile(r"(https?)://([^/\s]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Hosts:
    """Names that a request's Host header may hold.

    An address in figures is nobody's to point elsewhere: rebinding needs a name. A server for its own machine alone
    takes the addresses of that machine.

    Args:
        listens: Address or name that the server listens on.
        allowed: Names it has besides, such as that of its proxy; never a wildcard.
    """

    listens: str = "127.0.0.1"
    allowed: Sequence[str] = ()

    @property
    def is_local(self) -> bool:
        """Whether nobody from another machine comes in."""
        return is_loopback(self.listens)

    def knows(self, host: str) -> bool:
        """Whether a Host header, with or without a port, is this server's."""
        name = name_of(host)
        if name is None:
            return False
        address = _address(name)
        if address is not None:
            return address.is_loopback or not self.is_local or name in self._names()
        return name in self._names()

    def is_own(self, origin: str, *, scheme: str, host: str) -> bool:
        """Whether a page of this origin is this server's.

        Args:
            origin: As the browser says it, `https://name:port`; `null` is nobody's.
            scheme: By which the request came, http or https.
            host: Its Host header.
        """
        found = _ORIGIN.fullmatch(origin)
        if found is None:
            return False
        name = name_of(found[2])
        if (found[1].lower(), found[2].lower()) == (scheme, host.lower()):
            return True
        # A proxy may ask under another name than the browser does: then this one was allowed by hand.
        return name is not None and name in {each.lower() for each in self.allowed}

    def _names(self) -> set[str]:
        own = {"localhost", self.listens.lower().strip("[]")}
        if not self.is_local:
            own.add(socket.gethostname().lower())
        return own | {each.lower() for each in self.allowed}


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reached from its own machine alone.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "192.168.0.7")]
    [True, True, True, False, False]
    """
    address = _address(host.strip("[]"))
    return host.lower() == "localhost" if address is None else address.is_loopback


def name_of(host: str) -> str | None:
    """Name or address of a Host header without its port, None if it is none.

    >>> [name_of(host) for host in ("Localhost:8000", "[::1]:8000", "a.example.", "a b", "")]
    ['localhost', '::1', 'a.example', None, None]
    """
    found = _HOST.fullmatch(host)
    return None if found is None else found[1].lower().strip("[]").removesuffix(".") or None


def address_of(text: str) -> str | None:
    """The address without its port, which every connection has another of; None if it is none.

    >>> [address_of(text) for text in ("10.0.0.1:4711", "[2001:db8::1]:4711", "2001:db8::1", "::ffff:10.0.0.1", "me")]
    ['10.0.0.1', '2001:db8::1', '2001:db8::1', '10.0.0.1', None]
    """
    address = _address(text) or _address(name_of(text) or "")
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # or else all of IPv4 would be one subscriber of IPv6
    return None if address is None else str(address)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
