"""Sentences for people with a page before them, where the rest of the program speaks to those with a command line."""

import re

_COMMAND = re.compile(r"(?<![\w-])--[a-z]|`brats")
_SETTINGS = re.compile(r"(?<![\w-])--(?:align|precision|device)\b(?: (?:header|bf16|32|16))?")
"""Of `brats serve` itself."""
_ELSEWHERE = ("leave the case out",)
"""What means nothing where there is one case."""
_ASK = "ask who runs the server"
_HARMLESS = re.compile(r"(: |, )([qs]form only|neither sform nor qform.*|slope 0 \(.*|values scaled by .*)$")
"""Oddities of headers that are read rightly; a header without a place in the patient is told of when it is put."""


def cure_on_a_page(sentence: str) -> str:
    """An error's sentence, whose last clause says what to do, without commands and their options.

    >>> cure_on_a_page("two grids; resample them to one, or, to predict, by their headers with --align header")
    'two grids; resample them to one, or ask who runs the server (--align header)'
    >>> cure_on_a_page("too little memory: smaller --window or fewer --workers")
    'too little memory: ask who runs the server'
    """
    parts = re.fullmatch(r"(?P<what>.*[;:] )(?P<cure>.+)", sentence, re.DOTALL)
    if parts is None:
        return sentence
    ways = re.split(r",? or,? ", parts["cure"])
    kept = [way for way in ways if not _COMMAND.search(way) and way not in _ELSEWHERE]
    if len(kept) == len(ways):
        return sentence
    settings = ", ".join(dict.fromkeys(_SETTINGS.findall(parts["cure"])))
    if _COMMAND.search(parts["cure"]):
        kept.append(f"{_ASK} ({settings})" if settings else _ASK)
    return parts["what"] + (", or " if len(kept) > 1 else "").join(kept or [_ASK])


def wanted_on_a_page(note: str) -> bool:
    """Whether a note on a file says anything to somebody who looks at a patient.

    >>> wanted_on_a_page("T1.nii: sform only"), wanted_on_a_page("slice.png: no pixel size in the file, 1 mm taken")
    (False, True)
    """
    return _HARMLESS.search(note) is None
