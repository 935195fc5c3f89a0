"""The page before there is a result: files, the queue, who may come in. The network is a pretended one."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from brats_lightning.web.api.guards import Guards
from brats_lightning.web.api.tokens import Tokens
from brats_lightning.web.limits import Limits
from tests.web.conftest import Heard, OpenWindow
from tests.web.pretended import Served, nifti, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow
NAMES = ("p_t1.nii.gz", "p_t1ce.nii.gz", "p_t2.nii.gz", "p_flair.nii.gz")
Serve: TypeAlias = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers whose network takes so many seconds."""
    from contextlib import ExitStack  # noqa: PLC0415

    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(serving(tmp_path / "served", **settings))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for name in NAMES:
        (folder / name).write_bytes(nifti())
    return folder


def choose(page: "Page", *files: Path) -> None:
    page.set_input_files("#choose-files", files)


def start(page: "Page", folder: Path) -> None:
    choose(page, *(folder / name for name in NAMES))
    page.locator("#start:not(:disabled)").click()
    page.wait_for_selector("#run:not([hidden])")


def hinted(page: "Page", words: str) -> None:
    page.locator("#drop-hint", has_text=words).wait_for()


def drop(page: "Page", name: str, content: bytes) -> None:
    """What a browser does when a file is let go over its window."""
    page.evaluate(
        """([name, text]) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], name));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }""",
        [name, base64.b64encode(content).decode()],
    )


def test_files_are_recognised_shown_and_corrected(serve: Serve, open_window: OpenWindow, folder: Path) -> None:
    page = open_window(serve().url)
    begin = page.locator("#start")
    choose(page, *(folder / name for name in NAMES[:3]))
    page.wait_for_selector("#files li:nth-child(3)")
    hinted(page, "Missing: FLAIR.")
    assert begin.is_disabled()

    drop(page, "unheard_of.nii.gz", nifti())  # a name that says nothing
    row = page.locator("#files li", has_text="unheard_of.nii.gz")
    row.wait_for()
    assert row.locator("select").input_value() == ""
    assert "6 × 5 × 4 voxels of 1 × 1 × 1 mm" in row.inner_text()
    row.locator("select").select_option("FLAIR")
    page.wait_for_selector("#start:not(:disabled)")
    hinted(page, "All that is needed is here.")

    page.get_by_role("button", name="Remove p_t2.nii.gz").click()
    hinted(page, "Missing: T2.")
    assert begin.is_disabled()


def test_a_folder_is_taken_and_what_is_no_image_is_left_out(
    serve: Serve, open_window: OpenWindow, tmp_path: Path
) -> None:
    exam = tmp_path / "exam"
    exam.mkdir()
    for name in NAMES:
        (exam / name).write_bytes(nifti())
    (exam / "notes.txt").write_text("a patient's notes")
    (exam / ".DS_Store").write_bytes(b"x")
    served = serve()
    page = open_window(served.url)
    page.set_input_files("#choose-folder", exam)
    page.wait_for_selector("#start:not(:disabled)")
    assert page.locator("#notice").inner_text().startswith("Left out, as they are no images: notes.txt.")
    (record,) = served.store.all()
    assert sorted(file.name for file in record.files) == sorted(NAMES)
    choose(page, exam / "notes.txt")
    page.get_by_text("These are no NIfTI, PNG, JPEG, MAT or zip files: notes.txt").wait_for()


def test_a_refusal_is_shown_beside_its_file(
    serve: Serve, open_window: OpenWindow, heard: Heard, tmp_path: Path
) -> None:
    heard.expected = ["status of 4"]
    page = open_window(serve(limits=Limits(file_mb=0.001)).url)
    (tmp_path / "no_t1.nii.gz").write_bytes(b"<html></html>")
    (tmp_path / "large_t1.nii").write_bytes(bytes(2000))
    choose(page, tmp_path / "no_t1.nii.gz", tmp_path / "large_t1.nii")
    page.wait_for_selector("#sendings .refused >> nth=1")
    for row in page.locator("#sendings .refused").all():
        assert len(row.inner_text().split()) > 8, "a sentence is wanted"
    page.get_by_role("button", name="Dismiss no_t1.nii.gz").click()
    page.get_by_role("button", name="Dismiss large_t1.nii").click()
    assert page.locator("#sendings li").count() == 0


def test_a_job_is_cancelled_and_started_again(serve: Serve, open_window: OpenWindow, folder: Path) -> None:
    served = serve(seconds=20)
    page = open_window(served.url)
    start(page, folder)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_text("Cancelled. The files are still here.").wait_for()
    assert page.locator("#files li").count() == 4
    served.queue.seconds = 0.1
    page.locator("#start").click()
    page.wait_for_selector("#look:not([hidden])")


def test_a_reload_in_mid_job_and_a_closed_tab_lose_nothing(serve: Serve, open_window: OpenWindow, folder: Path) -> None:
    served = serve(seconds=4)
    page = open_window(served.url)
    start(page, folder)
    page.reload()
    page.wait_for_selector("#run:not([hidden])")
    assert page.locator("#case-name").inner_text()
    other = page.context.new_page()
    page.close()
    other.goto(served.url)
    other.locator("#recent a").click()
    other.wait_for_selector("#run:not([hidden])")
    other.wait_for_selector("#look:not([hidden])")
    assert "mask.nii.gz" in (other.get_by_role("link", name="Segmentation").get_attribute("href") or "")


def test_two_users_at_once_see_each_their_own(serve: Serve, open_window: OpenWindow, folder: Path) -> None:
    served = serve(seconds=1)
    one, other = open_window(served.url), open_window(served.url)
    start(one, folder)
    assert other.locator("#recent a").count() == 0
    choose(other, folder / NAMES[0])
    hinted(other, "Missing: T1 contrast, T2 and FLAIR.")
    one.wait_for_selector("#look:not([hidden])")
    assert other.locator("#drop").is_visible()
    assert other.locator("#files li").count() == 1
    start(other, folder)
    other.wait_for_selector("#look:not([hidden])")
    assert len(served.store.all()) == 2


def test_a_case_is_erased(serve: Serve, open_window: OpenWindow, folder: Path) -> None:
    served = serve(seconds=1)
    page = open_window(served.url)
    start(page, folder)
    page.wait_for_selector("#look:not([hidden])")
    page.get_by_role("button", name="Erase this case").click()
    page.get_by_role("button", name="Keep it").click()
    assert len(served.store.all()) == 1
    page.get_by_role("button", name="Erase this case").click()
    page.get_by_role("button", name="Erase", exact=True).click()
    page.get_by_text("The case has been erased from the server.").wait_for()
    assert served.store.all() == []
    assert page.locator("#recent a").count() == 0


def test_networks_are_chosen(serve: Serve, open_window: OpenWindow, folder: Path) -> None:
    served = serve()
    page = open_window(served.url)
    four, one = (page.locator(f'[name="network"][value="{name}"]') for name in ("four", "one"))
    assert four.is_checked()
    choose(page, folder / "p_flair.nii.gz")
    hinted(page, "Missing: T1, T1 contrast and T2.")
    one.check()
    four.uncheck()
    page.wait_for_selector("#start:not(:disabled)")
    assert served.store.all()[0].networks == ["one"]
    one.click()
    assert one.is_checked(), "one network must stay"


def test_the_keyboard_alone_is_enough(serve: Serve, open_window: OpenWindow, folder: Path) -> None:
    """Files are put by the picker of the browser, which a key on the button opens; the rest is keys."""
    served = serve(seconds=1)
    page = open_window(served.url)

    def reach(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if (
                page.evaluate("(document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()")
                == name
            ):
                return
        pytest.fail(f"Tab does not lead to {name!r}")

    reach("Choose files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files([folder / name for name in NAMES])
    page.wait_for_selector("#start:not(:disabled)")
    reach("What p_t1.nii.gz is")
    reach("Segment")
    page.keyboard.press("Enter")
    page.wait_for_selector("#run:not([hidden])")
    assert page.evaluate("document.activeElement.tagName") == "H1"
    page.wait_for_selector("#look:not([hidden])")
    reach("Erase this case")
    page.keyboard.press("Enter")
    reach("Erase")
    page.keyboard.press("Enter")
    page.get_by_text("The case has been erased").wait_for()


def test_a_token_is_asked_for_once(serve: Serve, open_window: OpenWindow, heard: Heard) -> None:
    heard.expected = ["401"]
    url = serve(guards=Guards(tokens=Tokens("sesame-opens-all"))).url
    page = open_window(f"{url}#token=sesame-opens-all")
    assert page.locator("#drop").is_visible()
    assert "token" not in page.url
    page.context.clear_cookies()
    page.reload()
    field = page.get_by_label("Token, as the server has printed it")
    field.fill("not-the-right-token")
    field.press("Enter")
    page.wait_for_selector("#login-error:not(:empty)")
    field.fill("sesame-opens-all")
    field.press("Enter")
    page.wait_for_selector("#drop:not([hidden])")
    page.reload()
    page.wait_for_selector("#drop:not([hidden])")


def test_the_end_of_the_server_is_said(serve: Serve, open_window: OpenWindow, heard: Heard, folder: Path) -> None:
    heard.expected = ["ERR_", "Failed to load"]
    served = serve(seconds=20)
    page = open_window(served.url)
    start(page, folder)
    served.server.should_exit = True
    page.get_by_text("The server cannot be reached at the moment").wait_for()
