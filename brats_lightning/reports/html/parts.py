"""Parts of a page. Every text given here is escaped; what is `Html` already is not."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

JPEG_QUALITY = 88
_KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".svg": "image/svg+xml"}


class Html(str):
    """Text with markup that is known to be right: only functions that escape what they are given make it."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Any text, as text; what is `Html` already stays as it is.

    >>> escaped("<b> & 'c'")
    '&lt;b&gt; &amp; &#x27;c&#x27;'
    """
    return text if isinstance(text, Html) else Html(html.escape(text))


def joined(*parts: Html) -> Html:
    """Parts below each other."""
    return Html("\n".join(parts))


def paragraph(text: str) -> Html:
    """A paragraph."""
    return Html(f"<p>{escaped(text)}</p>")


def notice(text: str) -> Html:
    """A remark that nobody shall pass over: what is missing, or what is odd."""
    return Html(f'<p class="notice">{escaped(text)}</p>')


def listing(items: Sequence[str]) -> Html:
    """A list of short texts."""
    return Html("<ul>" + "".join(f"<li>{escaped(item)}</li>" for item in items) + "</ul>")


def facts(pairs: Mapping[str, str]) -> Html:
    """Names with their values, one a line."""
    return Html(
        "<dl>"
        + "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in pairs.items())
        + "</dl>"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", words: int = 1) -> Html:
    """A table that scrolls by itself where it is wider than the screen.

    Args:
        columns: Headings.
        rows: A cell for each column.
        caption: Stands below it.
        words: How many of the first columns hold words, which begin at the left; numbers end at the right.
    """
    kind = [' class="words"' if index < words else "" for index in range(len(columns))]
    head = "".join(f'<th scope="col"{k}>{escaped(name)}</th>' for k, name in zip(kind, columns, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{escaped(cell)}</td>" for k, cell in zip(kind, row, strict=True)) + "</tr>"
        for row in rows
    )
    # Outside the table: it shall not be as wide as that, where the screen is not.
    below = f'<p class="caption">{escaped(caption)}</p>' if caption else ""
    return Html(f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{below}')


def picture(path: Path, *, description: str, caption: str = "", widest_pixels: int | None = None) -> Html:
    """A picture, held in the page itself.

    Args:
        path: PNG, JPEG or SVG file.
        description: What it shows, for those who cannot see it.
        caption: Stands below it.
        widest_pixels: Hold it as JPEG of this width at most: a third of a PNG of a brain. None holds the file as it is.

    Raises:
        OSError: It cannot be read.
    """
    kind, content = _KINDS[path.suffix.lower()], path.read_bytes()
    if widest_pixels is not None:
        kind, content = "image/jpeg", _as_jpeg(content, widest_pixels)
    below = f"<figcaption>{escaped(caption)}</figcaption>" if caption else ""
    source = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return Html(f'<figure><img src="{source}" alt="{escaped(description)}">{below}</figure>')


def _as_jpeg(content: bytes, widest_pixels: int) -> bytes:
    from PIL import Image  # noqa: PLC0415 - not every page has pictures

    held = io.BytesIO()
    with Image.open(io.BytesIO(content)) as opened:
        shown = opened.convert("RGB")
    shown.thumbnail((widest_pixels, shown.height), Image.Resampling.LANCZOS)
    shown.save(held, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return held.getvalue()


def details(summary: str, body: Html) -> Html:
    """What is folded until somebody asks for it."""
    return Html(f"<details><summary>{escaped(summary)}</summary>\n{body}\n</details>")


def preformatted(text: str) -> Html:
    """Text as it stands, such as a configuration."""
    return Html(f'<pre class="wide">{escaped(text)}</pre>')
