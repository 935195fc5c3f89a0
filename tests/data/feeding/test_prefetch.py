import threading

import pytest

from brats_lightning.data.feeding.prefetch import prefetched


def prefetching_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_all_come_in_order() -> None:
    assert list(prefetched(lambda number: number**2, range(20))) == [number**2 for number in range(20)]
    assert list(prefetched(str, [])) == []
    assert not prefetching_threads()


def test_the_next_is_made_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(5)]
    items = prefetched(lambda number: made[number].set(), range(5), ahead=2)
    next(items)
    assert made[1].wait(10)
    assert made[2].wait(10)
    assert not made[3].is_set()  # nor are more of them asked for
    items.close()  # type: ignore[attr-defined]


def test_an_error_comes_in_its_place() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    items = prefetched(make, range(5))
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(items)
    assert not prefetching_threads()


def test_leaving_early_leaves_no_thread() -> None:
    items = prefetched(str, range(100))
    next(items)
    assert prefetching_threads()
    items.close()  # type: ignore[attr-defined]
    assert not prefetching_threads()
