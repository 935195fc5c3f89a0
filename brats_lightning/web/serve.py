"""`brats serve`: the web application as a command."""

import os
from pathlib import Path
from typing import Literal

from brats_lightning.errors import BratsError
from brats_lightning.web.limits import Limits

LIMITS = Limits()


def serve(
    *,
    checkpoint: tuple[Path, ...],
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    behind_proxy: bool = False,
    allowed_hosts: tuple[str, ...] = (),
    folder: Path | None = None,
    device: tuple[str, ...] = ("auto",),
    flips: tuple[Literal["x", "y", "z"], ...] = (),
    precision: Literal["auto", "32", "bf16", "16"] = "auto",
    align: Literal["header"] | None = None,
    labels: str | None = None,
    uncertainty: bool = True,
    limits: Limits = LIMITS,
    trust: tuple[str, ...] = (),
) -> None:
    """Open the web application: drop a patient's images into a browser, see the segmentation, take it away.

    Research software, not a medical device. Only this machine reaches it, each of its users; who comes from elsewhere
    needs a token, and HTTPS. Ctrl-C ends it; cases wait in its folder for the next start, until their time is over.

    Args:
        checkpoint: Checkpoint, run folder or exported network; of several, people choose one or an ensemble.
        host: Address to listen on; one that other machines reach, such as 0.0.0.0, needs --certificate and --key, or
            --behind_proxy.
        port: Of the address; 0 takes a free one.
        token: Secret that lets people in, 16 letters or more; null takes $BRATS_TOKEN, which no list of processes
            shows, or makes one where other machines reach the server, and prints it.
        certificate: File with the certificates for HTTPS, in PEM form.
        key: File with their key, without a passphrase.
        behind_proxy: A proxy that speaks HTTPS with browsers stands before this server, and tells it of clients by
            X-Forwarded-For.
        allowed_hosts: Names by which browsers may ask for this server, besides its address: that of the proxy, say.
        folder: Where cases are kept; null takes brats/serve below $XDG_STATE_HOME or ~/.local/state.
        device: auto, cpu, cuda, cuda:1; a worker process for each of them.
        flips: Axes to flip as test-time augmentation, x (left–right), y, z: every combination of them.
        precision: Of the network: auto is bf16 on a GPU and 32 bits on a CPU.
        align: `header` resamples modalities that lie on different grids by their headers.
        labels: Edition whose label values are written (2021, 2023, 2024-GLI …), or internal; null: the case's own.
        uncertainty: Make a map of the entropy too.
        limits: What is taken at most, as in --limits.file_mb 512.
        trust: Packages, besides this one, MONAI and PyTorch, whose networks may be imported.

    Raises:
        BratsError: It is not safe as asked for, the port or the folder is taken, or a checkpoint cannot be opened.
    """
    try:
        import fastapi  # noqa: F401, PLC0415 - an optional extra
        import uvicorn  # noqa: F401, PLC0415
    except ImportError as error:
        raise BratsError(
            "brats serve needs FastAPI and uvicorn, which are not installed: pip install -c constraints.txt -e '.[web]'"
        ) from error
    from brats_lightning.web.api.access import Access  # noqa: PLC0415
    from brats_lightning.web.running import Settings, run  # noqa: PLC0415
    from brats_lightning.web.work.messages import WorkOptions  # noqa: PLC0415

    kept = os.environ.pop("BRATS_TOKEN", None)  # or else every process that reads strangers' files would have it
    access = Access(
        host=host, port=port, token=token or kept or None, certificate=certificate, key=key,
        behind_proxy=behind_proxy, allowed_hosts=allowed_hosts,
    )  # fmt: skip
    options = WorkOptions(flips=flips, precision=precision, align=align, labels=labels, uncertainty=uncertainty)
    run(Settings(checkpoint, folder or default_folder(), device, limits, trust, options), access=access)


def default_folder() -> Path:
    """Where cases are kept unless a folder is given."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state") / "brats" / "serve"
