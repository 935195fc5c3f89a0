from pathlib import Path

import pytest

from brats_lightning.reports.html.page import page
from brats_lightning.reports.html.written import remove_files_of, write_page


def test_a_page_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_page(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_page(path, "after \ud800")
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_what_was_made_with_a_page_goes_and_nothing_else(tmp_path: Path) -> None:
    path, folder = tmp_path / "report.html", tmp_path / "report"
    folder.mkdir()
    for name in ('a "b".png', "mine.png"):
        (folder / name).touch()
    remove_files_of(path, folder=folder)  # there is no page yet
    write_page(path, page("Run", [], beside=['a "b".png', "gone.png", "../report.html", ".."]))
    remove_files_of(path, folder=folder)
    assert [file.name for file in folder.iterdir()] == ["mine.png"]
    assert path.is_file()


@pytest.mark.parametrize("content", ["[", "null", "[1]"])
def test_a_page_of_somebody_else_names_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.html"
    path.write_text(f'<meta name="files-beside" content="{content}">')
    remove_files_of(path, folder=tmp_path)
    assert path.is_file()
