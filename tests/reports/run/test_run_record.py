import hashlib
import math
from pathlib import Path

from brats_lightning.data.splits import Parts
from brats_lightning.reports.run.facts import Start, write_starts
from brats_lightning.reports.run.record import (
    digest_of_data,
    digest_of_file,
    digest_of_keys,
    digest_of_settings,
    digest_of_split,
    machine_of_run,
    seconds_of_run,
    versions_here,
    versions_of_run,
)
from brats_lightning.reports.run.settings import Setting


def test_a_split_is_the_same_in_any_order_and_another_with_another_case() -> None:
    split = Parts(("a", "b"), ("c",), ("d",))
    assert digest_of_split(split) == digest_of_split(Parts(("b", "a"), ("c",), ("d",), {"x": "broken"}))
    others = [Parts(("a",), ("b", "c"), ("d",)), Parts(("a", "b"), ("c",)), Parts(("a", "bc"), (), ("d",))]
    assert len({digest_of_split(each) for each in [split, *others]}) == 4


def test_a_configuration_is_the_same_wherever_the_run_lies() -> None:
    def settings(run: str, lr: float) -> dict[str, Setting]:
        logger: Setting = {"class_path": "x.Logger", "init_args": {"save_dir": run}}
        return {"run": run, "trainer": {"default_root_dir": run, "logger": logger}, "model": {"lr": lr}}

    same = digest_of_settings(settings("runs/a", 0.1))
    assert same == digest_of_settings(settings("/elsewhere/b", 0.1)) != digest_of_settings(settings("runs/a", 0.2))
    assert digest_of_settings(dict(reversed(settings("runs/a", 0.1).items()))) == same
    assert digest_of_settings({}) == ""


def test_data_is_known_by_the_keys_of_the_cache_where_each_case_has_one(tmp_path: Path) -> None:
    for name in ("a-1" + "0" * 20, "a-" + "0" * 20, "b-c-" + "1" * 20):
        (tmp_path / f"{name}.safetensors").touch()
    expected = hashlib.sha256(("0" * 20 + "\n" + "1" * 20).encode()).hexdigest()
    assert digest_of_data(["b-c", "a"], tmp_path) == expected
    assert digest_of_data(["a", "missing"], tmp_path) == ""
    assert digest_of_data([], tmp_path) == ""
    (tmp_path / f"a-{'2' * 20}.safetensors").touch()  # under other settings
    assert digest_of_data(["a", "b-c"], tmp_path) == ""


def test_versions_come_from_the_last_start(tmp_path: Path) -> None:
    assert versions_of_run(tmp_path) == {}
    for day, version in (("20261119", "2.1"), ("20261120", "2.2+cu130")):
        folder = tmp_path / "wandb" / f"offline-run-{day}_101010-x" / "files"
        folder.mkdir(parents=True)
        (folder / "requirements.txt").write_text(f"torch=={version}\nnumpy==2.0\nbrats_lightning==0.1\nodd line\n")
    assert versions_of_run(tmp_path) == {"brats-lightning": "0.1", "torch": "2.2+cu130", "numpy": "2.0"}
    assert {"brats-lightning", "torch"} <= versions_here().keys()


def test_what_is_not_there_is_not_known(tmp_path: Path) -> None:
    assert machine_of_run(tmp_path) == {}
    assert digest_of_file(tmp_path / "config.yaml") == ""
    (tmp_path / "config.yaml").write_bytes(b"a")
    assert digest_of_file(tmp_path / "config.yaml") == hashlib.sha256(b"a").hexdigest()


def test_what_a_run_noted_itself_comes_before_what_logging_kept(tmp_path: Path) -> None:
    folder = tmp_path / "wandb" / "offline-run-20261119_101010-x" / "files"
    folder.mkdir(parents=True)
    (folder / "requirements.txt").write_text("torch==2.1\n")
    first = Start("2026-03-05T14:02:31+01:00", seconds=3.0, steps=4, commit="old", machine={"GPU": "H100"})
    last = Start("2026-03-06T14:02:31+01:00", from_step=4, seconds=2.0, commit="new", versions={"torch": "2.2"},
                 data_sha256="d", split_sha256="s")  # fmt: skip
    write_starts(tmp_path, [first, last])
    assert versions_of_run(tmp_path) == {"torch": "2.2"}
    assert machine_of_run(tmp_path) == {"git commit": "new", "data": "d", "split": "s"}
    assert seconds_of_run(tmp_path) == 5
    write_starts(tmp_path, [last])  # the first start is of a version that noted nothing
    assert math.isnan(seconds_of_run(tmp_path))
    (tmp_path / "facts.json").write_text("{")
    assert versions_of_run(tmp_path) == {"torch": "2.1"}


def test_keys_make_the_digest_of_the_data(tmp_path: Path) -> None:
    for case, digit in (("b", "1"), ("a", "0")):
        (tmp_path / f"{case}-{digit * 20}.safetensors").touch()
    assert digest_of_data(["b", "a"], tmp_path) == digest_of_keys(["0" * 20, "1" * 20])
    assert digest_of_keys([]) == ""
