import json
from typing import Any

import pytest
import torch.distributed as dist

from brats_lightning.model.agreement import Agreement, control_group, gathered, is_shared, leave_together, meet


def test_a_process_alone_gets_its_own_wishes_at_once() -> None:
    agreement = Agreement(2)
    for wishes in ([True, False], [False, False], [False, True]):
        assert agreement.vote(wishes) == wishes
        assert agreement.settle(wishes) == wishes


def test_a_process_alone_waits_for_nobody() -> None:
    assert not is_shared()
    assert control_group() is None
    assert gathered({"a": 1}) == [{"a": 1}]
    meet()
    leave_together()
    assert not dist.is_initialized()


@pytest.mark.slow
def test_what_one_process_wishes_all_hear_one_step_later(two_processes: list[dict[str, Any]]) -> None:
    """Rank 0 asks the first question at the second step, rank 1 the second one at the third."""
    first, second = two_processes
    assert first["votes"] == second["votes"]
    assert first["votes"] == [[False, False], [False, False], [True, False], [False, True]]


@pytest.mark.slow
def test_settling_hears_what_is_on_its_way_and_what_is_wished_now_and_then_nothing(
    two_processes: list[dict[str, Any]],
) -> None:
    for found in two_processes:
        assert found["settled"] == [[True, True], [False, False]]


@pytest.mark.slow
def test_objects_are_gathered_in_the_order_of_ranks(two_processes: list[dict[str, Any]]) -> None:
    for found in two_processes:
        assert found["gathered"] == [{"rank": 0}, {"rank": 1}]
        assert found["one_group"]


@pytest.mark.slow
def test_processes_leave_together_and_are_alone_before_and_after(two_processes: list[dict[str, Any]]) -> None:
    for found in two_processes:
        assert json.dumps(found["alone"]) == "[false, true]"
        assert found["left"]


@pytest.mark.slow
def test_random_numbers_of_each_process_come_back(two_processes: list[dict[str, Any]]) -> None:
    drawn = [found["random"] for found in two_processes]
    for one, other in zip(drawn[0]["drawn"], drawn[1]["drawn"], strict=True):
        assert one != other
    for found in drawn:
        assert found["again"] == found["following"]
