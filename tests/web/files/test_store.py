import asyncio
import errno
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits, Refused
from brats_lightning.web.records import CaseRecord, FileRecord, Kind, Scores, State

NEEDS: tuple[Kind, ...] = ("t1n", "t1c")
Put = Callable[..., FileRecord]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[CaseStore]:
    made = CaseStore(tmp_path / "server", Limits(cases=3, files=4, case_mb=0.001, keep_minutes=10), clock=clock)
    yield made
    made.close()


@pytest.fixture
def put(store: CaseStore) -> Put:
    numbers = iter(range(100))

    def put_(case: str, name: str, kind: Kind | None, size: int = 100) -> FileRecord:
        file = FileRecord(id=f"f{next(numbers)}", name=name, kind=kind, bytes=size, shape=(2, 2), spacing_mm=())
        (store.files(case) / f"{file.id}.nii.gz").write_bytes(bytes(size))
        store.add_file(case, file)
        return file

    return put_


def made(store: CaseStore) -> str:
    return store.create(networks=["unet"], needs=NEEDS).id


def test_ids_cannot_be_guessed_and_folders_are_nobody_elses(store: CaseStore) -> None:
    ids = {made(store) for _ in range(3)}
    assert len(ids) == 3
    assert all(len(case) == 22 for case in ids)  # 128 bits
    for case in ids:
        for place in (store.folder(case), store.files(case), store.results(case), store.folder(case).parents[1]):
            assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_who_guesses_learns_nothing(store: CaseStore, clock: Clock) -> None:
    case = made(store)
    clock.now += 600
    sentences = set()
    for asked in (case, "A" * 22, "../../etc/passwd", "..", "", "a/b", "\0", case.lower(), f"{case}/"):
        for method in (store.get, store.folder, store.files, store.results, store.erase, store.version):
            with pytest.raises(Refused) as refused:
                method(asked)
            assert refused.value.status == 404
            sentences.add(str(refused.value))
    assert len(sentences) == 1


def test_a_full_server_says_when_to_come_back_and_makes_room_by_itself(store: CaseStore, clock: Clock) -> None:
    first = made(store)
    clock.now += 180
    others = [made(store) for _ in range(2)]
    with pytest.raises(Refused, match=r"no more than 3 cases.*in 7 minutes") as refused:
        made(store)
    assert refused.value.status == 429
    clock.now += 420
    newest = made(store)
    assert [record.id for record in store.all()] == [*others, newest]
    assert not [place for place in store.folder(newest).parent.iterdir() if place.name == first]


def test_an_erased_case_leaves_nothing_and_nothing_can_be_written_to_it(store: CaseStore, put: Put) -> None:
    case, told = made(store), list[str]()
    store.when_erased.append(told.append)
    put(case, "t1.nii.gz", "t1n")
    results = store.results(case)
    server = results.parents[2]
    with (results / "being written").open("wb") as half:
        half.write(b"voxels")
        store.erase(case)
        half.write(b"more voxels")
    with pytest.raises(FileNotFoundError):
        (results / "late").write_bytes(b"voxels")
    assert [path.name for path in server.rglob("*") if path.is_file()] == ["lock"]
    assert told == [case]
    results.mkdir(parents=True)  # by a worker that makes its folders itself
    (results / "late").write_bytes(b"voxels")
    store.erase_expired()
    assert [path.name for path in server.rglob("*") if path.is_file()] == ["lock"]


def test_cases_are_erased_when_their_time_is_over(store: CaseStore, clock: Clock, put: Put) -> None:
    case, told = made(store), list[str]()
    store.when_erased.append(told.append)
    put(case, "t1.nii.gz", "t1n")
    folder = store.folder(case)
    clock.now += 599
    assert (store.erase_expired(), folder.exists()) == ([], True)
    clock.now += 1
    with pytest.raises(Refused):
        store.get(case)
    assert (store.all(), store.erase_expired(), told, folder.exists()) == ([], [case], [case], False)


def test_a_restart_forgets_no_finished_case(store: CaseStore, clock: Clock, put: Put, tmp_path: Path) -> None:
    case = made(store)
    put(case, "P1_t1.nii.gz", "t1n")
    (store.files(case) / ".half").write_bytes(b"upload")
    (store.files(case) / ".half.unpacked").mkdir()
    (store.results(case) / "mask.nii.gz").write_bytes(b"mask")
    before = store.update(case, state="done", results=["mask.nii.gz"], scores={"WT": _scores()})
    expired = made(store)
    store.close()
    clock.now += 1
    expired_record = tmp_path / "server/cases" / expired / "case.json"
    text = expired_record.read_text()
    expired_record.write_text(text.replace('"expires":1600.0', '"expires":1000.5'))
    again = CaseStore(tmp_path / "server", store.limits, clock=clock)
    assert again.all() == [before]
    assert (again.results(case) / "mask.nii.gz").read_bytes() == b"mask"
    assert [path.name for path in again.files(case).iterdir()] == [f"{before.files[0].id}.nii.gz"]
    assert not expired_record.parent.exists()
    again.close()


def _scores() -> Scores:
    return Scores(dice=0.5, iou=None, sensitivity=1.0, hd95_mm=2.5)


@pytest.mark.parametrize("damage", ["no record", "cut short", "foreign", "no files", "another id", "link", "file"])
def test_what_cannot_be_read_at_a_start_is_erased_and_not_named_in_the_log(
    store: CaseStore, put: Put, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    kept, case = made(store), made(store)
    put(case, "Miller_t1.nii.gz", "t1n")
    place = store.folder(case)
    store.close()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x")
    record = place / "case.json"
    if damage == "no record":
        record.unlink()
    elif damage == "cut short":
        record.write_bytes(record.read_bytes()[:-20])
    elif damage == "foreign":
        record.write_text('{"id": 1}')
    elif damage == "no files":
        next((place / "files").iterdir()).unlink()
    elif damage == "another id":
        place.rename(place.with_name("B" * 22))
    elif damage == "link":
        (place.parent / ("C" * 22)).symlink_to(outside)
    else:
        (place.parent / "notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        again = CaseStore(tmp_path / "server", store.limits, clock=lambda: 1000.0)
    readable = [kept, case] if damage in ("link", "file") else [kept]
    assert sorted(record.id for record in again.all()) == sorted(readable)
    assert sorted(path.name for path in place.parent.iterdir()) == sorted(readable)
    assert (outside / "precious").exists()
    assert "erased" in caplog.text
    assert not any(word in caplog.text for word in (kept, case, "Miller"))
    again.close()


def test_a_second_server_on_a_folder_is_refused_until_the_first_has_gone(store: CaseStore, tmp_path: Path) -> None:
    with pytest.raises(BratsError, match="another server is using"):
        CaseStore(tmp_path / "server", Limits())
    store.close()
    CaseStore(tmp_path / "server", Limits()).close()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BratsError, match=r"file cannot be used \(.*give another --folder"):
        CaseStore(tmp_path / "file", Limits())


def test_fields_change_together_or_not_at_all(store: CaseStore) -> None:
    case = made(store)
    before = store.get(case)
    for changes in ({"state": "running", "colour": 1}, {"state": "thinking"}, {"percent": "much"}):
        with pytest.raises(ValueError, match="validation error"):
            store.update(case, **changes)
    assert store.get(case) == before
    after = store.update(case, state="running", percent=12.5)
    assert (after.state, after.percent, store.get(case)) == ("running", 12.5, after)


def test_threads_do_not_lose_each_others_changes(store: CaseStore) -> None:
    cases = [made(store) for _ in range(2)]

    def work(number: int) -> None:
        for step in range(8):
            for case in cases:
                with store._lock:
                    notes = store.get(case).notes
                    store.update(case, notes=[*notes, f"{number}.{step}"], percent=step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for case in cases:
        assert len(set(store.get(case).notes)) == 32
        written = CaseRecord.model_validate_json((store.folder(case) / "case.json").read_bytes())
        assert written == store.get(case)


def test_networks_are_chosen_before_a_case_is_started(store: CaseStore) -> None:
    case = made(store)
    assert store.choose_networks(case, networks=["b"], needs=["t2f"]).missing == ["t2f"]
    for state in ("queued", "running", "done"):
        store.update(case, state=state)
        with pytest.raises(Refused, match="started") as refused:
            store.choose_networks(case, networks=["c"], needs=[])
        assert refused.value.status == 409
    assert store.get(case).networks == ["b"]


def test_a_case_of_the_future_does_not_stay_for_years(store: CaseStore, clock: Clock) -> None:
    clock.now = 1e9
    case = made(store)
    clock.now = 2000.0  # put right
    assert store.erase_expired() == []
    assert store.get(case).expires == 2000 + 600
    clock.now += 601
    assert store.erase_expired() == [case]


def test_what_is_missing_and_its_name_follow_from_the_files(store: CaseStore, put: Put) -> None:
    case = made(store)
    assert store.get(case).missing == ["t1n", "t1c"]
    put(case, "BraTS2021_00006_t1ce.nii.gz", "t1c")
    native = put(case, "BraTS2021_00006_t1.nii.gz", "t1n")
    assert (store.get(case).missing, store.get(case).name) == ([], "BraTS2021_00006")
    assert store.update(case, needs=["t1n", "t2f"]).missing == ["t2f"]
    assert store.remove_file(case, native.id).missing == ["t1n", "t2f"]
    assert len(list(store.files(case).iterdir())) == 1


def test_the_later_of_two_files_takes_the_kind(store: CaseStore, put: Put) -> None:
    case = made(store)
    first, second = put(case, "a.nii", "t1n"), put(case, "b.nii", "t1n")
    assert {file.id: file.kind for file in store.get(case).files} == {first.id: None, second.id: "t1n"}
    record = store.set_kind(case, first.id, "t1n")
    assert {file.id: file.kind for file in record.files} == {first.id: "t1n", second.id: None}
    assert store.set_kind(case, first.id, None).missing == ["t1n", "t1c"]
    assert store.file(case, first.id) == store.files(case) / f"{first.id}.nii.gz"
    for method in (store.file, store.remove_file, lambda case, file: store.set_kind(case, file, "t1c")):
        with pytest.raises(Refused, match="no such file") as refused:
            method(case, "../case")
        assert refused.value.status == 404


def test_a_case_has_no_more_files_and_bytes_than_it_may(store: CaseStore, put: Put) -> None:
    case = made(store)
    for number in range(4):
        put(case, f"{number}.nii", None, 200)
    with pytest.raises(Refused, match="no more than 4 files") as refused:
        put(case, "5.nii", None, 1)
    assert refused.value.status == 413
    store.remove_file(case, store.get(case).files[0].id)
    store.claim(case, 300)  # 600 of 1000 are there
    with pytest.raises(Refused, match=r"no more than 0\.001 MB") as refused:
        store.claim(case, 101)
    assert refused.value.status == 413
    store.claim(case, 100)
    store.claim(case, -400)
    store.claim(case, 400)


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_case_at_work_is_not_changed(store: CaseStore, put: Put, state: State) -> None:
    case = made(store)
    file = put(case, "t1.nii", "t1n")
    store.update(case, state=state)
    for change in (
        lambda: put(case, "seg.nii", "seg"),
        lambda: store.set_kind(case, file.id, "t1c"),
        lambda: store.remove_file(case, file.id),
    ):
        with pytest.raises(Refused, match="being worked on") as refused:
            change()
        assert refused.value.status == 409
    assert store.get(case).files == [file]
    assert store.file(case, file.id).exists()


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_other_files_discard_what_came_of_the_earlier_ones(store: CaseStore, put: Put, state: State) -> None:
    case = made(store)
    file = put(case, "t1.nii", "t1n")
    (store.results(case) / "mask.nii.gz").write_bytes(b"mask")
    store.update(case, state=state, error="it broke", results=["mask.nii.gz"], scores={"WT": _scores()}, percent=50)
    record = store.set_kind(case, file.id, "t1c")
    assert (record.state, record.error, record.results, record.scores, record.percent) == (
        "collecting",
        None,
        [],
        {},
        0,
    )
    assert record.created == 1000
    assert list(store.results(case).iterdir()) == []


def test_a_finished_case_takes_a_reference_and_nothing_else(store: CaseStore, put: Put) -> None:
    case = made(store)
    image = put(case, "t1.nii", "t1n")
    results = ["mask.nii.gz", "scores.csv", "volumes/difference.nii.gz"]
    (store.results(case) / "volumes").mkdir()
    for name in results:
        (store.results(case) / name).write_bytes(b"x")
    store.update(case, state="done", results=results, scores={"WT": _scores()}, failed={"compare": "no"})
    for change in (
        lambda: put(case, "t2.nii", "t2w"),
        lambda: put(case, "unknown.nii", None),
        lambda: store.set_kind(case, image.id, "seg"),
        lambda: store.remove_file(case, image.id),
    ):
        with pytest.raises(Refused, match="case is done") as refused:
            change()
        assert refused.value.status == 409
    put(case, "seg.nii", "seg")
    record = store.get(case)
    assert (record.state, record.results, record.scores, record.failed) == ("done", ["mask.nii.gz"], {}, {})
    assert [path.name for path in store.results(case).rglob("*") if path.is_file()] == ["mask.nii.gz"]
    store.update(case, working=["compare"])
    with pytest.raises(Refused, match="being compared"):
        put(case, "other_seg.nii", "seg")


def test_who_waits_hears_of_changes_from_other_threads(store: CaseStore) -> None:
    case, other = made(store), made(store)

    async def hear() -> list[int]:
        since = store.version(case)
        waiting = [asyncio.create_task(store.changed(case, since)) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.to_thread(store.update, other, percent=1)
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        waiting.pop().cancel()  # one goes away
        await asyncio.to_thread(store.update, case, percent=1)
        return [since, *await asyncio.wait_for(asyncio.gather(*waiting), 5)]

    since, *versions = asyncio.run(hear())
    assert versions == [since + 1] * 2
    assert asyncio.run(store.changed(case, since)) == since + 1  # at once
    assert not store._changes._waiters


def test_who_waits_hears_that_the_case_has_gone(store: CaseStore) -> None:
    case = made(store)

    async def hear() -> None:
        waiting = asyncio.create_task(store.changed(case, store.version(case)))
        await asyncio.sleep(0)
        await asyncio.to_thread(store.erase, case)
        await asyncio.wait_for(waiting, 5)

    with pytest.raises(Refused, match="no such case"):
        asyncio.run(hear())


def test_a_full_disk_is_said_and_leaves_what_was_there(
    store: CaseStore, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made(store)
    file = put(case, "t1.nii", "t1n")
    before = (store.folder(case) / "case.json").read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    for change in (lambda: made(store), lambda: store.set_kind(case, file.id, "t1c")):
        with pytest.raises(Refused, match="disk is full") as refused:
            change()
        assert refused.value.status == 507
    assert store.get(case).files == [file]
    assert store.update(case, state="failed", error="the disk is full").state == "failed"  # to be seen at least
    assert [path.name for path in store.folder(case).parent.iterdir()] == [case]
    assert sorted(path.name for path in store.folder(case).iterdir()) == ["case.json", "files", "results"]
    assert (store.folder(case) / "case.json").read_bytes() == before
