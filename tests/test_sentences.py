"""Errors quote what files hold, and stay sentences."""

import pickle

import pytest

from brats_lightning.errors import LONGEST_SENTENCE, BratsError, ConfigError, DatasetError, Problem


@pytest.mark.parametrize(
    "quoted", ["a\nb", "c\x00a\x00s\x00e", "\x1b[31mred", "\ud800", "\u202eevil", "a\r\n\tb", "\x85"]
)
def test_what_a_file_holds_breaks_no_line_and_no_terminal(quoted: str) -> None:
    for text in (
        str(ConfigError(f"found {quoted}: remove it")),
        str(DatasetError(Problem("a", quoted, "odd", "go on"))),
    ):
        assert text.isprintable()
        text.encode()


def test_of_what_is_too_long_the_cure_remains() -> None:
    text = str(BratsError(f"x.csv has the columns {'y' * 10_000}: expected case and region"))
    assert text.startswith("x.csv has the columns yyy")
    assert text.endswith(": expected case and region")
    assert len(text) <= LONGEST_SENTENCE


def test_several_problems_keep_a_line_each() -> None:
    error = DatasetError([Problem(name, "f\n.nii", "odd", "look") for name in "ab"])
    assert str(error).splitlines() == ["2 problems in 2 cases:", "  a, f .nii: odd; look", "  b, f .nii: odd; look"]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
