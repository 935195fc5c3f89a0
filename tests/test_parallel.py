import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from brats_lightning import parallel
from brats_lightning.errors import BratsError
from brats_lightning.parallel import in_parallel


def square(number: int) -> int:
    return number**2


def die(number: int) -> int:
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("workers", [1, 2, 50])
def test_each_item_comes_with_its_result(workers: int) -> None:
    assert dict(in_parallel(square, range(4), workers=workers, doing="Squaring")) == {0: 0, 1: 1, 2: 4, 3: 9}
    assert dict(in_parallel(square, [], workers=workers, doing="Squaring")) == {}


def test_a_process_that_is_killed_is_named() -> None:
    with pytest.raises(BratsError, match="one of 2 processes was killed, often for want of memory: fewer --workers"):
        list(in_parallel(die, range(4), workers=2, doing="Dying"))


@pytest.mark.parametrize(("items", "workers", "started"), [(2, 8, [2]), (3, 1, []), (0, 8, [])])
def test_no_more_processes_start_than_there_are_items(
    monkeypatch: pytest.MonkeyPatch, items: int, workers: int, started: list[int]
) -> None:
    asked: list[int] = []

    def pool(count: int, **_options: object) -> ThreadPoolExecutor:
        asked.append(count)
        return ThreadPoolExecutor(count)

    monkeypatch.setattr(parallel, "ProcessPoolExecutor", pool)
    assert len(list(in_parallel(square, range(items), workers=workers, doing="Squaring"))) == items
    assert asked == started
