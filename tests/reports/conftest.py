"""Fixtures of pictures and pages."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from matplotlib.figure import Figure

from tests.conftest import NO_WEBGL2

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OpenPage: TypeAlias = "Callable[..., Page]"


@pytest.fixture
def saved_figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure of Matplotlib's that is saved."""
    saved: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: Any, **settings: Any) -> None:
        saved.append(figure)
        save(figure, *args, **settings)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[OpenPage]:
    """Opens a file in a window of so many pixels, without WebGL2 where that is asked for.

    At the test's end no page may have asked for anything but itself, or have complained.
    """
    heard: list[str] = []
    opened: list[Page] = []

    def open_it(path: Path, *, width: int = 900, height: int = 900, webgl2: bool = True) -> "Page":
        page = browser.new_page(viewport={"width": width, "height": height})
        opened.append(page)
        if not webgl2:
            page.add_init_script(NO_WEBGL2)
        own = (path.as_uri(), "data:", "blob:")
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith(own) else heard.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_it
    for page in opened:
        page.close()
    assert heard == []
