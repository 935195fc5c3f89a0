"""The shell of every report: one HTML file that asks nobody for anything, for desk and phone, day and night, and paper.

Whatever a page holds stands in its file. Its content security policy forbids every request, and every script but those
given here, by their hashes: a name that somehow got past the escaping would still do nothing.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

from brats_lightning.reports.html.parts import Html, escaped

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
BESIDE = "files-beside"
"""Element of a page that names the files made with it."""
STYLE = Path(__file__).parent / "page.css"
_ENDS_EARLY = re.compile(r"</script|<!--", re.IGNORECASE)


@dataclass(frozen=True)
class Section:
    """A part of a page under a heading of its own.

    Args:
        title: Its heading, and its entry in the list of contents.
        body: Put together by `parts`.
        data: By element id: what scripts read from there as JSON.
        scripts: Run in their order when the page stands; one that several sections give runs once, at its first place.
        style: Rules for this section beyond those of every page.
    """

    title: str
    body: Html
    data: Mapping[str, Json] | None = None
    scripts: tuple[str, ...] = ()
    style: str = ""


def page(title: str, sections: Sequence[Section], *, subtitle: str = "", beside: Sequence[str] = ()) -> str:
    """A whole page as text.

    Args:
        title: Of the page, and of the browser's window.
        sections: In their order.
        subtitle: Stands below the title.
        beside: Names of files that were made with it, for `written.remove_files_of`; the page itself needs none.

    Raises:
        ValueError: A script that would end its element before its end.
    """
    scripts = list(dict.fromkeys(script for section in sections for script in section.scripts))
    if not all(can_stand_in_a_page(script) for script in scripts):
        raise ValueError("a script that holds </script, <!-- or a carriage return cannot stand in a page")
    style = "\n".join([_style(), *dict.fromkeys(section.style for section in sections if section.style)])
    names = [f"part-{number}" for number in range(1, len(sections) + 1)]
    links = "".join(
        f'<a href="#{name}">{escaped(section.title)}</a>' for name, section in zip(names, sections, strict=True)
    )
    bodies = [
        f'<section id="{name}"><h2>{escaped(section.title)}</h2>\n{section.body}\n{_data(section.data or {})}</section>'
        for name, section in zip(names, sections, strict=True)
    ]
    below = f'<p class="subtitle">{escaped(subtitle)}</p>' if subtitle else ""
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f'<meta name="{BESIDE}" content="{escaped(json.dumps(list(beside)))}">' if beside else "",
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">',
            f'<link rel="icon" href="data:,"><title>{escaped(title)}</title>\n<style>{style}</style></head>',
            f"<body><header><h1>{escaped(title)}</h1>{below}<nav>{links}</nav></header>\n<main>",
            *bodies,
            "</main>",
            *(f"<script>{script}</script>" for script in scripts),
            "</body></html>\n",
        ]
    )


def can_stand_in_a_page(script: str) -> bool:
    """Whether a browser would read a script inside a page to its end, and as it is: its hash depends on that."""
    return not _ENDS_EARLY.search(script) and "\r" not in script


@cache
def _style() -> str:
    return STYLE.read_text(encoding="utf-8")


def _policy(scripts: Sequence[str]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests) or "'none'"
    # Styles may stand inline: what draws sets the size of its canvas so. No style can send anything anywhere.
    rules = {
        "default-src": "'none'",
        "script-src": allowed,
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _data(data: Mapping[str, Json]) -> str:
    """Elements of JSON, which no browser runs; every < is written otherwise, so that no text ends its element."""
    return "".join(
        f'<script type="application/json" id="{escaped(name)}">{_json(value)}</script>\n'
        for name, value in data.items()
    )


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
