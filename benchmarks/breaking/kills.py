"""`kill -9` at random moments, and the next call."""

import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.breaking.forked import Ended, Moment, start
from benchmarks.breaking.workloads import Workload, bytes_lost, left_behind

TRIES = 20
"""Moments that may turn out to be after a command's end, for each that is not."""


@dataclass
class Campaign:
    """What came of killing a command.

    Args:
        name: Of the command.
        moments: At which it was killed.
        equal: How often the next call ended with the results of an undisturbed one.
        lost: Bytes of results that were missing or others.
        kept: Finished files that were there at the kills.
        again: Of them, those that were written again.
        left: Half-written files that lay there after the next call.
        seconds: Of the undisturbed command.
        notes: What lies there still, in words.
        findings: What went wrong, in words.
    """

    name: str
    moments: list[Moment] = field(default_factory=list)
    equal: int = 0
    lost: int = 0
    kept: int = 0
    again: int = 0
    left: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def row(self) -> str:
        """Of the table."""
        changes = sum(moment.change is not None for moment in self.moments)
        return (
            f"| {self.name} | {len(self.moments)} | {changes} | {self.equal} | {self.lost} | {self.kept} | "
            f"{self.again} | {self.left} | {self.seconds:.1f} |"
        )


HEADER = (
    "| command | kills | of them before a change of its folder | results equal | bytes lost | finished files at the "
    "kills | done again | half files left | seconds undisturbed |\n|---|---|---|---|---|---|---|---|---|"
)


def kill_at_random(work: Workload, home: Path, *, times: int, rng: random.Random) -> Campaign:
    """Kill a command at random moments, call it again each time, and compare.

    Half of the moments are drawn from the time it takes, half from the changes it makes to its folder: most of the
    time nothing is being written.

    Args:
        work: The command.
        home: Folder for the folders it works in.
        times: Kills.
        rng: Of the moments.

    Raises:
        RuntimeError: Undisturbed it fails, or gives other results the second time.
    """
    campaign = Campaign(work.name)
    folders = [work.folder(home / f"{work.name}-undisturbed-{number}") for number in range(2)]
    undisturbed = [_run(work, folder) for folder in folders]
    if any(ended.code for ended in undisturbed):
        raise RuntimeError(f"brats {work.name} fails undisturbed: {undisturbed[0].said}")
    expected, again = (work.results(folder) for folder in folders)
    if bytes_lost(expected, again):
        other = sorted(name for name in expected | again if expected.get(name) != again.get(name))
        raise RuntimeError(f"brats {work.name} gives other results at a second call undisturbed: {other}")
    campaign.seconds = min(ended.seconds for ended in undisturbed)
    changes = min(ended.changes for ended in undisturbed)
    for _ in range(TRIES * times):
        if len(campaign.moments) == times:
            break
        number = len(campaign.moments)
        by_change = number % 2 == 1 and changes > 0
        moment = Moment(
            seconds=None if by_change else rng.uniform(0, campaign.seconds),
            change=rng.randint(1, changes) if by_change else None,
            with_children=rng.random() < 0.5,
        )
        folder = work.folder(home / f"{work.name}-killed")
        if _killed(work, folder, moment, campaign, expected):
            campaign.moments.append(moment)
        shutil.rmtree(folder)
    return campaign


def _killed(work: Workload, folder: Path, moment: Moment, campaign: Campaign, expected: dict[str, bytes]) -> bool:
    """Kill once and go on; whether it was killed before its end."""
    child = start(work.arguments, folder, moment=moment)
    killed = child.wait() if moment.seconds is None else child.wait(moment.seconds)
    if killed.code != -9:
        child.bury()
        if killed.code:
            campaign.findings.append(f"{work.name} at {moment}: ended with {killed.code}: {killed.said[-600:]}")
        return False
    finished = work.finished_files(folder)
    ended = _run(work, folder)
    child.bury()
    if ended.code:
        campaign.findings.append(f"{work.name} at {moment}: the next call ended with {ended.code}: {ended.said[-600:]}")
        campaign.lost += sum(map(len, expected.values()))
        return True
    found = work.results(folder)
    lost = bytes_lost(expected, found)
    campaign.lost += lost
    campaign.equal += not lost
    now = work.finished_files(folder)
    again = [path for path, state in finished.items() if now.get(path) != state]
    campaign.kept += len(finished)
    campaign.again += len(again)
    left = left_behind(folder)
    campaign.left += len(left)
    if left:
        campaign.notes.append(f"{work.name} at {moment}: left {', '.join(left)}")
    if lost:
        other = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        campaign.findings.append(f"{work.name} at {moment}: other results: {', '.join(other)}")
    return True


def _run(work: Workload, folder: Path) -> Ended:
    child = start(work.arguments, folder)
    ended = child.wait()
    child.bury()
    return ended
