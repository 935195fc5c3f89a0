"""From a request's body to a file of a case: limited as it arrives, looked into, and gone where anything is wrong."""

import asyncio
import secrets
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from brats_lightning.web.files.contents import Inspected
from brats_lightning.web.files.inputs import require_change, require_room
from brats_lightning.web.files.inspecting import Inspectors
from brats_lightning.web.files.kinds import kind_of, shown_name
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits, Refused, disk_refusal
from brats_lightning.web.records import CaseRecord, FileRecord, Kind

_CHUNK = 1 << 20
_OF_THE_FILE = (408, 413, 415, 422)


def _too_large(limits: Limits) -> Refused:
    return Refused(413, f"it is larger than the {limits.file_mb:g} MB that one file may have: crop it or compress it")


@dataclass(frozen=True)
class _Image:
    """A file that was looked into and is not part of the case yet."""

    path: Path
    name: str
    found: Inspected


async def receive(
    store: CaseStore,
    inspectors: Inspectors,
    case: str,
    *,
    name: str,
    stream: AsyncIterator[bytes],
    length: int | None,
    kind: Kind | None = None,
) -> CaseRecord:
    """Take a file, or all images of a zip, into a case.

    Args:
        store: Of the cases.
        inspectors: That look into it.
        case: Its id.
        name: What the user calls the file.
        stream: Its bytes as they arrive.
        length: How many there will be, None where that was not said.
        kind: What it is, None to recognise it by its name.

    Raises:
        Refused: Too large or too slow, nothing that is taken here, damaged, the disk is full, no such case, or one that
            is not to be changed now. Nothing remains of the file then, nor when the client goes away.
    """
    name = shown_name(name)
    record = store.get(case)
    _require_wanted(record, kind or kind_of(name))
    require_room(record, store.limits, files=1, bytes_more=length or 0)
    if length is not None and length > store.limits.file_bytes:
        raise _too_large(store.limits)
    arriving = store.files(case) / f".{secrets.token_hex(8)}"
    claim = _Claim(store, case)
    try:
        await _save(stream, arriving, claim)
        images, notes = await _images(store, inspectors, case, arriving, name=name, claim=claim)
        files = _records(images, kind or _only_kind(store.get(case), images), notes)
        return await asyncio.to_thread(_add, store, case, images, files, notes)
    except ConnectionError:
        raise
    except Refused as refused:
        store.get(case)  # perhaps it was erased in the meantime
        raise Refused(
            refused.status, f"{name}: {refused}" if refused.status in _OF_THE_FILE else str(refused)
        ) from refused
    except OSError as error:
        store.get(case)
        raise disk_refusal(error) from error
    finally:
        claim.release()
        arriving.unlink(missing_ok=True)
        shutil.rmtree(_unpacked(arriving), ignore_errors=True)


class _Claim:
    """Bytes of a case that are set aside for a file on its way."""

    def __init__(self, store: CaseStore, case: str) -> None:
        self.store, self.case, self.size = store, case, 0

    def more(self, size: int) -> None:
        self.store.claim(self.case, size)
        self.size += size

    def release(self) -> None:
        if self.size:
            self.store.claim(self.case, -self.size)
        self.size = 0


def _require_wanted(record: CaseRecord, kind: Kind | None) -> None:
    """Refuse before anything is sent what could not be taken afterwards."""
    require_change(record, kind)
    if record.state == "done" and kind is None:
        raise Refused(409, "the case is done: put further files as its reference, or make a new case for them")


async def _save(stream: AsyncIterator[bytes], path: Path, claim: _Claim) -> None:
    """Write a stream to a file, no faster than the disk takes it and no slower than the limits allow."""
    limits = claim.store.limits
    deadline = time.monotonic() + limits.upload_seconds
    waiting = bytearray()
    with await asyncio.to_thread(path.open, "xb") as file:
        while chunk := await _next(stream, limits, deadline):
            if claim.size + len(chunk) > limits.file_bytes:
                raise _too_large(limits)
            claim.more(len(chunk))
            waiting += chunk
            if len(waiting) >= _CHUNK:
                await asyncio.to_thread(_write, file, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(_write, file, bytes(waiting))


def _write(file: BinaryIO, content: bytes) -> None:
    file.write(content)
    file.flush()


async def _next(stream: AsyncIterator[bytes], limits: Limits, deadline: float) -> bytes:
    """The next bytes, empty at the end."""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Refused(408, f"sending it took longer than {limits.upload_seconds:g} seconds: send a smaller file")
        try:
            chunk = await asyncio.wait_for(anext(stream), min(left, limits.idle_seconds))
        except StopAsyncIteration:
            return b""
        except TimeoutError:
            if time.monotonic() >= deadline:
                continue
            what = f"nothing of it arrived for {limits.idle_seconds:g} seconds"
            raise Refused(408, f"{what}: send it again") from None
        if chunk:
            return chunk


async def _images(
    store: CaseStore, inspectors: Inspectors, case: str, arriving: Path, *, name: str, claim: _Claim
) -> tuple[list[_Image], list[str]]:
    """What has arrived, looked into, and what is odd about it."""
    found = await inspectors.inspect(arriving)
    if found.ending != ".zip":
        return [_Image(arriving, name, found)], [f"{name}: {note}" for note in found.notes]
    folder = _unpacked(arriving)
    folder.mkdir(mode=0o700)
    room = store.limits.case_bytes - sum(file.bytes for file in store.get(case).files)
    members = await inspectors.unpack(arriving, into=folder, room=room)
    arriving.unlink()
    claim.release()
    claim.more(sum(path.stat().st_size for path in folder.iterdir()))
    images, notes = [], [f"{name}: {note}" for note in members.notes]
    for number, member in enumerate(map(shown_name, members.names)):
        path = folder / str(number)
        try:
            inspected = await inspectors.inspect(path)
        except Refused as refused:
            if refused.status not in (415, 422):
                raise
            notes.append(f"{member} in {name} was passed over: {refused}")
            continue
        images.append(_Image(path, member, inspected))
        notes += [f"{member}: {note}" for note in inspected.notes]
    if not images:
        raise Refused(422, f"none of its images can be used: {'; '.join(notes)}")
    return images, notes


def _unpacked(arriving: Path) -> Path:
    """Folder of what a zip holds, while that is looked into."""
    return arriving.with_name(f"{arriving.name}.unpacked")


def _only_kind(record: CaseRecord, images: Sequence[_Image]) -> Kind | None:
    """The modality that a picture is taken for where the network has no other and its name tells none."""
    (only,) = images if len(images) == 1 else (None,)
    if only is None or only.found.ending in (".nii", ".nii.gz") or kind_of(only.name) or len(record.needs) != 1:
        return None
    return record.missing[0] if record.missing else None


def _records(images: Sequence[_Image], kind: Kind | None, notes: list[str]) -> list[FileRecord]:
    """The images as files of a case.

    Args:
        images: That were looked into.
        kind: Of the only one, None to recognise them by their names.
        notes: Gets a word where two names say the same.
    """
    if kind is not None and len(images) > 1:
        raise Refused(422, f"it holds {len(images)} images, expected one: send them by themselves")
    kinds = [kind or kind_of(image.name) for image in images]
    unsure = {one for one, count in Counter(kinds).items() if one is not None and count > 1}
    notes += [f"several files of the zip are named like {one}: choose which of them it is" for one in sorted(unsure)]
    return [
        FileRecord(
            id=secrets.token_hex(8),
            name=image.name,
            kind=None if its in unsure else its,
            bytes=image.path.stat().st_size,
            shape=image.found.shape,
            spacing_mm=image.found.spacing_mm,
        )
        for image, its in zip(images, kinds, strict=True)
    ]


def _add(
    store: CaseStore, case: str, images: Sequence[_Image], files: Sequence[FileRecord], notes: Sequence[str]
) -> CaseRecord:
    """Give the images their places, all or none of them."""
    folder = store.files(case)
    places = [folder / f"{file.id}{image.found.ending}" for image, file in zip(images, files, strict=True)]
    try:
        for image, place in zip(images, places, strict=True):
            image.path.rename(place)
        return store.add_files(case, files, notes=notes)
    except BaseException:
        for place in places:
            place.unlink(missing_ok=True)
        raise
