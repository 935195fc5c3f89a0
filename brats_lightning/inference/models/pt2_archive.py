"""What a `torch.export` file may hold to be opened: `torch.export.load` itself unpickles, imports and evaluates.

Pickled weights and objects, compiled libraries, expressions for `sympify` (which evaluates them as Python), names that
end up in generated code and calls of arbitrary functions below `torch` are refused before PyTorch sees the file.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brats_lightning.errors import CheckpointError

_MEMBERS = re.compile(
    r"data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json"
    r"|archive_format|archive_version|byteorder|\.data/\w+|\.format_version|\.storage_alignment"
)
_GRAPH, _SAMPLES = "models/model.json", "data/sample_inputs/model.pt"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN = re.compile(r"(?!.*(?:^|\.)__)[\w.+ -]*")
_TARGET = re.compile(
    r"torch\.ops\.aten\.(?!from_file|__)\w+\.(?!__)\w+"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|pow|getitem|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|torch\.sym_\w+|math\.\w+"
)
_EXPRESSION = re.compile(
    r"(?:Symbol\('[su]\d++'|[su]\d++|(?:Integer|Rational|Float|Add|Mul|Pow|Max|Min|Mod|FloorDiv|CleanDiv|CeilDiv|PythonMod"
    r"|TruncToInt|FloorToInt|CeilToInt|IntTrueDiv|Identity|Equality|Unequality|StrictLessThan|LessThan|GreaterThan"
    r"|StrictGreaterThan|And|Or|Not|Eq|Ne|Le|Lt|Ge|Gt)\b|(?:positive|integer|nonnegative)=|True\b|False\b|true\b|false\b"
    r"|\d++|[-+*/(), ])*+"
)
_SPEC_TYPES = {None, "builtins.tuple", "builtins.list", "builtins.dict"}
_LARGEST_GRAPH = 200_000_000


def refuse_code(path: Path) -> None:
    """Look into a `torch.export` file without loading it.

    Raises:
        CheckpointError: It is none, or holds more than a graph of PyTorch's tensor operations and plain weights.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = _first_foreign(archive)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no `torch.export` file, or a damaged one") from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    if found:
        raise CheckpointError(f"{path} holds more than a network's graph and weights ({found[:120]}): it is not loaded")


def _first_foreign(archive: zipfile.ZipFile) -> str | None:
    """The first thing that does not belong into a network's file."""
    members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
    if foreign := [name for name in members if not _MEMBERS.fullmatch(name)]:
        return foreign[0]
    if len(members) != len(archive.infolist()):
        return "members of the same name"
    for config in _CONFIGS:
        for name, payload in json.loads(archive.read(members[config]))["config"].items():
            if payload["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"]):
                return f"pickled {name}"
    if members[_GRAPH].file_size > _LARGEST_GRAPH:
        return "an enormous graph"
    if members[_SAMPLES].file_size:
        return "a pickled example"
    graph = json.loads(archive.read(members[_GRAPH]))
    graph.pop("guards_code", None)  # which is not evaluated: see `exported`
    return next(_foreign_strings(graph, ""), None)


def _foreign_strings(value: Any, key: str) -> Iterator[str]:
    """Strings of the graph's JSON that are not of the form that their place has."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not _PLAIN.fullmatch(name):
                yield name
            if name == "metadata" and item:
                yield "metadata of nodes"
            yield from _foreign_strings(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _foreign_strings(item, key)
    elif isinstance(value, str) and not _belongs(value, key):
        yield value


def _belongs(text: str, key: str) -> bool:
    if key in {"target", "as_operator"}:
        return _TARGET.fullmatch(text) is not None
    if key == "expr_str":
        return _EXPRESSION.fullmatch(text) is not None
    if key in {"in_spec", "out_spec"}:
        return not text or all(kind in _SPEC_TYPES for kind in _spec_types(json.loads(text)[1]))
    return _PLAIN.fullmatch(text) is not None


def _spec_types(spec: Any) -> Iterator[str | None]:
    yield spec["type"]
    for child in spec["children_spec"]:
        yield from _spec_types(child)
