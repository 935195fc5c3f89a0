"""`brats serve`, killed at random moments while it works off a queue, and started again."""

import contextlib
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.breaking.forked import Child, Moment, start
from benchmarks.breaking.kills import Campaign
from benchmarks.breaking.workloads import left_behind
from brats_lightning.labels import MODALITIES

NAMES = dict(zip(("t1n", "t1c", "t2w", "t2f"), ("_t1", "_t1ce", "_t2", "_flair"), strict=True))
PATIENCE = 120.0
ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class _Server:
    """What a server is started with, again and again."""

    checkpoint: Path
    folder: Path

    def start(self) -> tuple[Child, httpx.Client]:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = ("--port", "0", "--device", "cpu", "--folder", str(self.folder / "cases"))
        server = start(("serve", "--checkpoint", str(self.checkpoint), *options), self.folder)
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(r"^Open (\S+)$", server.said, re.MULTILINE)) is None:
            if server.code is not None or time.monotonic() > deadline:
                raise RuntimeError(f"brats serve did not start: {server.said}")
            time.sleep(0.02)
        return server, httpx.Client(base_url=found[1], timeout=30, trust_env=False)


def kill_server(checkpoint: Path, cases: Sequence[Path], home: Path, *, times: int, rng: random.Random) -> Campaign:
    """Kill a server while cases wait, run and are done; a new one must have every one of them, and go on.

    Args:
        checkpoint: Of the network.
        cases: Folders of BraTS 2021.
        home: Folder for the folders of servers.
        times: Kills.
        rng: Of the moments.
    """
    campaign = Campaign("serve")
    serving = _Server(checkpoint, home / "serve")
    expected, campaign.seconds = _undisturbed(serving, cases)
    for number in range(times):
        moment = Moment(seconds=rng.uniform(0, campaign.seconds), with_children=number % 2 == 1)
        shutil.rmtree(serving.folder, ignore_errors=True)
        server, client = serving.start()
        with client:
            made = [_put(client, case) for case in cases]
            time.sleep(moment.seconds or 0)
            done = _masks_of_finished(client, made)
        server.kill(with_children=moment.with_children)
        server.wait()
        campaign.moments.append(moment)
        states, masks, kept = _go_on(serving, made, done)
        server.bury()
        different = [number for number, mask in enumerate(masks) if mask != expected[number]]
        campaign.kept += len(done)
        campaign.again += len(done) - kept
        campaign.lost += sum(len(expected[number]) for number in different)
        campaign.equal += not different
        campaign.left += sum(name.rpartition(".")[2].isdecimal() for name in left_behind(serving.folder))
        if different or kept < len(done):
            campaign.findings.append(f"serve at {moment}: cases ended {states}, kept {kept} of {len(done)} finished")
    return campaign


def _go_on(serving: _Server, made: Sequence[str], done: Mapping[str, bytes]) -> tuple[list[str], list[bytes], int]:
    """States and masks of all cases in the end, and how many of the finished ones were there at once."""
    server, client = serving.start()
    with client:
        there = _masks_of_finished(client, list(done))
        kept = sum(there.get(case) == mask for case, mask in done.items())
        states = [_wait(client, case) for case in made]
        masks = [client.get(f"/api/cases/{case}/results/mask.nii.gz").content for case in made]
    _end(server)
    return states, masks, kept


def _undisturbed(serving: _Server, cases: Sequence[Path]) -> tuple[list[bytes], float]:
    server, client = serving.start()
    with client:
        made = [_put(client, case) for case in cases]
        since = time.monotonic()
        states = [_wait(client, case) for case in made]
        seconds = time.monotonic() - since
        if set(states) != {"done"}:
            raise RuntimeError(f"brats serve fails undisturbed: {states} {server.said}")
        masks = [client.get(f"/api/cases/{case}/results/mask.nii.gz").content for case in made]
    _end(server)
    return masks, seconds


def _end(server: Child) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(server.process, signal.SIGTERM)
    server.wait()
    server.bury()


def _put(client: httpx.Client, case: Path) -> str:
    made = str(client.post("/api/cases").raise_for_status().json()["id"])
    for kind in MODALITIES:
        name = f"{case.name}{NAMES[kind]}.nii.gz"
        content = (case / name).read_bytes()
        client.put(f"/api/cases/{made}/images/{kind}", params={"name": name}, content=content).raise_for_status()
    client.post(f"/api/cases/{made}/start").raise_for_status()
    return made


def _masks_of_finished(client: httpx.Client, cases: Sequence[str]) -> dict[str, bytes]:
    found = {}
    for case in cases:
        if client.get(f"/api/cases/{case}").json().get("state") == "done":
            found[case] = client.get(f"/api/cases/{case}/results/mask.nii.gz").content
    return found


def _wait(client: httpx.Client, case: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while (state := str(client.get(f"/api/cases/{case}").json().get("state"))) not in ENDED:
        if time.monotonic() > deadline:
            return f"still {state}"
        time.sleep(0.05)
    return state
