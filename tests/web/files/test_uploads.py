import asyncio
import errno
import gzip
import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from brats_lightning.web.files import uploads
from brats_lightning.web.files.inspecting import Inspectors
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.files.uploads import receive
from brats_lightning.web.limits import Limits, Refused
from brats_lightning.web.records import CaseRecord, Kind
from tests.web.image_bytes import bomb, matlab, nifti, packed, picture, stream

LIMITS = Limits(file_mb=0.1, case_mb=0.15, unpacked_mb=5, files=5, idle_seconds=5)
IMAGE = nifti()
Upload = Callable[..., CaseRecord]


@pytest.fixture(scope="module")
def inspectors() -> Iterator[Inspectors]:
    made = Inspectors(LIMITS)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    made = CaseStore(tmp_path / "server", LIMITS)
    yield made
    made.close()


@pytest.fixture
def case(store: CaseStore) -> str:
    return store.create(networks=["unet"], needs=["t1n", "t2f"]).id


@pytest.fixture
def upload(store: CaseStore, inspectors: Inspectors, case: str) -> Upload:
    def upload_(
        content: bytes | AsyncIterator[bytes],
        name: str = "file",
        *,
        length: int | None = None,
        kind: Kind | None = None,
    ) -> CaseRecord:
        async def send() -> CaseRecord:
            body = stream(content) if isinstance(content, bytes) else content
            return await receive(store, inspectors, case, name=name, stream=body, length=length, kind=kind)

        return asyncio.run(send())

    return upload_


def nothing_remains(store: CaseStore, case: str) -> bool:
    return not any(store.files(case).iterdir()) and not store.get(case).files and not store._arriving


def noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def test_each_file_gets_the_ending_of_its_content_and_none_of_its_name(
    upload: Upload, store: CaseStore, case: str, tmp_path: Path
) -> None:
    contents = {
        "../../T1.exe": (IMAGE, ".nii", "t1n"),
        "a/b/FLAIR.nii": (gzip.compress(IMAGE, mtime=0), ".nii.gz", "t2f"),
        "<script>.jpg": (picture(), ".png", None),
        "x\0y.png": (picture(kind="JPEG"), ".jpg", None),
        "slice.mat": (matlab(tmp_path / "slice"), ".mat", None),
    }
    for name, (content, ending, kind) in contents.items():
        record = upload(content, name, length=len(content))
        file = record.files[-1]
        assert (file.kind, file.bytes) == (kind, len(content))
        assert store.file(case, file.id) == store.files(case) / f"{file.id}{ending}"
        assert store.file(case, file.id).read_bytes() == content
    assert [file.name for file in record.files] == ["T1.exe", "FLAIR.nii", "<script>.jpg", "x y.png", "slice.mat"]
    assert record.missing == []
    assert len(list(store.files(case).iterdir())) == 5
    assert not store._arriving


def test_a_kind_that_is_given_counts_more_than_the_name(upload: Upload) -> None:
    assert upload(IMAGE, "t1.nii", kind="t2f").missing == ["t1n"]


def test_a_picture_is_taken_for_the_only_modality_of_its_network(
    upload: Upload, store: CaseStore, case: str, tmp_path: Path
) -> None:
    store.update(case, needs=["t1c"])
    assert upload(matlab(tmp_path / "slice"), "1.mat").files[0].kind == "t1c"
    assert upload(picture(), "2.png").files[1].kind is None  # it has one
    assert upload(IMAGE, "volume.nii").files[2].kind is None


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 422),
        (b"\x80\x04\x95" + noise(5000), 415),
        (packed({"archive/data.pkl": b"\x80\x02}", "archive/version": b"3"}), 415),
        (b"<!DOCTYPE html><script>alert(1)</script>", 415),
        (bomb(20), 413),
        (packed({"t1.nii.gz": bomb(20), "t2.nii": IMAGE}), 413),
        (packed({"t1.nii": IMAGE + bytes(6_000_000)}), 413),
        (packed({f"{number}.nii": IMAGE for number in range(6)}), 413),
        (IMAGE[:-1], 422),
        (gzip.compress(IMAGE, mtime=0)[:-1], 422),
        (packed({"t1.nii": IMAGE})[:-1], 422),
        (packed({"t1.nii": IMAGE[:-1]}), 422),
    ],
    ids=["empty", "pickle", "ckpt", "html", "bomb", "zip of bomb", "zip bomb", "six", "cut", "gz", "zip", "inside"],
)
def test_what_is_not_taken_leaves_nothing(
    upload: Upload, store: CaseStore, case: str, content: bytes, status: int
) -> None:
    with pytest.raises(Refused, match=r"^Miller\.nii: ") as refused:
        upload(content, "Miller.nii")
    assert refused.value.status == status
    assert nothing_remains(store, case)


async def untouched() -> AsyncIterator[bytes]:
    raise AssertionError("the file was read")
    yield b""


def test_a_length_that_is_too_large_is_refused_before_anything_is_read(
    upload: Upload, store: CaseStore, case: str
) -> None:
    for length in (100_001, 150_001, 1 << 70):
        with pytest.raises(Refused) as refused:
            upload(untouched(), length=length)
        assert refused.value.status == 413
    assert nothing_remains(store, case)


@pytest.mark.parametrize("length", [None, 10])
def test_bytes_are_counted_as_they_arrive_whatever_was_said(
    upload: Upload, store: CaseStore, case: str, length: int | None
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 10_000
            yield bytes(10_000)

    with pytest.raises(Refused, match=r"larger than the 0\.1 MB") as refused:
        upload(endless(), length=length)
    assert refused.value.status == 413
    assert sent == 110_000
    assert nothing_remains(store, case)


def test_files_that_arrive_at_once_share_the_room_of_their_case(
    store: CaseStore, inspectors: Inspectors, case: str
) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        content = IMAGE + noise(80_000)
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]
            await asyncio.sleep(0)

    async def send() -> list[CaseRecord | BaseException]:
        names = ("t1.nii", "t2.nii", "flair.nii")
        uploads_ = [receive(store, inspectors, case, name=name, stream=slowly(), length=None) for name in names]
        return await asyncio.gather(*uploads_, return_exceptions=True)

    answers = asyncio.run(send())
    statuses = [answer.status for answer in answers if isinstance(answer, Refused)]
    assert statuses
    assert set(statuses) == {413}
    assert sum(path.stat().st_size for path in store.files(case).iterdir()) <= LIMITS.case_bytes
    assert len(list(store.files(case).iterdir())) == len(store.get(case).files) == 3 - len(statuses)
    assert not store._arriving


@pytest.mark.parametrize(
    ("pause", "limits"), [(60, replace(LIMITS, idle_seconds=0.05)), (0.01, replace(LIMITS, upload_seconds=0.1))]
)
def test_who_sends_too_slowly_is_told_and_forgotten(
    upload: Upload, store: CaseStore, case: str, pause: float, limits: Limits
) -> None:
    store.limits = limits

    async def slowly() -> AsyncIterator[bytes]:
        for byte in IMAGE:
            yield bytes([byte])
            await asyncio.sleep(pause)

    with pytest.raises(Refused, match=r"send it again|send a smaller file") as refused:
        upload(slowly())
    assert refused.value.status == 408
    assert nothing_remains(store, case)


class GoneError(Exception):
    """As a server says that the client has gone."""


@pytest.mark.parametrize("error", [GoneError, ConnectionResetError])
def test_who_goes_away_in_mid_file_leaves_nothing(
    upload: Upload, store: CaseStore, case: str, error: type[Exception]
) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield IMAGE[:100]
        raise error

    with pytest.raises(error):
        upload(cut(), length=len(IMAGE))
    assert nothing_remains(store, case)


def test_a_request_that_is_given_up_leaves_nothing(store: CaseStore, inspectors: Inspectors, case: str) -> None:
    async def hanging() -> AsyncIterator[bytes]:
        yield noise(5000)
        await asyncio.sleep(60)

    async def send() -> None:
        task = asyncio.create_task(receive(store, inspectors, case, name="x", stream=hanging(), length=None))
        await asyncio.sleep(0.05)
        assert any(store.files(case).iterdir())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(send())
    assert nothing_remains(store, case)


def test_a_case_that_is_erased_in_mid_file_stays_erased(
    upload: Upload, store: CaseStore, case: str, tmp_path: Path
) -> None:
    async def erased() -> AsyncIterator[bytes]:
        yield IMAGE[:100]
        store.erase(case)
        yield IMAGE[100:]

    with pytest.raises(Refused, match=r"^there is no such case") as refused:
        upload(erased())
    assert refused.value.status == 404
    assert [path.name for path in (tmp_path / "server").rglob("*") if path.is_file()] == ["lock"]
    assert not store._arriving


def test_a_full_disk_is_said_and_nothing_remains(
    upload: Upload, store: CaseStore, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(uploads, "_write", full)
    with pytest.raises(Refused, match=r"^the server's disk is full") as refused:
        upload(IMAGE)
    assert refused.value.status == 507
    assert nothing_remains(store, case)


def test_a_zip_becomes_its_images_and_words_for_the_rest(upload: Upload, store: CaseStore, case: str) -> None:
    content = packed(
        {
            "P7/T1.nii": IMAGE,
            "P7/../../FLAIR.nii.gz": gzip.compress(IMAGE, mtime=0),
            "P7/sub/P7_flair.nii.gz": gzip.compress(nifti(affine=False)),
            "P7/t2.nii": IMAGE[:-1],
            "P7/report.pdf": b"%PDF",
        }
    )
    record = upload(content, "P7.zip")
    assert [(file.name, file.kind) for file in record.files] == [("T1.nii", "t1n"), ("P7_flair.nii.gz", "t2f")]
    assert record.missing == []
    assert len(list(store.files(case).iterdir())) == 2
    words = " ".join(record.notes)
    for part in (
        "paths that lead out",
        "t2.nii in P7.zip was passed over",
        "no image known",
        "does not say how it lies",
    ):
        assert part in words
    assert not store._arriving


def test_two_of_a_kind_in_a_zip_are_left_to_the_user(upload: Upload) -> None:
    record = upload(packed({"before/T1.nii": IMAGE, "after/T1.nii": IMAGE, "T2.nii": IMAGE}), "case.zip")
    assert [file.kind for file in record.files] == [None, None, "t2w"]
    assert "several files of the zip are named like t1n" in record.notes[0]


def test_a_zip_in_place_of_one_image_may_hold_one(upload: Upload, store: CaseStore, case: str) -> None:
    with pytest.raises(Refused, match="holds 2 images, expected one"):
        upload(packed({"a.nii": IMAGE, "b.nii": IMAGE}), kind="t1n")
    assert nothing_remains(store, case)
    assert upload(packed({"a.nii": IMAGE}), kind="t1n").missing == ["t2f"]


def test_a_finished_case_takes_its_reference_alone(upload: Upload, store: CaseStore, case: str) -> None:
    store.update(case, state="done")
    for name in ("t1.nii", "what.nii", "case.zip"):
        with pytest.raises(Refused, match="the case is done") as refused:
            upload(untouched(), name)
        assert refused.value.status == 409
    assert upload(IMAGE, "P7_seg.nii").files[0].kind == "seg"
    assert [file.kind for file in upload(IMAGE, "what.nii", kind="seg").files] == [None, "seg"]


def test_no_file_beyond_the_number_is_read(upload: Upload) -> None:
    for number in range(5):
        upload(IMAGE, f"{number}.nii")
    with pytest.raises(Refused, match="no more than 5 files") as refused:
        upload(untouched())
    assert refused.value.status == 413
