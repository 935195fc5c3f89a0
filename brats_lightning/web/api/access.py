"""From where the server is reached: nothing beyond its machine without a token and HTTPS."""

import secrets
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.web.api.guards import Guards
from brats_lightning.web.api.hosts import Hosts, is_loopback, name_of
from brats_lightning.web.api.rates import Rate
from brats_lightning.web.api.tokens import Tokens
from brats_lightning.web.limits import Limits


@dataclass(frozen=True)
class Access:
    """Address and protection of a server.

    Args:
        host: Address to listen on.
        port: Of the address; 0 takes a free one.
        token: Secret that lets people in; None: none on this machine alone, one of its own making otherwise.
        certificate: File with the certificates for HTTPS.
        key: File with their key.
        behind_proxy: A proxy that speaks HTTPS stands before it.
        allowed_hosts: Names of the server besides its address.

    Raises:
        ConfigError: Others could reach it without HTTPS, or an option makes no sense.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    behind_proxy: bool = False
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port is {self.port}: give one from 1 to 65535, or 0 for any that is free")
        strange = [name for name in self.allowed_hosts if name_of(name) != name.lower()]
        if strange:
            raise ConfigError(f"--allowed_hosts: expected names such as brats.example.org, found {strange[0]!r}")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--certificate and --key belong together: give both, or neither")
        if self.certificate and self.key:
            _require_pair(self.certificate, self.key)
        if not is_loopback(self.host) and not self.secure:
            raise ConfigError(
                f"--host {self.host} is reached from other machines, and patients' images would go there unencrypted: "
                "give --certificate and --key for HTTPS, or --behind_proxy if a proxy before it speaks HTTPS; from "
                "outside, ssh -L 8000:localhost:8000 THIS_MACHINE reaches a server that listens on 127.0.0.1"
            )
        if self.token is None and (self.behind_proxy or not is_loopback(self.host)):
            object.__setattr__(self, "token", secrets.token_urlsafe(24))
        Tokens(self.token)

    @property
    def secure(self) -> bool:
        """Whether browsers speak HTTPS with it."""
        return self.certificate is not None or self.behind_proxy

    def guards(self, limits: Limits) -> Guards:
        """What stands before its requests."""
        return Guards(
            hosts=Hosts(self.host, self.allowed_hosts),
            tokens=Tokens(self.token),
            secure=self.secure,
            behind_proxy=self.behind_proxy,
            requests=Rate(limits.requests_per_minute),
        )

    def bound(self) -> socket.socket:
        """A socket at the address.

        Raises:
            BratsError: The port is taken or not allowed, or the address is not this machine's.
        """
        try:
            family = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
            return socket.create_server((self.host, self.port), family=family)
        except OSError as error:
            raise BratsError(
                f"cannot listen on {self.host}, port {self.port} ({error.strerror}): give another --port or --host"
            ) from error

    def address(self, port: int) -> str:
        """What to open in a browser; the token stands behind a #, which browsers keep to themselves.

        Args:
            port: That it listens on.
        """
        name = self.allowed_hosts[0] if self.allowed_hosts else self.host
        if self.behind_proxy and self.allowed_hosts:
            base = f"https://{name}/"
        else:
            name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(name, name)  # noqa: S104
            name = f"[{name}]" if ":" in name else name
            base = f"http{'s' if self.certificate else ''}://{name}:{port}/"
        return f"{base}#token={self.token}" if self.token else base


def _require_pair(certificate: Path, key: Path) -> None:
    """Refuse files that HTTPS cannot be spoken with, before anything else is begun."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for option, path in (("--certificate", certificate), ("--key", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise ConfigError(f"{option} {path} cannot be read ({error.strerror}): give a PEM file") from error
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(
            f"--certificate {certificate} and --key {key} are no pair for HTTPS: expected PEM files that belong "
            "together, the key without a passphrase"
        ) from error
