"""Whether the W&B server can be asked for: known in seconds, where W&B itself would hang for minutes."""

import logging
import netrc
import os
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from brats_lightning.errors import ConfigError

PROBE_SECONDS = 2.0
WANDB_SERVERS = ("https://api.wandb.ai", "https://api.forge.coreweave.com")
"""W&B's own: a key for one serves both."""
log = logging.getLogger(__name__)


def must_be_offline() -> bool:
    """Whether there is no key or no route; where `WANDB_MODE` is set, the user has said what is wanted."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode in {"offline", "dryrun"}
    if what_is_missing := obstacle():
        log.info("W&B: %s: this run is logged offline", what_is_missing)
    return bool(what_is_missing)


def obstacle() -> str:
    """What keeps this machine from the server, empty where nothing does."""
    server = _server()
    if not _has_key(server):
        return "no API key"
    if not reachable(_proxy_of(server) or server):
        return f"no route to {server}"
    return ""


def _server() -> str:
    """As W&B finds it: its default has changed between releases, and a variable or a file of settings overrules."""
    import wandb  # noqa: PLC0415 - half a second that not every process needs

    try:
        return str(wandb.setup().settings.base_url)
    except ValueError as error:
        found = os.environ.get("WANDB_BASE_URL")
        raise ConfigError(f"WANDB_BASE_URL: expected https://HOST, found {found!r}") from error


def _has_key(server: str) -> bool:
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    hosts = {urlsplit(server).netloc}
    if server in WANDB_SERVERS:
        hosts |= {urlsplit(url).netloc for url in WANDB_SERVERS}
    file = Path(os.environ.get("NETRC", "~/.netrc")).expanduser()
    try:
        entries = netrc.netrc(file)
    except (OSError, netrc.NetrcParseError):
        return False
    return any(entries.authenticators(host) for host in hosts)


def _proxy_of(url: str) -> str | None:
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def reachable(url: str, *, seconds: float = PROBE_SECONDS) -> bool:
    """Whether a TCP connection to a URL's host opens in time; name look-up counts, it can block for minutes."""
    parts = urlsplit(url if "//" in url else f"//{url}")  # a proxy may come without its scheme
    port = parts.port or (80 if parts.scheme == "http" else 443)
    opened = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname or "", port), timeout=seconds).close()
        except (OSError, UnicodeError):  # the second is a name that cannot be one
            return
        opened.set()

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)
    return opened.is_set()
