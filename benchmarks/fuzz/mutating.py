"""Damage done to files: to their bytes, to texts and JSON by what stands in them, to what is inside gzip and zip.

Every function draws from a generator that one can seed, and from nothing else.
"""

import gzip
import io
import json
import math
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

Mutate = Callable[[random.Random, Sequence[bytes]], bytes]
"""Makes a damaged file from one or several whole ones."""
INTEGERS = (0, 1, -1, 2, 7, 127, 128, 255, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))
FLOATS = (0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e-45, 1e30, -1e30, 3.4e38, 1e308, 1e-300, 0.5)
WORDS = (
    "null", "true", "NaN", "Infinity", "-Infinity", "-1", "0", "1e999", "-1e400", "1e400000000", "9" * 5000, "0x10",
    "1_000", '""', "[]", "{}", "[[]]", '"x"', "~", "!!python/object/apply:os.getcwd []", "&a [*a]", "2001-99-99",
    "12:61:61", "..", "/", "../../x", "\x00", "\u202e", "\ufeff", '"\\ud800"', "\r", "\r\n", '"', "'", ",", ";", "\t",
    "×" * 300, "x" * 200_000, "%s%n", "\U0001d7d9", "²", "\u0661",
    "-0", "1.", ".5", "inf", "nan", "1e3", " ", "\x85", "\u2028",
)  # fmt: skip
"""What is put in place of a word of a text."""
VALUES: tuple[object, ...] = (
    None, True, False, 0, -1, 1, 3, 2**31, 2**64, 10**400, -0.5, 1e308, math.nan, math.inf, "", "x", "\ud800", "a\nb",
    "x" * 100_000, "../..", "/", "nan", "1", [], {}, [None], [[1]], {"": None}, {"class_path": 3}, [0] * 1000,
    [2**40] * 3,
)  # fmt: skip
"""What is put in place of a value of JSON or of a checkpoint's settings."""
_DEEP = 100_000
_LONGEST_BOMB = 3 << 30


def damaged(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """One to eight damages to bytes, more of them near the beginning, where headers stand.

    Args:
        rng: Of all draws.
        content: Whole.
        others: Further whole files, from which pieces are spliced in.
    """
    found = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_DAMAGES)(rng, found, others or (content,))
    return bytes(found)


def _place(rng: random.Random, content: bytearray) -> int:
    end = len(content) if rng.random() < 0.5 else min(len(content), 512)
    return rng.randrange(end) if end else 0


def _flip(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    if content:
        content[_place(rng, content)] ^= 1 << rng.randrange(8)


def _byte(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    if content:
        content[_place(rng, content)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _cut(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    del content[_place(rng, content) :]


def _lose(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    start = _place(rng, content)
    del content[start : start + rng.choice((1, 2, 4, 16, 512))]


def _again(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    start = _place(rng, content)
    piece = content[start : start + rng.choice((1, 4, 16, 512))]
    content[start:start] = piece * rng.choice((1, 2, 100))


def _zeros(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    start, length = _place(rng, content), rng.choice((1, 4, 64, 4096))
    content[start : start + length] = rng.choice((b"\0", b"\xff")) * len(content[start : start + length])


def _splice(rng: random.Random, content: bytearray, others: Sequence[bytes]) -> None:
    other = rng.choice(others)
    start, length = rng.randrange(len(other) + 1), rng.choice((4, 32, 352, 4096))
    here = _place(rng, content)
    piece = other[start : start + length]
    content[here : here + (len(piece) if rng.random() < 0.5 else 0)] = piece


def _number(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    """A whole or broken number of one of the usual sizes, in one of the two orders."""
    if rng.random() < 0.6:
        code = rng.choice("bhiq")
        bits = struct.calcsize(code) * 8
        piece = (rng.choice(INTEGERS) % 2**bits).to_bytes(bits // 8, rng.choice(("little", "big")))
    else:
        code = rng.choice("fd")
        value = rng.choice(FLOATS)
        packed = value if code == "d" or not math.isfinite(value) or abs(value) < 3.41e38 else math.inf
        piece = struct.pack(rng.choice("<>") + code, packed)
    start = _place(rng, content) // len(piece) * len(piece)
    content[start : start + len(piece)] = piece


def _longer(rng: random.Random, content: bytearray, _: Sequence[bytes]) -> None:
    content += rng.randbytes(rng.choice((1, 8, 1000))) if rng.random() < 0.5 else bytes(rng.choice((1, 512, 100_000)))


_DAMAGES = (_flip, _flip, _byte, _cut, _lose, _again, _zeros, _splice, _number, _number, _longer)


def of_bytes(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage of any file."""
    return damaged(rng, rng.choice(seeds), seeds)


def of_text(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage of a text: words, lines, nesting, encodings; now and then of its bytes."""
    content = rng.choice(seeds)
    if rng.random() < 0.25:
        return damaged(rng, content, seeds)
    text = content.decode()
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = rng.choice(_OF_TEXTS)(rng, text)
    encodings = ("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32-be", "latin-1", "cp037")
    return text.encode(rng.choice(encodings), errors="replace")


def _spans(text: str) -> list[tuple[int, int]]:
    """Where words begin and end: runs of what belongs into numbers, names and quotation marks."""
    spans, start = [], None
    for at, letter in enumerate([*text, " "]):
        inside = letter.isalnum() or letter in "._-+\"'"
        if inside and start is None:
            start = at
        elif not inside and start is not None:
            spans.append((start, at))
            start = None
    return spans


def _word(rng: random.Random, text: str) -> str:
    spans = _spans(text)
    if not spans:
        return rng.choice(WORDS)
    start, end = rng.choice(spans)
    return text[:start] + rng.choice(WORDS) + text[end:]


def _letter(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    letter = rng.choice("\0\t\r\n\"',;:-[]{}#&*!|>%@`0aé\u202e\U0001f9e0")
    return text[:at] + letter + text[at + rng.randrange(2) :]


def _lines(rng: random.Random, text: str) -> str:
    """A line lost, twice, elsewhere, cut off, or on another level."""
    lines = text.splitlines(keepends=True) or [""]
    at = rng.randrange(len(lines))
    line = lines[at]
    often = max(1, 100_000 // (len(line) + 1))
    lines[at] = rng.choice(
        (
            "", line * 2, line * rng.choice((3, often)), line[: rng.randrange(len(line) + 1)], f"  {line}",
            line.lstrip(), line.rstrip("\n"), rng.choice(lines) + line, line.replace(",", ";"), line.replace(":", ""),
        )
    )  # fmt: skip
    return "".join(lines)


def _nested(rng: random.Random, text: str) -> str:
    """Brackets, deeper than any reader can follow by calling itself, in place of a word or around it all."""
    opening, closing = rng.choice(("[]", "{}", ("- ", "\n"), ("a: {", "}"), ('{"a":', "}"), ('"', '"')))
    depth = rng.choice((3, 60, 1100, 5000, _DEEP))
    deep = opening * depth + "1" + (closing * depth if rng.random() < 0.7 else "")
    spans = _spans(text)
    if not spans or rng.random() < 0.3:
        return deep
    start, end = rng.choice(spans)
    return text[:start] + deep + text[end:]


def _aliases(rng: random.Random, text: str) -> str:
    """Names of YAML for what is a few lines long and stands for a billion, or for itself."""
    names = "abcdefghij"
    level = rng.choice((3, 9, 10))
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{now}: &{now} [{', '.join([f'*{before}'] * 9)}]" for before, now in pairwise(names[:level])]
    maps = [
        "m0: &m0 {a: 1}",
        *(f"m{n}: &m{n} {{p: *m{n - 1}, q: *m{n - 1}, <<: *m{n - 1}}}" for n in range(1, 3 * level)),
    ]
    chosen = rng.choice((lines, maps, ["self: &s [*s]"], ["self: &s {<<: *s, again: *s}"]))
    return "\n".join([*chosen, text] if rng.random() < 0.5 else [text, *chosen]) + "\n"


def _cut_text(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text) + 1)]


_OF_TEXTS = (_word, _word, _word, _letter, _letter, _lines, _lines, _nested, _cut_text, _aliases)


def changed(rng: random.Random, value: object) -> object:
    """Plain data with one value anywhere in it replaced, lost, or under another name."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        how = rng.random()
        if how < 0.08:
            return {name: item for name, item in value.items() if name != key}
        if how < 0.14:
            return {
                (rng.choice(("", "x", "..", "\ud800")) if name == key else name): item for name, item in value.items()
            }
        return {name: changed(rng, item) if name == key else item for name, item in value.items()}
    if isinstance(value, list | tuple) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return [*value[:at], *([changed(rng, value[at])] * rng.choice((0, 1, 1, 1, 2, 1000))), *value[at + 1 :]]
    if isinstance(value, int | float) and abs(value) < 2**64 and rng.random() < 0.4:
        return rng.choice((value + 1, -value, value * 1000, value * 2**31, float(value), str(value), value / 3))
    return rng.choice(VALUES)


def of_json(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Damage of JSON: of its values, half of the time, else of its text."""
    if rng.random() < 0.45:
        return of_text(rng, seeds)
    value = json.loads(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = changed(rng, value)
    text = json.dumps(value, indent=1)
    if rng.random() < 0.1 and text.startswith("{"):
        text = '{"train": 1, "case": [], "files": null, ' + text[1:]  # keys that may come twice
    return text.encode()


def in_gzip(inside: Mutate) -> Mutate:
    """Damage inside of a gzip stream that is whole, and damage of the stream.

    Args:
        inside: Of the content. The seeds are not compressed yet.
    """

    def mutate(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
        how = rng.random()
        if how < 0.5:
            return gzip.compress(inside(rng, seeds), compresslevel=1)
        content = rng.choice(seeds)
        whole = gzip.compress(content, compresslevel=1)
        if how < 0.8:
            return damaged(rng, whole, [gzip.compress(seed, compresslevel=1) for seed in seeds])
        if how < 0.82:
            return bomb(content, rng.choice((50 << 20, 300 << 20, _LONGEST_BOMB)))
        at = rng.randrange(len(content))
        return rng.choice(
            (
                whole + whole, whole + bytes(rng.choice((1, 500))), whole[:-4] + rng.randbytes(4), gzip.compress(whole),
                whole[:-8] + rng.randbytes(4) + whole[-4:], gzip.compress(content[:at]) + gzip.compress(content[at:]),
                whole + b"\x1f\x8b", zlib.compress(content), gzip.compress(b"") * 1000 + whole, whole[:18],
            )
        )  # fmt: skip

    return mutate


def bomb(content: bytes, zeros: int) -> bytes:
    """A gzip stream that goes on with so many zeros; a thousandth of them long."""
    packer = zlib.compressobj(1, wbits=31)
    parts = [packer.compress(content)]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(min(zeros >> 20, 64))]
    once = b"".join(parts) + packer.flush()
    more = gzip.compress(bytes(64 << 20), compresslevel=1) if zeros > 64 << 20 else b""
    return once + more * ((zeros >> 26) - 1)  # members one behind the other are one content


def in_zip(inside: Mutate, *, members: Callable[[str], bool] = bool) -> Mutate:
    """Damage of a member of a zip, packed again so that all its checksums are right, and damage of the zip.

    Args:
        inside: Of a member's content.
        members: Which of them, by their names.
    """

    def mutate(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
        content = rng.choice(seeds)
        if rng.random() < 0.4:
            return damaged(rng, content, seeds)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist()}
        name = rng.choice([name for name in files if members(name)] or list(files))
        how = rng.random()
        if how < 0.7:
            files[name] = inside(rng, [files[name]])
        elif how < 0.8:
            del files[name]
        elif how < 0.9:
            new = rng.choice(
                ("../x", "/x", "", "a" * 5000, name.upper(), f"{name}/", "x\0y", "C:\\x", ".hidden", "\ud83e")
            )
            files[new.encode(errors="replace").decode()] = files.pop(name)
        else:
            files[rng.choice(list(files))] = files[name]
        return zipped(files, deflated=rng.random() < 0.3)

    return mutate


def zipped(files: dict[str, bytes], *, deflated: bool = False) -> bytes:
    """A zip of these members, whole."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
    return buffer.getvalue()
