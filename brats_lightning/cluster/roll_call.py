"""Processes of a job meet once before they work together, so that either all start or all leave, and one says why."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping

from brats_lightning.cluster.allocation import Task
from brats_lightning.cluster.facts import Facts, from_json, objection, remark
from brats_lightning.cluster.rendezvous import POLL_SECONDS, MeetingPlace, Store, within
from brats_lightning.errors import ConfigError

PATIENCE_SECONDS = 300.0
PATIENCE = "BRATS_ROLL_CALL_SECONDS"
"""An environment variable for sites whose machines take longer to start."""
PREPARATION_SECONDS = 120.0
"""So much longer than rank 0 waits for the others, they wait for it."""
FAREWELL_SECONDS = 10.0
_VERDICT = "verdict"
log = logging.getLogger("brats_lightning")


class Dismissed(Exception):  # noqa: N818 - no error of this process
    """Another process has said why all of them leave: this one leaves with exit code 1, and without words."""


def roll_call(
    task: Task,
    facts: Facts,
    *,
    prepare: Callable[[], dict[str, str]] = dict,
    patience_seconds: float | None = None,
    variables: Mapping[str, str] = os.environ,
) -> dict[str, str]:
    """Find out together whether to start; a process that nobody else was started with only prepares.

    Args:
        task: This process.
        facts: What it knows.
        prepare: Done by rank 0 alone, once all have come and nothing speaks against starting; what it gives, all get.
        patience_seconds: That rank 0 waits for the others, and they for it; from the environment where it is None.
        variables: The environment.

    Returns:
        What `prepare` gave on rank 0; nothing on copies that Lightning started, which come later.

    Raises:
        ConfigError: They cannot start; raised by rank 0, and by some of the others where it never came.
        Dismissed: They cannot start, and it is said elsewhere.
    """
    if task.ranks == 1 or task.launcher not in {"srun", "torchrun"}:
        return prepare() if task.rank == 0 else {}
    patience_seconds = _patience(variables) if patience_seconds is None else patience_seconds
    place = MeetingPlace(variables)
    if task.rank == 0:
        return _lead(task, facts, prepare, place, patience_seconds)
    return _follow(task, facts, place, patience_seconds)


def _lead(
    task: Task, facts: Facts, prepare: Callable[[], dict[str, str]], place: MeetingPlace, patience_seconds: float
) -> dict[str, str]:
    store = place.open(patience_seconds)
    came = {0: facts}
    try:
        _gather(came, store, task, patience_seconds)
        told = [came[rank] for rank in sorted(came)]
        _refuse(objection(told) or _absence(task, came, place, patience_seconds))
        if sentence := remark(told):
            log.warning(sentence)
        values = prepare()
    except BaseException:  # whatever it is, the others must not wait
        with contextlib.suppress(RuntimeError):
            _announce(store, None, came)
        raise
    _announce(store, values, came)
    return values


def _gather(came: dict[int, Facts], store: Store, task: Task, patience_seconds: float) -> None:
    until = time.monotonic() + patience_seconds
    while len(came) < task.ranks and time.monotonic() < until:
        for rank in set(range(task.ranks)) - set(came):
            if store.check([_facts_of(rank)]):
                came[rank] = from_json(store.get(_facts_of(rank)).decode())
        time.sleep(POLL_SECONDS)


def _refuse(sentence: str) -> None:
    if sentence:
        raise ConfigError(sentence)


def _announce(store: Store, values: dict[str, str] | None, came: Mapping[int, Facts]) -> None:
    """Tell the others, and stay until they have heard, as the store goes with rank 0."""
    store.set(_VERDICT, json.dumps(values))
    leaving = [_left_by(rank) for rank in came if rank]
    until = time.monotonic() + FAREWELL_SECONDS
    while leaving and time.monotonic() < until and not store.check(leaving):
        time.sleep(POLL_SECONDS)


def _follow(task: Task, facts: Facts, place: MeetingPlace, patience_seconds: float) -> dict[str, str]:
    try:
        values = within(
            2 * patience_seconds + PREPARATION_SECONDS, lambda: _answer(task, facts, place, patience_seconds)
        )
    except (OSError, RuntimeError) as error:  # RuntimeError: the connection broke
        what = str(error) if isinstance(error, OSError) else "went away"
        sentence = (
            f"process {task.rank} on {facts.machine} waited for process 0 at {place}, which {what}: "
            "see what that one wrote, and whether this machine reaches it"
        )
        if task.rank == 1 or task.local_rank == 0:  # one voice a machine is enough
            raise ConfigError(sentence) from error
        raise Dismissed(sentence) from error
    if values is None:
        raise Dismissed
    return values


def _answer(task: Task, facts: Facts, place: MeetingPlace, patience_seconds: float) -> dict[str, str] | None:
    store = place.enter(patience_seconds)
    store.set(_facts_of(task.rank), facts.json)
    _await(store, _VERDICT, patience_seconds + PREPARATION_SECONDS)
    values: dict[str, str] | None = json.loads(store.get(_VERDICT))
    store.set(_left_by(task.rank), "")
    return values


def _await(store: Store, key: str, patience_seconds: float) -> None:
    until = time.monotonic() + patience_seconds
    while not store.check([key]):
        if time.monotonic() > until:
            raise TimeoutError(f"did not answer within {patience_seconds:.0f} s")
        time.sleep(POLL_SECONDS)


def _absence(task: Task, came: Mapping[int, Facts], place: MeetingPlace, patience_seconds: float) -> str:
    missing = [rank for rank in range(task.ranks) if rank not in came]
    if not missing:
        return ""
    named = ", ".join(str(rank) for rank in missing[:8]) + (" …" if len(missing) > 8 else "")
    return (
        f"{len(missing)} of {task.ranks} processes did not come within {patience_seconds:.0f} s "
        f"(rank{'s' if len(missing) > 1 else ''} {named}): see what they wrote, and whether their machines reach "
        f"{place}; {PATIENCE} gives them more time"
    )


def _patience(variables: Mapping[str, str]) -> float:
    text = variables.get(PATIENCE, "")
    try:
        return float(text) if text else PATIENCE_SECONDS
    except ValueError as error:
        raise ConfigError(f"{PATIENCE} is {text!r}: expected a number of seconds") from error


def _facts_of(rank: int) -> str:
    return f"facts/{rank}"


def _left_by(rank: int) -> str:
    return f"left/{rank}"
