"""Cases on many processes, with a progress bar."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

from rich.progress import track

from brats_lightning.errors import BratsError

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    function: Callable[[Item], Result], items: Sequence[Item], *, workers: int, doing: str
) -> Iterator[tuple[Item, Result]]:
    """Call a function on every item, and give each with its result as soon as that is there.

    Args:
        function: Of a module, so that other processes find it.
        items: Can be sent to other processes.
        workers: Processes; one works here.
        doing: Beside the progress bar.

    Raises:
        BratsError: A process was killed.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        for item in track(items, description=doing, transient=True):
            yield item, function(item)
        return
    context = get_context("forkserver")
    # Imported once and forked, where each worker would import PyTorch and the rest by itself; without effect on a
    # server that is there already.
    context.set_forkserver_preload([_home_of(function)])
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting = {pool.submit(function, item): item for item in items}
        try:
            for future in track(as_completed(waiting), total=len(waiting), description=doing, transient=True):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise BratsError(
                f"one of {workers} processes was killed, often for want of memory: fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def lost_a_worker(error: BaseException) -> bool:
    """Whether an error of PyTorch's loader says that one of its processes was killed, which it says in words alone."""
    text = str(error)
    return text.startswith("DataLoader worker (pid") and any(word in text for word in ("killed", "exited unexpectedly"))


def _home_of(function: Callable[..., object]) -> str:
    return _home_of(function.func) if isinstance(function, partial) else function.__module__
