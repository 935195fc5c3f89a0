"""The line in which work waits, and the work that is being done."""

import itertools
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from brats_lightning.web.records import Work

FIRST: Mapping[Work, int] = {"segment": 0, "compare": 1, "report": 2, "radiomics": 3}
"""What comes first: somebody waits for a segmentation."""


@dataclass(frozen=True, order=True)
class Turn:
    """Work on a case, in the order in which it is done.

    Args:
        rank: Of the kind of work.
        number: Of the request.
        case: On which it is done.
        work: What is done.
        stop: Set to end it.
    """

    rank: int
    number: int
    case: str = field(compare=False)
    work: Work = field(compare=False)
    stop: threading.Event = field(compare=False, default_factory=threading.Event)


class Line:
    """What waits and what is being done. Every method may be called from any thread.

    No two works on one case are done at once.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._waiting: list[Turn] = []
        self._running: dict[str, Turn] = {}
        self._changed = threading.Condition()
        self.closed = False
        """Whether no more turns are given out."""

    def add(self, case: str, work: Work) -> None:
        """Have work wait, unless the same work on the case waits already."""
        with self._changed:
            if not any(turn.case == case and turn.work == work for turn in self._waiting):
                self._waiting.append(Turn(FIRST[work], next(self._numbers), case, work))
                self._waiting.sort()
                self._changed.notify_all()

    def take(self, works: Collection[Work] = tuple(FIRST)) -> Turn | None:
        """The next turn of these kinds of work, once there is one; None when the line has been closed."""
        with self._changed:
            while not self.closed:
                for turn in self._waiting:
                    if turn.work in works and turn.case not in self._running:
                        self._waiting.remove(turn)
                        self._running[turn.case] = turn
                        return turn
                self._changed.wait()
            return None

    def finished(self, turn: Turn) -> None:
        """A turn is over, whatever came of it."""
        with self._changed:
            del self._running[turn.case]
            self._changed.notify_all()

    def drop(self, case: str) -> None:
        """Forget what waits for a case, and end what is being done on it."""
        with self._changed:
            self._waiting = [turn for turn in self._waiting if turn.case != case]
            if case in self._running:
                self._running[case].stop.set()

    def cases(self, work: Work) -> list[str]:
        """Cases for which this work waits, the next one first."""
        with self._changed:
            return [turn.case for turn in self._waiting if turn.work == work]

    def close(self) -> None:
        """Give out no more turns, and end those that are taken."""
        with self._changed:
            self.closed = True
            for turn in self._running.values():
                turn.stop.set()
            self._changed.notify_all()
