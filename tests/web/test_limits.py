import pickle
from dataclasses import fields
from typing import Any

import pytest

from brats_lightning.errors import ConfigError
from brats_lightning.web.limits import Limits, Refused


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_lets_nothing_or_everything_through_is_refused_by_name(name: str, value: float) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(ConfigError, match=rf"limits\.{name} is {value}"):
        Limits(**given)


def test_a_megabyte_is_a_million_bytes() -> None:
    limits = Limits(file_mb=1.5, case_mb=2, unpacked_mb=3, voxels_millions=0.25)
    assert (limits.file_bytes, limits.case_bytes, limits.unpacked_bytes, limits.voxels) == (
        1_500_000,
        2_000_000,
        3_000_000,
        250_000,
    )


def test_a_refusal_keeps_status_and_sentence_on_its_way_between_processes() -> None:
    back = pickle.loads(pickle.dumps(Refused(413, "too large")))  # noqa: S301 - made in this line
    assert (back.status, str(back)) == (413, "too large")
