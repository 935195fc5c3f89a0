import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from brats_lightning.errors import CheckpointError
from brats_lightning.inference.exporting.graphs import write_pt2
from brats_lightning.inference.models.pt2_archive import refuse_code

GRAPH, CONSTANTS = "models/model.json", "data/constants/model_constants_config.json"
WEIGHTS = "data/weights/model_weights_config.json"


class Evil:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (Path("code-was-run"),)


def saved(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


Contents = dict[str, bytes]
Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """Members of a `torch.export` file."""
    path = tmp_path_factory.mktemp("exported") / "network.pt2"
    network = torch.nn.Sequential(torch.nn.Conv3d(4, 4, 3, 2, 1), torch.nn.Upsample(scale_factor=2)).eval()
    write_pt2(network, (4, 4, 4), path, channels=4, any_size=True)
    refuse_code(path)
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(contents: Contents, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"network/{name}", content)
    return path


def changed(contents: Contents, name: str, change: Change) -> Contents:
    value = json.loads(contents[name])
    change(value)
    return {**contents, name: json.dumps(value).encode()}


def nodes(graph: Any) -> Any:
    return graph["graph_module"]["graph"]["nodes"]


def expressions(value: Any) -> list[dict[str, Any]]:
    found = [value] if isinstance(value, dict) and "expr_str" in value else []
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return found + [inner for child in children for inner in expressions(child)]


@pytest.mark.slow
def test_a_plain_archive_is_let_through(contents: Contents, tmp_path: Path) -> None:
    refuse_code(write(contents, tmp_path / "network.pt2"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["data/aotinductor/model/model.so", "data/weights/model.pt", "data/constants/opaque_obj_0", "custom/code.py"],
)
def test_members_beside_graph_and_weights_are_refused(contents: Contents, tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=f"holds more than a network's graph and weights \\({name}\\)"):
        refuse_code(write({**contents, name: b""}, tmp_path / "network.pt2"))


@pytest.mark.slow
def test_pickles_are_refused_without_being_loaded(
    contents: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def pickled(config: Any) -> None:
        next(iter(config["config"].values()))["use_pickle"] = True

    def opaque(config: Any) -> None:
        config["config"]["x"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": False}

    samples = "data/sample_inputs/model.pt"
    for evil in (
        changed(contents, WEIGHTS, pickled),
        changed(contents, CONSTANTS, opaque),
        {**contents, samples: saved(Evil())},
        {**contents, samples: pickle.dumps(Evil())},
    ):
        with pytest.raises(CheckpointError, match="holds more than a network's graph and weights"):
            refuse_code(write(evil, tmp_path / "network.pt2"))
    assert not Path("code-was-run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda graph: nodes(graph)[0].update(target="torch.os.system"),
        lambda graph: nodes(graph)[0].update(target="torch.ops.aten.from_file.default"),
        lambda graph: nodes(graph)[0].update(target="_operator.attrgetter"),
        lambda graph: nodes(graph)[0].update(metadata={"source_fn_stack": "x,torch.os.system"}),
        lambda graph: nodes(graph)[0]["inputs"][0].update(name="x); import os; os.abort("),
        lambda graph: expressions(graph)[0].update(expr_str="__import__('os').abort()"),
        lambda graph: expressions(graph)[0].update(expr_str="Symbol('s0').func.mro"),
        lambda graph: expressions(graph)[0].update(expr_str="exec(Symbol('s0'))"),
        lambda graph: graph["range_constraints"].update({"open('x')": {"min_val": 1, "max_val": 2}}),
        lambda graph: graph["graph_module"]["module_call_graph"][0]["signature"].update(
            in_spec='[1, {"type": "os.system", "context": "null", "children_spec": []}]'
        ),
    ],
)
def test_code_in_the_graph_is_refused(contents: Contents, tmp_path: Path, change: Change) -> None:
    with pytest.raises(CheckpointError, match="holds more than a network's graph and weights"):
        refuse_code(write(changed(contents, GRAPH, change), tmp_path / "network.pt2"))


def test_a_hostile_expression_is_refused_quickly(tmp_path: Path) -> None:
    graph = {"expr_str": "s1" * 50_000 + "!"}
    names = ("archive_format", "data/sample_inputs/model.pt")
    plain = dict.fromkeys(names, b"")
    empty = {name: json.dumps({"config": {}}).encode() for name in (WEIGHTS, CONSTANTS)}
    with pytest.raises(CheckpointError, match="holds more than"):
        refuse_code(write({**plain, **empty, GRAPH: json.dumps(graph).encode()}, tmp_path / "network.pt2"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
def test_other_files_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "network.pt2"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"network\.pt2 is no `torch\.export` file, or a damaged one"):
        refuse_code(path)


def test_an_archive_without_a_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="or a damaged one"):
        refuse_code(write({"archive_format": b"pt2"}, tmp_path / "network.pt2"))
