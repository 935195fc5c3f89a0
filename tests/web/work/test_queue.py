"""What becomes of cases in the queue; the worker is a pretended one, the real one is tested beside."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brats_lightning.errors import BratsError
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits, Refused
from brats_lightning.web.records import CaseRecord, FileRecord, Kind, Network, Scores, State
from brats_lightning.web.work import queue as queues
from brats_lightning.web.work.messages import Job, Offered, Outcome, Ready, Setup
from brats_lightning.web.work.queue import AGAIN, TWICE, JobQueue
from brats_lightning.web.work.worker_process import KILLED, JobStoppedError

MADE = {"segment": "mask.nii.gz", "compare": "scores.csv", "report": "report.html", "radiomics": "radiomics.csv"}


class Pretended:
    """Does what a test says: waits for its word where a case is held, fails where it is told to."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.wrong: dict[str, BratsError] = {}
        self.done: list[tuple[str, str]] = []
        self.sent: list[CaseRecord] = []
        self.gpus = 0
        self.started: list[str] = []
        self.busy = threading.Event()
        self.held.set()

    def __call__(self, setup: Setup) -> "Pretended":
        self.setup = setup
        self.started.append(setup.device)
        return self

    def start(self) -> None:
        pass

    revive = end = kill = start

    def ready(self) -> Ready:
        both = [
            Network(name="four", modalities=["t1n", "t1c", "t2w", "t2f"], regions=["WT"], slices=False),
            Network(name="again", modalities=["t1n", "t1c", "t2w", "t2f"], regions=["WT"], slices=False),
            Network(name="one", modalities=["t1c"], regions=["WT"], slices=True),
        ]
        speaks = ["4", "4", "1"]
        offered = [Offered(network=each, speaks=word) for each, word in zip(both, speaks, strict=True)]
        return Ready(networks=offered, gpus=self.gpus)

    def do(self, job: Job, *, tell: Callable[[str, float], None], stop: threading.Event, **_: float) -> Outcome:
        tell("Network", 40)
        self.sent.append(job.record)
        self.busy.set()
        while not self.held.wait(0.002):
            if stop.is_set():
                raise JobStoppedError
        self.done.append((job.record.name, job.work))
        if job.work in self.wrong:
            raise self.wrong[job.work]
        scores = {"WT": Scores(dice=1, iou=1, sensitivity=1, hd95_mm=0)} if job.work == "compare" else {}
        return Outcome(results=[MADE[job.work]], scores=scores, notes=["odd"] if job.work == "segment" else [])


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Pretended:
    made = Pretended()
    monkeypatch.setattr(queues, "WorkerProcess", made)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CaseStore]:
    made = CaseStore(tmp_path / "served", Limits())
    yield made
    made.close()


@pytest.fixture
def queue(worker: Pretended, store: CaseStore) -> Iterator[JobQueue]:
    made = opened(store)
    yield made
    worker.held.set()
    asyncio.run(made.close())


def opened(store: CaseStore, *, limits: Limits | None = None) -> JobQueue:
    queue = JobQueue(store, limits or Limits(), checkpoints={"four": Path("four.ckpt")}, devices=("cpu",))
    queue.start()
    return queue


def put(
    store: CaseStore,
    name: str = "p",
    *,
    kinds: tuple[Kind, ...] = ("t1n", "t1c", "t2w", "t2f"),
    ending: str = ".nii.gz",
) -> str:
    case = store.create(networks=["four"], needs=["t1n", "t1c", "t2w", "t2f"]).id
    for number, kind in enumerate(kinds):
        (store.files(case) / f"{number}{ending}").write_bytes(b"")
        file = FileRecord(id=str(number), name=f"{name}_{kind}{ending}", kind=kind, bytes=0, shape=(), spacing_mm=())
        store.add_file(case, file)
    return case


def settled(store: CaseStore, case: str, state: State = "done") -> CaseRecord:
    deadline = time.monotonic() + 5
    while (record := store.get(case)).state != state or record.working:
        assert time.monotonic() < deadline, record
        time.sleep(0.002)
    return record


def test_a_segmentation_is_followed_by_a_report_and_radiomics(
    store: CaseStore, worker: Pretended, queue: JobQueue
) -> None:
    case = put(store)

    queue.submit(case, "segment")
    record = settled(store, case)

    assert [work for _, work in worker.done] == ["segment", "report", "radiomics"]
    assert (record.percent, record.stage, record.position, record.notes) == (100, "", None, ["odd"])
    assert record.results == ["mask.nii.gz", "report.html", "radiomics.csv"]


def test_a_reference_is_compared_before_the_report_and_anew_when_it_comes_later(
    store: CaseStore, worker: Pretended, queue: JobQueue
) -> None:
    case = put(store, kinds=("t1n", "t1c", "t2w", "t2f", "seg"))
    queue.submit(case, "segment")
    assert settled(store, case).scores["WT"].dice == 1
    assert [work for _, work in worker.done] == ["segment", "compare", "report", "radiomics"]

    store.remove_file(case, "4")
    with pytest.raises(Refused, match="no reference"):
        queue.submit(case, "compare")
    (store.files(case) / "5.nii.gz").write_bytes(b"")
    store.add_file(case, FileRecord(id="5", name="s", kind="seg", bytes=0, shape=(), spacing_mm=()))
    queue.submit(case, "compare")
    record = settled(store, case)

    assert [work for _, work in worker.done][4:] == ["compare", "report"]
    assert record.results.count("scores.csv") == 1


def test_cases_wait_in_their_order_and_know_their_place(store: CaseStore, worker: Pretended, queue: JobQueue) -> None:
    worker.held.clear()
    first, *others = (put(store, name) for name in "abcd")
    for case in (first, *others):
        queue.submit(case, "segment")
        worker.busy.wait(5)

    assert [store.get(case).position for case in others] == [1, 2, 3]
    assert (store.get(first).state, store.get(first).stage, store.get(first).position) == ("running", "Network", None)
    queue.cancel(others[0])
    assert [store.get(case).position for case in others] == [None, 1, 2]
    worker.held.set()
    for case in (first, *others[1:]):
        settled(store, case)
    assert [name for name, work in worker.done if work == "segment"] == ["a", "c", "d"]


def test_what_is_cancelled_ends_at_once_and_can_be_started_again(
    store: CaseStore, worker: Pretended, queue: JobQueue
) -> None:
    worker.held.clear()
    case = put(store)
    queue.submit(case, "segment")
    assert worker.busy.wait(5)

    queue.cancel(case)

    assert store.get(case).state == "cancelled"
    with pytest.raises(Refused, match="nothing to cancel"):
        queue.cancel(case)
    worker.held.set()
    queue.submit(case, "segment")
    assert settled(store, case).error is None


def test_a_failure_says_why_and_stops_nobody_else(store: CaseStore, worker: Pretended, queue: JobQueue) -> None:
    worker.wrong = {"segment": BratsError(KILLED)}
    case = put(store, "a")
    queue.submit(case, "segment")
    assert settled(store, case, "failed").error == KILLED

    worker.wrong = {"compare": BratsError("another grid"), "radiomics": BratsError("too many levels")}
    other = put(store, "b", kinds=("t1n", "t1c", "t2w", "t2f", "seg"))
    queue.submit(other, "segment")
    record = settled(store, other)

    assert record.failed == {"compare": "another grid", "radiomics": "too many levels"}
    assert record.results == ["mask.nii.gz", "report.html"]
    worker.wrong = {}
    queue.submit(other, "compare")
    assert settled(store, other).failed == {"radiomics": "too many levels"}


def test_what_cannot_be_segmented_is_refused(store: CaseStore, queue: JobQueue) -> None:
    case = put(store, kinds=("t1n", "t1c"))

    with pytest.raises(Refused, match="no t2w, t2f among the files") as refused:
        queue.submit(case, "segment")

    assert (refused.value.status, store.get(case).state) == (422, "collecting")


def test_chosen_networks_are_kept_with_what_they_need(store: CaseStore, worker: Pretended, queue: JobQueue) -> None:
    ensemble, picture = put(store), put(store, kinds=("t1c",), ending=".png")

    queue.submit(ensemble, "segment", networks=["again", "four"])
    queue.submit(picture, "segment", networks=["one"])

    assert settled(store, ensemble).networks == ["four", "again"]
    assert (settled(store, picture).networks, store.get(picture).needs) == (["one"], ["t1c"])


def test_work_of_another_moment_is_refused(store: CaseStore, worker: Pretended, queue: JobQueue) -> None:
    case = put(store)
    with pytest.raises(Refused, match="no segmentation yet"):
        queue.submit(case, "report")
    with pytest.raises(Refused, match="no such case"):
        queue.submit("nobody", "segment")
    worker.held.clear()
    queue.submit(case, "segment")
    assert worker.busy.wait(5)
    with pytest.raises(Refused, match="it is being segmented") as refused:
        queue.submit(case, "segment")
    assert refused.value.status == 409
    worker.held.set()
    settled(store, case)
    with pytest.raises(Refused, match="open a new case"):
        queue.submit(case, "segment")


def test_no_more_wait_than_may(store: CaseStore, worker: Pretended) -> None:
    queue = opened(store, limits=Limits(queue=1))
    worker.held.clear()
    cases = [put(store) for _ in range(3)]
    queue.submit(cases[0], "segment")
    assert worker.busy.wait(5)
    queue.submit(cases[1], "segment")

    with pytest.raises(Refused, match="1 cases are waiting") as refused:
        queue.submit(cases[2], "segment")

    assert (refused.value.status, store.get(cases[2]).state) == (429, "collecting")
    asyncio.run(queue.close())


def test_an_erased_case_is_worked_on_no_more_and_leaves_nothing(
    store: CaseStore, worker: Pretended, queue: JobQueue
) -> None:
    worker.held.clear()
    running, waiting = put(store, "a"), put(store, "b")
    folder = store.folder(running)
    queue.submit(running, "segment")
    assert worker.busy.wait(5)
    queue.submit(waiting, "segment")

    store.erase(running)
    store.erase(waiting)
    (folder / "work").mkdir(parents=True)  # as a worker does that has not heard of it yet
    worker.held.set()
    other = put(store, "c")
    queue.submit(other, "segment")
    settled(store, other)

    assert {name for name, _ in worker.done} <= {"a", "c"}
    assert not folder.exists()


def test_a_new_server_goes_on_where_the_last_one_was(store: CaseStore, worker: Pretended) -> None:
    queue = opened(store)
    worker.held.clear()
    first, second = put(store, "a"), put(store, "b")
    for case in (first, second):
        queue.submit(case, "segment")
        assert worker.busy.wait(5)
    asyncio.run(queue.close())
    assert [store.get(case).state for case in (first, second)] == ["queued", "queued"]
    store.update(second, state="running")  # as if it had been killed in the middle of that one
    third = put(store, "c", kinds=("t1n", "t1c", "t2w", "t2f", "seg"))
    store.update(third, state="done", working=["report"])
    (store.folder(second) / "work").mkdir()
    worker.done.clear()
    worker.held.set()

    queue = opened(store)

    assert AGAIN in settled(store, second).notes
    assert AGAIN not in settled(store, first).notes
    assert settled(store, third).results == ["report.html"]
    assert [name for name, work in worker.done if work == "segment"] == ["b", "a"]
    assert not (store.folder(second) / "work").exists()
    asyncio.run(queue.close())
    store.update(second, state="running")
    queue = opened(store)
    assert store.get(second).error == TWICE
    asyncio.run(queue.close())


def test_a_report_with_a_reference_that_has_gone_is_made_again(
    store: CaseStore, worker: Pretended, queue: JobQueue
) -> None:
    case = put(store, kinds=("t1n", "t1c", "t2w", "t2f", "seg"))
    queue.submit(case, "segment")
    settled(store, case)
    worker.held.clear()
    worker.busy.clear()
    queue.submit(case, "report")
    assert worker.busy.wait(5)

    store.remove_file(case, "4")
    worker.held.set()
    settled(store, case)

    assert [len(record.files) for record in worker.sent[-2:]] == [5, 4]


def test_auto_takes_every_gpu_that_there_is(store: CaseStore, worker: Pretended) -> None:
    worker.gpus = 3
    queue = JobQueue(store, Limits(), checkpoints={}, devices=("auto",))
    queue.start()
    assert worker.started == ["auto", "cuda:1", "cuda:2", "cpu"]
    assert [network.name for network in queue.networks] == ["four", "again", "one"]
    asyncio.run(queue.close())
