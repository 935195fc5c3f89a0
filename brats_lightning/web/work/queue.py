"""The queue of work on cases: what comes next, who does it, and what becomes of the case."""

import asyncio
import logging
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from brats_lightning.errors import BratsError
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits, Refused
from brats_lightning.web.records import CaseRecord, Network, Work
from brats_lightning.web.work.admission import needs_of, require_networks, require_startable
from brats_lightning.web.work.line import Line, Turn
from brats_lightning.web.work.messages import Job, Offered, Outcome, Ready, Setup, WorkOptions
from brats_lightning.web.work.outcomes import (
    asked_for,
    ended,
    following,
    has_reference,
    queued,
    same_inputs,
    went_wrong,
)
from brats_lightning.web.work.worker_process import JobStoppedError, WorkerProcess

AGAIN = "the server ended while it worked on this case, and began again with it"
ON_DEVICES: tuple[Work, ...] = ("segment",)
BESIDES: tuple[Work, ...] = ("compare", "report", "radiomics")
"""What needs no network has a worker of its own: somebody's radiomics, which may take minutes, keep no device busy."""
TWICE = "the server ended twice while it worked on this case: take a smaller one, or ask who runs the server"
_log = logging.getLogger(__name__)


class JobQueue:
    """Work on cases, done by a worker process for each device and one for what needs none.

    Its methods may be called from any thread.

    Args:
        store: Of the cases.
        limits: How much may wait, and how long a job may take.
        checkpoints: Files or folders by the names of the networks that are offered.
        devices: As PyTorch names them, a worker for each; `auto` alone is every GPU there is, or else the CPU.
        trust: Packages whose networks may be imported.
        options: How to predict.
    """

    def __init__(
        self,
        store: CaseStore,
        limits: Limits,
        *,
        checkpoints: Mapping[str, Path],
        devices: Sequence[str] = ("auto",),
        trust: Sequence[str] = (),
        options: WorkOptions | None = None,
    ) -> None:
        self._store = store
        self._limits = limits
        self._setups = [Setup(dict(checkpoints), device, tuple(trust), options or WorkOptions()) for device in devices]
        self._workers: list[WorkerProcess] = []
        self._threads: list[threading.Thread] = []
        self._offered: dict[str, Offered] = {}
        self._line = Line()
        self._lock = threading.RLock()
        self._positions: dict[str, int] = {}

    @property
    def networks(self) -> list[Network]:
        """Networks that are offered, known once the workers have opened them."""
        return [offered.network for offered in self._offered.values()]

    @property
    def processes(self) -> list[int]:
        """Process ids of the workers, that of what needs no network last."""
        return [worker.process_id for worker in self._workers if worker.process_id is not None]

    def start(self) -> None:
        """Start the workers, wait until they have opened the networks, and go on with what an earlier server left.

        Raises:
            BratsError: A network cannot be opened, or a device is none.
        """
        try:
            ready = self._launch(self._setups)
            if [setup.device for setup in self._setups] == ["auto"] and ready.gpus > 1:
                others = [replace(self._setups[0], device=f"cuda:{index}") for index in range(1, ready.gpus)]
                self._launch(others)
        except BaseException:
            for worker in self._workers:
                worker.kill()
            raise
        self._offered = {offered.network.name: offered for offered in ready.networks}
        self._store.when_erased.append(self.forget)
        self._go_on()
        besides = WorkerProcess(replace(self._setups[0], checkpoints={}, device="cpu"))
        besides.start()  # and nobody waits for it yet
        for worker in self._workers:
            self._begin(worker, ON_DEVICES)
        self._begin(besides, BESIDES)
        self._workers.append(besides)

    def _begin(self, worker: WorkerProcess, works: Sequence[Work]) -> None:
        thread = threading.Thread(
            target=self._serve, args=(worker, works), name=f"queue-{worker.setup.device}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    async def close(self) -> None:
        """End the workers; what they were busy with is what the next server begins with."""
        self._line.close()
        for worker in self._workers:
            worker.end()
        for thread in self._threads:
            await asyncio.to_thread(thread.join)
        for worker in self._workers:  # one may have been started anew in this moment
            worker.end()
        for record in self._store.all():
            if record.state == "running":
                self._update(record.id, state="queued", stage="", percent=0)

    def submit(self, case: str, work: Work, *, networks: Sequence[str] | None = None) -> None:
        """Have work wait for its turn. After a segmentation the rest follows by itself, a report after a comparison.

        Args:
            case: Its id.
            work: What to do.
            networks: That segment it; None takes those of its record, or else the first that is offered.

        Raises:
            Refused: There is no such case, something of it is missing or not of this moment, or too much waits.
        """
        with self._lock:
            record = self._store.get(case)
            if work != "segment":
                self._require_done(record, work)
                self._add(case, work)
                return
            chosen = require_networks(record.networks if networks is None else networks, self._offered)
            require_startable(record, chosen, self._offered)
            self._require_room()
            needs = needs_of(chosen, self._offered)
            self._store.update(case, **queued(chosen), needs=needs)
            self._line.add(case, work)
            self._tell_positions()

    def cancel(self, case: str) -> None:
        """Take a case out of the queue, or end what is being done on it; within two seconds nothing of that is left.

        Raises:
            Refused: There is no such case, or nothing is being done on it.
        """
        with self._lock:
            record = self._store.get(case)
            waits = record.state in {"queued", "running"}
            if not waits and not record.working:
                raise Refused(409, "there is nothing to cancel: the case neither waits nor is being worked on")
            self._line.drop(case)
            if waits:
                self._store.update(case, state="cancelled", stage="", percent=0, position=None)
            else:
                self._store.update(case, working=[])
            self._tell_positions()

    def forget(self, case: str) -> None:
        """A case was erased: nothing more is done on it."""
        with self._lock:
            self._line.drop(case)
            self._tell_positions()

    def _launch(self, setups: Sequence[Setup]) -> Ready:
        """Start workers side by side; what the last of them says."""
        workers = [WorkerProcess(setup) for setup in setups]
        self._workers += workers
        for worker in workers:
            worker.start()
        return [worker.ready() for worker in workers][-1]

    def _go_on(self) -> None:
        """Put what an earlier server left into the line; what it was busy with comes first."""
        left = sorted(self._store.all(), key=lambda record: (record.state != "running", record.created))
        for record in left:
            shutil.rmtree(self._store.folder(record.id) / "work", ignore_errors=True)
            if record.state == "running" and AGAIN in record.notes:
                self._store.update(record.id, **went_wrong(record, "segment", TWICE))
            elif record.state in {"queued", "running"}:
                notes = [*record.notes, *[AGAIN] * (record.state == "running")]
                self._store.update(record.id, state="queued", stage="", percent=0, notes=notes)
                self._line.add(record.id, "segment")
            for work in record.working:
                self._line.add(record.id, work)
        self._tell_positions()

    def _require_done(self, record: CaseRecord, work: Work) -> None:
        if record.state != "done":
            raise Refused(409, "the case has no segmentation yet: start it, and wait until it is done")
        if work == "compare" and not has_reference(record):
            raise Refused(422, "there is no reference segmentation among the files of the case: add one")

    def _require_room(self) -> None:
        if len(self._line.cases("segment")) >= self._limits.queue:
            raise Refused(429, f"{self._limits.queue} cases are waiting, more may not: try again in a few minutes")

    def _add(self, case: str, work: Work) -> None:
        self._store.update(case, **asked_for(self._store.get(case), work))
        self._line.add(case, work)

    def _tell_positions(self) -> None:
        """Tell each waiting case where it stands, if that has changed."""
        now = {case: number for number, case in enumerate(self._line.cases("segment"), start=1)}
        for case, position in now.items():
            if self._positions.get(case) != position:
                self._update(case, position=position)
        self._positions = now

    def _update(self, case: str, **changes: object) -> None:
        """As the store's; a case that has gone needs no word."""
        try:
            self._store.update(case, **changes)
        except Refused:
            self._line.drop(case)

    def _serve(self, worker: WorkerProcess, works: Sequence[Work]) -> None:
        """Have a worker do one thing of its kinds after the other; a thread's whole life."""
        while (turn := self._line.take(works)) is not None:
            with suppress(Refused):  # the case has gone
                self._work_off(worker, turn)
            self._line.finished(turn)
            if not self._line.closed:
                worker.revive()

    def _work_off(self, worker: WorkerProcess, turn: Turn) -> None:
        """Have one thing done, and put down what came of it."""
        folder = self._store.folder(turn.case)
        with self._lock:
            record = self._store.get(turn.case)
            if turn.stop.is_set():
                return
            if turn.work == "segment":
                record = self._store.update(turn.case, state="running", position=None, stage="Starting", percent=0)
            self._tell_positions()

        def tell(stage: str, percent: float) -> None:
            if turn.work == "segment":
                self._update(turn.case, stage=stage, percent=percent)

        job = Job(work=turn.work, folder=str(folder), record=record)
        try:
            outcome = worker.do(job, tell=tell, stop=turn.stop, seconds=self._limits.job_minutes * 60)
            self._conclude(turn, record, outcome)
        except (JobStoppedError, Refused):
            pass
        except BratsError as error:
            self._conclude(turn, record, str(error))
        except OSError as error:
            _log.warning("a worker could not be started (%s)", error.strerror)
            self._conclude(turn, record, f"the server could not start a process ({error.strerror}): try again later")
        finally:
            self._sweep(turn.case, folder)

    def _conclude(self, turn: Turn, before: CaseRecord, outcome: Outcome | str) -> None:
        """Put down what came of work, and what follows; a string is why it could not be done."""
        with self._lock:
            if turn.stop.is_set():
                return
            record = self._store.get(turn.case)
            if turn.work == "report" and not same_inputs(record, before):
                self._line.add(turn.case, turn.work)  # its reference was changed in the meantime
                return
            if isinstance(outcome, Outcome):
                changes = ended(record, turn.work, outcome)
            else:
                changes = went_wrong(record, turn.work, outcome)
            more = following(record.model_copy(update=dict(changes)), turn.work)
            for work in more:  # in the same change: no moment between in which nothing is being done
                changes |= asked_for(record.model_copy(update=dict(changes)), work)
            self._store.update(turn.case, **changes)
            for work in more:
                self._line.add(turn.case, work)

    def _sweep(self, case: str, folder: Path) -> None:
        """Remove what work has left half done; of a case that has gone, everything."""
        try:
            self._store.get(case)
            shutil.rmtree(folder / "work", ignore_errors=True)
        except Refused:
            shutil.rmtree(folder, ignore_errors=True)
