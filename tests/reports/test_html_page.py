"""What a page says, and that nothing in it can be anything but text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from brats_lightning.reports.html import parts
from brats_lightning.reports.html.page import Section, page

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Reader(HTMLParser):
    """Elements with their attributes, and texts, as a browser would find them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def every_part() -> parts.Html:
    return parts.joined(
        parts.paragraph(EVIL),
        parts.notice(EVIL),
        parts.listing([EVIL]),
        parts.facts({EVIL: EVIL}),
        parts.table([EVIL, "b"], [[EVIL, EVIL]], caption=EVIL),
        parts.details(EVIL, parts.preformatted(EVIL)),
    )


def test_no_text_becomes_markup() -> None:
    found = Reader(page(EVIL, [Section(EVIL, every_part(), data={"facts": {EVIL: EVIL}})], subtitle=EVIL))
    assert not found.open
    assert not found.all("img")
    assert [script.get("type") for script in found.all("script")] == ["application/json"]
    assert json.loads(next(text for tag, text in found.texts if tag == "script")) == {EVIL: EVIL}
    in_head_and_contents, in_parts = 5, 11  # title, h1, subtitle, contents, h2; the parts above
    assert sum(text == EVIL for _, text in found.texts) == in_head_and_contents + in_parts


def test_only_scripts_that_were_given_may_run_and_each_runs_once() -> None:
    first, second = "let a = 1 < 2;\n", "a += 1; // Größe"
    text = page(
        "t",
        [Section("A", parts.paragraph("a"), scripts=(first, second)), Section("B", parts.Html(""), scripts=(first,))],
    )
    found = Reader(text)
    assert [body for tag, body in found.texts if tag == "script"] == [first, second]
    (policy,) = [meta["content"] for meta in found.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in (first, second)]
    assert rules["script-src"].split() == [f"'sha256-{digest}'" for digest in digests]
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert "connect-src" not in rules  # falls back to none


def test_a_page_without_scripts_allows_none() -> None:
    assert "script-src 'none'" in page("t", [])


@pytest.mark.parametrize("script", ["a = '</SCRIPT>'", "a <!-- b", "a\r\nb"])
def test_a_script_that_would_end_early_is_refused(script: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a page"):
        page("t", [Section("A", parts.Html(""), scripts=(script,))])


def test_nothing_lies_outside_the_file(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG of no matter")
    text = page("t", [Section("A", parts.picture(picture, description=EVIL, caption=EVIL))])
    found = Reader(text)
    (image,) = found.all("img")
    assert base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,")) == picture.read_bytes()
    assert image["alt"] == EVIL
    for _, attributes in found.elements:
        for name in ("src", "href"):
            assert str(attributes.get(name) or "#").startswith(("data:", "#"))
    assert not re.search(r"@import|url\(", text)


def test_contents_lead_to_their_sections() -> None:
    found = Reader(page("t", [Section(name, parts.paragraph(name)) for name in "ABC"]))
    assert [link["href"] for link in found.all("a")] == [f"#{section['id']}" for section in found.all("section")]


def test_markup_is_escaped_once() -> None:
    assert parts.escaped(parts.escaped("<")) == "&lt;"
    assert "<td><p>a</p></td>" in parts.table(["x", "y"], [["b", parts.paragraph("a")]])
