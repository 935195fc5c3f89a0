"""A real server with a small network, and windows of a real browser."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import torch
from torch import nn

from brats_lightning.data.preprocessing import Preprocessing
from tests.conftest import NO_WEBGL2
from tests.web.put_cases import write_network

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

STARTS_SECONDS = 120
BY_BRIGHTNESS: dict[str, Any] = {
    "class_path": "monai.networks.blocks.Convolution",
    "init_args": {"spatial_dims": 3, "in_channels": 4, "out_channels": 4, "kernel_size": 1, "conv_only": True},
}
OpenWindow: TypeAlias = "Callable[..., Page]"


@dataclass(frozen=True)
class Server:
    """A server in a process of its own.

    Args:
        url: Of its page.
        checkpoint: Of the network that it offers.
    """

    url: str
    checkpoint: Path


def _tells_by_brightness(network: nn.Module) -> None:
    """Oedema where FLAIR is bright, enhancement where T1 contrast is: a tumour that can be looked at."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        weight, bias = network.conv.weight, network.conv.bias  # type: ignore[union-attr]
        weight[2, 3], bias[2] = 4, -6  # type: ignore[operator]
        weight[3, 1], bias[3] = 6, -15  # type: ignore[operator]
        bias[1] = -20  # type: ignore[operator]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`brats serve`, until the last test has ended."""
    folder = tmp_path_factory.mktemp("serve")
    checkpoint = write_network(
        folder / "by brightness.ckpt",
        network=BY_BRIGHTNESS,
        preprocessing=Preprocessing(size=(64, 64, 64)),
        change=_tells_by_brightness,
    )
    command = [sys.executable, "-m", "brats_lightning", "serve", f"--checkpoint={checkpoint}", "--port=0"]
    command += [f"--folder={folder / 'cases'}", "--device=cpu"]
    log = folder / "log"
    with (
        log.open("w") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        address = next((line.removeprefix("Open ").strip() for line in lines if line.startswith("Open ")), None)
        if address is None:
            pytest.fail(f"brats serve did not start: {log.read_text()[-2000:]}")
        yield Server(address, checkpoint)
        process.terminate()
        process.wait(30)


@dataclass
class Heard:
    """What windows said or asked for that they should not have.

    Args:
        expected: Parts of messages that a test brings about, such as the browser's own word on a refusal.
    """

    expected: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def hear(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.heard.append(text)

    def listen(self, page: "Page", url: str) -> None:
        own = (url, "data:", f"blob:{url}")
        page.on("console", lambda said: self.hear(said.text))
        page.on("pageerror", lambda error: self.hear(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(own) else self.hear(asked.url))


@pytest.fixture
def heard() -> Iterator[Heard]:
    """At the test's end no window may have complained, or have asked anybody but its server."""
    heard = Heard()
    yield heard
    assert heard.heard == []


@pytest.fixture
def open_window(browser: "Browser", heard: Heard) -> Iterator[OpenWindow]:
    """Opens a page as a user of their own: in a window of so many pixels, without WebGL2 where that is asked for."""
    contexts: list[BrowserContext] = []

    def open_it(url: str, *, width: int = 1200, height: int = 900, webgl2: bool = True, phone: bool = False) -> "Page":
        size = {"width": 390, "height": 844} if phone else {"width": width, "height": height}
        context = browser.new_context(viewport=size, has_touch=phone, is_mobile=phone, accept_downloads=True)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        if not webgl2:
            page.add_init_script(NO_WEBGL2)
        heard.listen(page, url.partition("#")[0])
        page.goto(url)
        page.wait_for_selector("body[data-ready]")
        return page

    yield open_it
    for context in contexts:
        context.close()
