"""Weights & Biases, decided in seconds between online and offline, and never hanging."""

import logging
import netrc
import os
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import WandbLogger

from brats_lightning.errors import ConfigError

PROBE_SECONDS = 2.0
INIT_SECONDS = 15
FINISH_SECONDS = 60
WANDB_SERVERS = ("https://api.wandb.ai", "https://api.forge.coreweave.com")
"""W&B's own: a key for one serves both."""
log = logging.getLogger(__name__)


class WandbRun(WandbLogger):
    """Weights & Biases, online where it can be reached and offline everywhere else.

    Which of the two is decided within three seconds: offline without a key or without a route to the server. The
    variable `WANDB_MODE` and the argument `offline` overrule. Offline runs lie in the run's folder under `wandb` and
    are sent later with `wandb sync`. At the end of a run whose server was lost, it waits a minute at most.

    Args:
        project: Name of the project.
        entity: Team or user; null takes the key's default.
        name: Of the run; null takes the name of the run's folder.
        group: Runs to compare with each other.
        tags: To find it again.
        notes: Free text.
        offline: Never ask for the server.
        save_dir: Folder of the run; `brats` sets it.
    """

    def __init__(
        self,
        *,
        project: str = "brats",
        entity: str | None = None,
        name: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        notes: str | None = None,
        offline: bool = False,
        save_dir: Path | None = None,
    ) -> None:
        folder = Path(save_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        # W&B's telemetry about itself asks for the server even offline, and without a route holds up the exit.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        offline = offline or must_be_offline()
        super().__init__(
            project=project,
            name=name or (folder.resolve().name if save_dir else None),
            save_dir=str(folder.resolve()),
            # Not its `offline=True`: that sets a variable that wandb has already read.
            mode="offline" if offline else None,
            log_model=False,
            entity=entity,
            group=group,
            tags=tags,
            notes=notes,
        )
        self._wandb_init.pop("anonymous", None)  # Lightning hands over what W&B warns about

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, made when first used; goes offline when the server answers the probe and nothing more."""
        import wandb  # noqa: PLC0415 - half a second that offline ranks do not need

        settings = wandb.Settings(init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS, silent=True)
        self._wandb_init.setdefault("settings", settings)
        if self._experiment is None and self._wandb_init["mode"] is None:
            try:
                return super().experiment
            except (wandb.errors.CommError, wandb.errors.UsageError) as error:
                log.warning("W&B: %s: this run is logged offline", _first_line(error))
                self._wandb_init["mode"] = "offline"
        return super().experiment

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the W&B run with the training run: the next one of this process is another."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)


@rank_zero_only
def _say(reason: str) -> None:
    log.info("W&B: %s: this run is logged offline", reason)


def must_be_offline() -> bool:
    """Whether there is no key or no route; where `WANDB_MODE` is set, the user has said what is wanted."""
    if mode := os.environ.get("WANDB_MODE"):
        return mode in {"offline", "dryrun"}
    if getattr(rank_zero_only, "rank", 0) != 0:
        return True  # only rank 0 logs
    server = _server()
    if not _has_key(server):
        _say("no API key")
        return True
    if not reachable(_proxy_of(server) or server):
        _say(f"no route to {server}")
        return True
    return False


def _server() -> str:
    """As W&B finds it: its default has changed between releases, and a variable or a file of settings overrules."""
    import wandb  # noqa: PLC0415 - half a second that other ranks do not need

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


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
