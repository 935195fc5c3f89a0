"""Making the next items while one is used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")


def prefetched(make: Callable[[Given], Made], given: Iterable[Given], *, ahead: int = 2) -> Iterator[Made]:
    """What `make` makes of each, in order, made by one thread before it is asked for.

    An error comes where its item would have come. Leaving early waits for at most the item that is being made.

    Args:
        make: Called in the thread.
        given: Read in the caller's thread.
        ahead: Most items that are made and not yet used.
    """
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        for one in given:
            waiting.append(pool.submit(make, one))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
