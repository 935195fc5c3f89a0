"""The files in which W&B keeps a run on disk: one for each time it was started or gone on with.

Such a file is a log in LevelDB's format: a header of 7 bytes, then frames of 32 KiB, which hold records of
`wandb_internal.Record`, whole or in parts. W&B writes it out frame by frame, and every 15 seconds: of a process that
was killed it holds all but the last seconds, and ends in the midst of a record.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADER, FRAME, PART = 7, 32768, 7
"""Bytes of the file's header, of a frame, and of a part's header: checksum, length, kind."""
_WHOLE, _FIRST, _MIDDLE, _LAST = range(1, 5)
WINDOW = 8 * FRAME


@dataclass(frozen=True)
class Tail:
    """How a run's history ends.

    Args:
        step: Of its last row, -1 where there is none.
        names: What that row holds.
    """

    step: int = -1
    names: frozenset[str] = frozenset()


def segments(folder: Path, run_id: str) -> list[Path]:
    """The files of a W&B run below `folder/wandb`, oldest first, online and offline.

    Args:
        folder: Of the run.
        run_id: Its W&B id.
    """
    found = (folder / "wandb").glob(f"*run-*-{run_id}/run-{run_id}.wandb")
    return sorted(found, key=started)


def started(segment: Path) -> str:
    """When it was begun, in a form that sorts."""
    return segment.parent.name.removeprefix("offline-")


def run_of(segment: Path) -> str:
    """The W&B id of its run."""
    return segment.stem.removeprefix("run-")


def is_unsent(segment: Path) -> bool:
    """Whether it was logged offline and `wandb sync` has not sent it."""
    return segment.parent.name.startswith("offline-") and not _mark_of_sent(segment).exists()


def mark_as_sent(segment: Path) -> None:
    """Say, as W&B does it, that there is nothing to send."""
    _mark_of_sent(segment).touch()


def is_finished(segment: Path) -> bool:
    """Whether the process that wrote it ended it, rather than being killed or being still at work."""
    size = segment.stat().st_size
    return any(record.HasField("exit") for _, record in records(segment, start=_window(size, WINDOW)))


def tail_of(run: list[Path]) -> Tail:
    """How the history in some files of one run ends."""
    return max((_tail(file) for file in run), key=lambda tail: tail.step, default=Tail())


def mend(segment: Path) -> bool:
    """Cut off what was written of a record when the process was killed; whether anything remains.

    `wandb sync` of 0.31 sends such a file but takes it for unsent, sends it again the next time, and never sends what
    comes after it; on a file without a record it gives up on all others too.
    """
    size = segment.stat().st_size
    ends = [end for end, _ in records(segment, start=_window(size, WINDOW))]
    if not ends:
        ends = [end for end, _ in records(segment)]
    if not ends:
        return False
    if ends[-1] < size:
        with segment.open("r+b") as file:
            file.truncate(ends[-1])
    return True


def _mark_of_sent(segment: Path) -> Path:
    return segment.with_suffix(".wandb.synced")


def _tail(segment: Path) -> Tail:
    """Read from the end: a run of weeks has a long file."""
    size, window = segment.stat().st_size, WINDOW
    while True:
        start = _window(size, window)
        rows = [record.history for _, record in records(segment, start=start) if record.HasField("history")]
        if rows:
            # Of a picture or table each of its properties is an item, the name that it was logged under before them.
            names = frozenset(item.key or item.nested_key[0] for item in rows[-1].item if item.key or item.nested_key)
            return Tail(rows[-1].step.num, names)
        if start == 0:
            return Tail()
        window *= 4


def _window(size: int, window: int) -> int:
    """Where to begin to read the last bytes of a file: at a frame."""
    return max(0, size - window) // FRAME * FRAME


def records(segment: Path, *, start: int = 0) -> Iterator[tuple[int, Any]]:
    """Whole records that begin after a frame's start, each with the position of its end; damaged ones are left out."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415
    from wandb.proto.wandb_internal_pb2 import Record  # noqa: PLC0415 - half a second that not every process needs

    with segment.open("rb") as file:
        file.seek(start)
        content = file.read()
    position, record, begun = (HEADER if start == 0 else 0), b"", False
    while position + PART <= len(content):
        if (left := FRAME - position % FRAME) < PART:
            position += left
            continue
        length, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        end = position + PART + length
        if kind not in {_WHOLE, _FIRST, _MIDDLE, _LAST} or end > len(content):
            return
        if kind in {_WHOLE, _FIRST}:
            record, begun = b"", True
        record += content[position + PART : end]
        position = end
        if kind in {_WHOLE, _LAST} and begun:
            with contextlib.suppress(DecodeError):
                yield start + position, Record.FromString(record)
