"""`brats sync`: send what was logged to W&B offline, each run as one history, however often it was restarted."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from brats_lightning.errors import BratsError, ConfigError
from brats_lightning.loggers.wandb_segments import is_unsent, run_of, started
from brats_lightning.loggers.wandb_sending import Outcome, send
from brats_lightning.loggers.wandb_server import obstacle
from brats_lightning.runs import RUNS

SENDING_MINUTES = 10.0


def unsent(folder: Path) -> dict[str, list[Path]]:
    """Offline files below a folder by the id of their W&B run, each run's oldest first.

    Of a run folder and its copies each file counts once, and not at all where one of them was sent.

    Args:
        folder: Of one run or of many.
    """
    copies: dict[str, list[Path]] = {}
    for segment in sorted(folder.rglob("wandb/offline-run-*/run-*.wandb")):
        copies.setdefault(segment.parent.name, []).append(segment)
    runs: dict[str, list[Path]] = {}
    for same in sorted(copies.values(), key=lambda same: started(same[0])):
        if all(map(is_unsent, same)):
            runs.setdefault(run_of(same[0]), []).append(same[0])
    return runs


@dataclass
class _Sender:
    """Sends runs as long as the server answers: of many runs, each would wait for its own time to be over.

    Args:
        minutes: For each run.
        answered: Whether it has taken a run.
        silent: Whether a run was given up for its time.
    """

    minutes: float
    answered: bool = False
    silent: bool = False

    def send(self, segments: Sequence[Path]) -> Outcome:
        """Send one run, unless that is in vain."""
        if self.silent and not self.answered:
            return Outcome(run_of(segments[0]), 0, 0, "not tried, as the server had not answered for others")
        if what_is_missing := obstacle():
            return Outcome(run_of(segments[0]), 0, 0, what_is_missing)
        outcome = send(segments, minutes=self.minutes)
        self.answered |= outcome.sent > 0
        self.silent |= outcome.late
        return outcome


def sync(folder: Path = RUNS, *, minutes: float = SENDING_MINUTES, workers: int = 4) -> None:
    """Send what was logged to W&B offline; exit code 1 where something could not be sent.

    Each run arrives as one history, however often it was restarted. The same command may be given again at any time,
    and twice at once: what was sent is marked, what is still being written is left for the next time. Without a key or
    a route to the server it gives up within seconds; of a server that takes connections and does not answer, when the
    minutes of the first runs are over.

    Args:
        folder: Of one run or of many.
        minutes: For each run, after which it is given up.
        workers: Runs that are sent at once.

    Raises:
        BratsError: No such folder, no key, no route, or runs that could not be sent, or not as a whole.
    """
    if minutes <= 0 or workers < 1:
        raise ConfigError(f"expected --minutes above 0 and --workers from 1 on, found {minutes:g} and {workers}")
    if not folder.is_dir():
        raise BratsError(f"no folder {folder}: expected that of a run, or of many")
    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    runs = unsent(folder)
    if not runs:
        console.print(f"nothing below {folder} waits to be sent to W&B")
        return
    if what_is_missing := obstacle():
        raise BratsError(f"W&B: {what_is_missing}: {len(runs)} runs below {folder} are not sent")
    failures = without_files = 0
    with ThreadPoolExecutor(workers) as pool:
        for outcome in pool.map(_Sender(minutes).send, runs.values()):
            console.print(str(outcome))
            failures += bool(outcome.failure)
            without_files += bool(outcome.refused)
    if failures:
        raise BratsError(f"{failures} of {len(runs)} runs could not be sent: give the same command again")
    if without_files:
        raise BratsError(
            f"{without_files} of {len(runs)} runs arrived without some of their files: where nothing on the way to "
            "the server refuses them any more, `wandb sync --include-synced` sends a run's wandb/offline-run-… again"
        )
