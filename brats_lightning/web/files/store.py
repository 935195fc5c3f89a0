"""The cases on the server: one folder each, erased with all that is in it."""

import fcntl
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

from brats_lightning.errors import BratsError
from brats_lightning.web.files import case_folders
from brats_lightning.web.files.changes import Changes
from brats_lightning.web.files.inputs import (
    complete,
    file_of,
    require_room,
    with_file,
    with_kind,
    with_networks,
    with_notes,
    without_file,
)
from brats_lightning.web.limits import Limits, Refused, disk_refusal
from brats_lightning.web.records import CaseRecord, FileRecord, Kind

_PASSING = {"stage", "percent", "position"}
"""Fields that a restart forgets, so that they need no disk."""
_CLOCKS_DIFFER = 60.0
"""Seconds by which a clock may be put back without a word."""
_log = logging.getLogger(__name__)


class CaseStore:
    """Cases by their ids. Every method may be called from any thread, and what it returns is not to be changed.

    Args:
        folder: Of the server, made where it is not there; no other server may use it at the same time.
        limits: How many cases, how long, how many files and bytes.
        clock: Seconds since 1970.

    Raises:
        BratsError: Another server has the folder, or it cannot be written.
    """

    def __init__(self, folder: Path, limits: Limits, *, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits
        self.when_erased: list[Callable[[str], None]] = []
        """Called with a case's id once it has gone, whatever made it go."""
        self._clock = clock
        self._cases, self._erased = folder / "cases", folder / "erased"
        self._changes = Changes()
        self._lock = threading.RLock()
        self._arriving: dict[str, int] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for place in (self._cases, self._erased):
                place.mkdir(mode=0o700, exist_ok=True)
                place.chmod(0o700)
            self._held = _lock(folder)
            self._records = self._read()
        except OSError as error:
            raise BratsError(f"{folder} cannot be used ({error.strerror}): give another --folder") from error

    def close(self) -> None:
        """Let another server have the folder."""
        self._held.close()

    def create(self, *, networks: Sequence[str], needs: Sequence[Kind], example: bool = False) -> CaseRecord:
        """A new case without files.

        Raises:
            Refused: There are as many cases as may be, none of them old enough to be erased; or the disk is full.
        """
        self.erase_expired()
        with self._lock:
            if len(self._records) >= self.limits.cases:
                soonest = (min(record.expires for record in self._records.values()) - self._clock()) / 60
                raise Refused(
                    429,
                    f"the server keeps no more than {self.limits.cases} cases: erase one, or come back in "
                    f"{max(1, round(soonest))} minutes, when the next one expires",
                )
            name, now = secrets.token_urlsafe(16), self._clock()
            record = CaseRecord(
                id=name,
                name="",
                created=now,
                expires=now + self.limits.keep_minutes * 60,
                example=example,
                networks=list(networks),
                needs=list(needs),
            )
            try:
                case_folders.make(self._cases / name)
                return self._put(record)
            except OSError as error:
                raise disk_refusal(error) from error
            except Refused:
                case_folders.remove(self._cases / name)
                raise

    def get(self, case: str) -> CaseRecord:
        """The case.

        Raises:
            Refused: There is none of this id, or it has expired.
        """
        record = self._records.get(case)
        if record is None or record.expires <= self._clock():
            raise Refused(404, "there is no such case: it never was, was erased, or has expired")
        return record

    def all(self) -> list[CaseRecord]:
        """Cases that have not expired, oldest first."""
        now = self._clock()
        kept = [record for record in list(self._records.values()) if record.expires > now]
        return sorted(kept, key=lambda record: record.created)

    def update(self, case: str, **changes: Any) -> CaseRecord:
        """Change fields of a case.

        A full disk does not keep the change from being seen: a restart will forget it unless a later one is written.

        Raises:
            Refused: There is no such case.
            ValueError: A field that no case has, or a value that it cannot have.
        """
        with self._lock:
            record = CaseRecord.model_validate({**self.get(case).model_dump(), **changes})
            return self._put(record, write="never" if changes.keys() <= _PASSING else "if possible")

    def folder(self, case: str) -> Path:
        """Of the case.

        Raises:
            Refused: There is no such case.
        """
        return self._cases / self.get(case).id

    def files(self, case: str) -> Path:
        """Folder of the files that were put."""
        return self.folder(case) / "files"

    def results(self, case: str) -> Path:
        """Folder of what was made."""
        return self.folder(case) / "results"

    def file(self, case: str, file: str) -> Path:
        """Path of a file that was put.

        Raises:
            Refused: There is no such case, or no such file in it.
        """
        file_of(self.get(case), file)
        for ending in case_folders.ENDINGS:
            if (path := self.files(case) / f"{file}{ending}").exists():
                return path
        raise Refused(404, "there is no such file in this case")  # removed in this very moment

    def version(self, case: str) -> int:
        """Of a case; it grows with every change.

        Raises:
            Refused: There is no such case.
        """
        self.get(case)
        return self._changes.version(case)

    async def changed(self, case: str, since: int) -> int:
        """Its version once that is another than the one that is known.

        Raises:
            Refused: There is no such case, or no more.
        """
        self.get(case)
        await self._changes.after(case, since)
        return self.version(case)

    def claim(self, case: str, size: int) -> None:
        """Set bytes aside for a file that arrives, or give them back where the number is negative.

        Raises:
            Refused: There is no such case, or it would have more bytes than may be.
        """
        with self._lock:
            total = self._arriving.get(case, 0) + size
            if size > 0:
                require_room(self.get(case), self.limits, bytes_more=total)
            self._arriving[case] = total
            if total <= 0:
                del self._arriving[case]

    def add_file(self, case: str, file: FileRecord, *, notes: Sequence[str] = ()) -> CaseRecord:
        """As `add_files`, of one file."""
        return self.add_files(case, [file], notes=notes)

    def add_files(self, case: str, files: Sequence[FileRecord], *, notes: Sequence[str] = ()) -> CaseRecord:
        """Files lie in the case's folder under their ids and an ending: make them all, or none, part of the case.

        Raises:
            Refused: There is no such case, it has too many files or bytes, is not to be changed, or the disk is full.
        """

        def with_files(record: CaseRecord) -> CaseRecord:
            for file in files:
                record = with_file(record, file, self.limits)
            return with_notes(record, notes)

        return self._change(case, with_files)

    def remove_file(self, case: str, file: str) -> CaseRecord:
        """Erase a file that was put.

        Raises:
            Refused: There is no such case or file, or it is not to be changed.
        """
        path = self.file(case, file)
        record = self._change(case, lambda record: without_file(record, file))
        path.unlink(missing_ok=True)
        return record

    def set_kind(self, case: str, file: str, kind: Kind | None) -> CaseRecord:
        """Say what a file is.

        Raises:
            Refused: There is no such case or file, or it is not to be changed.
        """
        return self._change(case, lambda record: with_kind(record, file, kind))

    def choose_networks(self, case: str, *, networks: Sequence[str], needs: Sequence[Kind]) -> CaseRecord:
        """Say what shall segment a case, and which modalities that needs.

        Raises:
            Refused: There is no such case, or it has been started.
        """
        return self._change(case, lambda record: with_networks(record, networks, needs))

    def erase(self, case: str) -> None:
        """Erase a case and all that it has, and what is being written for it: nothing brings it back.

        Raises:
            Refused: There is no such case.
        """
        self.get(case)
        self._erase([case])

    def erase_expired(self) -> list[str]:
        """Erase the cases whose time is over, and what nobody knows of; the ids of the former."""
        now = self._clock()
        self._follow_clock(now)
        expired = [case for case, record in list(self._records.items()) if record.expires <= now]
        self._erase(expired)
        with self._lock:  # what remains was written by a worker whose case had gone
            unknown = [place for place in self._cases.iterdir() if place.name not in self._records]
            away = [self._renamed(place) for place in unknown]
        for place in away:
            case_folders.remove(place)
        return expired

    def _follow_clock(self, now: float) -> None:
        """Where the clock was put back, a case made in the future is one of now: or else it would stay for years."""
        for case, record in list(self._records.items()):
            if record.created > now + _CLOCKS_DIFFER:
                with suppress(Refused):
                    self.update(case, created=now, expires=now + self.limits.keep_minutes * 60)

    def _erase(self, cases: Sequence[str]) -> None:
        for case in cases:
            with self._lock:
                if self._records.pop(case, None) is None:
                    continue
                away = self._renamed(self._cases / case)
            self._changes.tell(case, gone=True)
            case_folders.remove(away)
            for listener in self.when_erased:
                listener(case)

    def _renamed(self, place: Path) -> Path:
        """Take the name from what is to be removed, so that nothing more is written there; its new place."""
        away = self._erased / secrets.token_hex(8)
        try:
            place.rename(away)
        except OSError as error:
            _log.warning("something could not be renamed before it is erased (%s)", error.strerror)
            return place
        return away

    def _change(self, case: str, change: Callable[[CaseRecord], CaseRecord]) -> CaseRecord:
        """Change a case's files, and erase the results that they made untrue."""
        with self._lock:
            before = self.get(case)
            after = change(before)
            if after is before:
                return before
            after = self._put(after)
            results = self._cases / case / "results"
            away = None
            if after.state != "done" and any(results.iterdir()):
                away = self._renamed(results)
                results.mkdir(mode=0o700, exist_ok=True)
            for name in set(before.results) - set(after.results):
                (results / name).unlink(missing_ok=True)
        if away is not None:
            case_folders.remove(away)
        return after

    def _put(self, record: CaseRecord, *, write: Literal["never", "if possible", "surely"] = "surely") -> CaseRecord:
        record = complete(record)
        try:
            if write != "never":
                case_folders.write(self._cases / record.id, record)
        except OSError as error:
            if write == "surely":
                raise disk_refusal(error) from error
            _log.warning("what is known of a case could not be written (%s)", error.strerror)
        self._records[record.id] = record
        self._changes.tell(record.id)
        return record

    def _read(self) -> dict[str, CaseRecord]:
        """The cases that an earlier server left; what cannot be used of them is erased."""
        for place in self._erased.iterdir():
            case_folders.remove(place)
        records: dict[str, CaseRecord] = {}
        for place in self._cases.iterdir():
            record = case_folders.read(place)
            if record is None:
                _log.warning("a case that could not be read was erased")
            if record is None or record.expires <= self._clock():
                case_folders.remove(self._renamed(place))
            else:
                records[record.id] = record
        return records


def _lock(folder: Path) -> BinaryIO:
    """A file that no other server holds as long as it is open, which ends with this process at the latest."""
    file = (folder / "lock").open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise BratsError(f"another server is using {folder}: give this one another --folder") from error
        raise
    return file
