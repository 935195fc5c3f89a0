from itertools import pairwise

import pytest

from brats_lightning.cluster.allocation import starting_place


def places(elements: list[int], ranks: int) -> list[float]:
    return [
        starting_place(
            {"SLURM_ARRAY_TASK_ID": str(element), "SLURM_STEP_NUM_TASKS": str(ranks), "SLURM_PROCID": str(rank)}
        )
        for element in elements
        for rank in range(ranks)
    ]


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("elements", [[0], [1, 2, 3], list(range(16)), list(range(100, 140))])
def test_processes_begin_far_from_each_other(elements: list[int], ranks: int) -> None:
    found = sorted(places(elements, ranks))
    gaps = [after - before for before, after in pairwise([*found, found[0] + 1])]
    assert min(gaps) > 0.2 / len(found)
    assert max(gaps) < 3.5 / len(found)


@pytest.mark.parametrize("elements", [[7, 8, 9, 30, 31], [0, 10, 20, 30], [4]])
def test_elements_of_an_array_may_have_any_numbers(elements: list[int]) -> None:
    found = places(elements, 3)
    assert len({round(place, 3) for place in found}) == len(found)
    assert all(0 <= place < 1 for place in found)


def test_one_alone_begins_at_the_beginning() -> None:
    assert starting_place({}) == 0
    assert starting_place({"RANK": "1", "WORLD_SIZE": "2"}) != 0
