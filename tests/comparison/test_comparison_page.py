import html
import re
from pathlib import Path

import pytest
from PIL import Image

from brats_lightning.comparison.compared import Compared
from brats_lightning.comparison.comparison_page import CURVES, PICTURE, comparison_page
from brats_lightning.comparison.members import Member
from brats_lightning.comparison.paired_tests import PairedTest
from brats_lightning.comparison.ranking import Standing
from brats_lightning.comparison.results import Comparison
from brats_lightning.comparison.run_table import MOST_SETTINGS, print_compared
from brats_lightning.reports.run.history import history_of

NAMES = ("net <b>", "b")


def scored(*, p_holm: float, interval: tuple[float, float] = (0.1, 0.3)) -> Comparison:
    test = PairedTest(
        *NAMES, "ET", "dice", "higher", {"1": 0.1, "2": 0.3}, undefined=1, means=(0.7, 0.5), interval=interval,
        p=p_holm / 2, balance=1.0, exact=True, used=2, p_holm=p_holm, smallest_p_holm=0.001,
    )  # fmt: skip
    return Comparison(
        NAMES, ("1", "2", "3"), {}, {"empty_masks": ("nan",)}, False, (test,), (("ET", "dice"),),
        (Standing("net <b>", 1, 1.25, 0.0001), Standing("b", 2, 1.75, None)), ("A note.",), 0.05,
    )  # fmt: skip


def member(name: str, rate: str, count: int = 1) -> Member:
    rows = [{"step": step, "epoch": step, "val/dice_ET": 0.1 * step} for step in range(4)]
    settings = {"model": {f"setting_{number}": rate for number in range(count)}}
    return Member(name, Path("runs") / name, settings, history_of(rows), notes=["split.json is missing."])


def words(text: str) -> str:
    text = re.sub(r"<style>.*?</style>|base64,[^\"]*", "", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (CURVES, PICTURE):
        Image.new("RGB", (10, 10)).save(tmp_path / name)
    return tmp_path


def test_statistics_and_runs_stand_on_the_page(folder: Path) -> None:
    found = Compared(NAMES, (Path("a"), Path("b")), (member("net <b>", "1"), member("b", "2")), scored(p_holm=0.01))
    said = words(comparison_page(found, folder))
    for sentence in (
        "Comparison of 2 runs", "net <b> is better in Dice of ET", "A note.", "net <b>: split.json is missing.",
        "setting A · net <b> B · b model.setting_0 1 2", "Dice ET 0.300 / 0.300 0.300 / 0.300",
        "ET 0.700 0.500 +0.200 +0.100 … +0.300 2 2 / 0 / 0 0.005 0.010 A", "1 net <b> 1.250 <0.001",
        "Cases that differ most: net <b> against b case mean ET 2 +0.300 +0.300 1 +0.100 +0.100",
        "Dice, A − B; the mean is over ET.",
    ):  # fmt: skip
        assert sentence in said


def test_what_is_not_shown_is_not_claimed(folder: Path) -> None:
    found = Compared(NAMES, (Path("a.csv"), Path("b.csv")), scores=scored(p_holm=0.2))
    said = words(comparison_page(found, folder))
    assert "Comparison of 2 methods" in said
    assert "No difference is shown at 0.05 in any of 1 tests over 3 cases. That does not show that" in said
    assert "is better in" not in said


def test_letters_go_on_as_numbers() -> None:
    names = tuple(f"run-{number}" for number in range(28))
    assert list(Compared(names, tuple(map(Path, names))).letters.values())[-3:] == ["Z", "27", "28"]


def test_without_scores_the_page_has_no_statistics(folder: Path) -> None:
    members = (member("net <b>", "1"), member("b", "1"))
    found = Compared(NAMES, (Path("a"), Path("b")), members, notes=("There are no paired statistics: why.",))
    text = comparison_page(found, folder)
    assert "There are no paired statistics: why." in text
    assert "The runs have the same settings." in text
    assert "Case by case" not in text
    assert text.count("<img ") == 1


def test_the_terminal_shows_the_first_settings_and_counts_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    members = tuple(member(name, name * 40, count=MOST_SETTINGS + 3) for name in "ab")
    print_compared(Compared(("a", "b"), (Path("a"), Path("b")), members))
    printed = capsys.readouterr().out
    assert "… and 3 more: --output writes all of them" in printed
    assert printed.count("model.setting_") == MOST_SETTINGS
    assert "a" * 27 + "…" in printed
    assert "• a: split.json is missing." in printed
