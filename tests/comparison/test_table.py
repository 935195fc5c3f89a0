import io

import pytest
from rich.console import Console

from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.comparison.ranking import Standing
from brats_lightning.comparison.results import Comparison
from brats_lightning.comparison.table import p_text, print_comparison

TEST = PairedTest(
    "net [bold]", "b", "ET", "hd95_mm", "lower", {"1": -1.5, "2": 0.0, "3": -0.25}, undefined=1, means=(3.0, 3.5833),
    interval=(-1.5, 0.0), p=0.5, balance=-1.0, exact=True, used=2, p_holm=0.75, smallest_p_holm=0.5,
)  # fmt: skip
COMPARISON = Comparison(
    ("net [bold]", "b"), ("1", "2", "3", "4"), {}, {"empty_masks": ("nan",)}, False, (TEST,), (("ET", "hd95_mm"),),
    (Standing("net [bold]", 1, 1.25, 0.0001), Standing("b", 2, 1.75, None)), ("A note.",), 0.05,
)  # fmt: skip


@pytest.fixture
def printed() -> str:
    console = Console(file=io.StringIO(), width=80, markup=False)
    print_comparison(COMPARISON, letters={"net [bold]": "A", "other": "B", "b": "C"}, console=console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_row_holds_means_difference_interval_counts_and_p(printed: str) -> None:
    assert "A − C" in printed
    assert "4 cases in common · empty_masks nan" in printed
    assert "hd95_mm, lower is better" in printed
    (row,) = [line for line in printed.splitlines() if line.startswith("ET ")]
    assert " ".join(row.split()) == "ET 3.00 3.58 -0.58 -1.50 … +0.00 3 2/1/0 0.500 0.750 too few"


def test_the_ranking_and_the_notes_follow(printed: str) -> None:
    rows = [line.split() for line in printed.splitlines()]
    assert ["1", "net", "[bold]", "1.250", "<0.001"] in rows
    assert ["2", "b", "1.750"] in rows
    assert printed.endswith("• A note.\n")
    assert max(map(len, printed.splitlines())) <= 80
    assert "…" not in printed.replace(" … ", "")  # nothing was cut off


def test_p_values_have_three_decimals_and_are_never_zero() -> None:
    assert [p_text(p) for p in (1.0, 0.03125, 0.0005, 0.0004)] == ["1.000", "0.031", "0.001", "<0.001"]
