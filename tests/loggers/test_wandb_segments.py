import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wandb.proto.wandb_internal_pb2 import Record

from brats_lightning.loggers import wandb_segments
from brats_lightning.loggers.wandb_segments import (
    FRAME,
    HEADER,
    PART,
    Tail,
    is_finished,
    is_unsent,
    mend,
    records,
    segments,
    tail_of,
)


def row(step: int, *, size: int = 0) -> Record:
    record = Record()
    record.history.step.num = step
    record.history.item.add(key="train/loss", value_json="1" * (size + 1))
    record.history.item.add(nested_key=["val/dice"], value_json="1")
    record.history.item.add(nested_key=["pictures", "_type"], value_json='"images"')  # of a picture, each property
    record.history.item.add(nested_key=["pictures", "count"], value_json="2")
    return record


def summary() -> Record:
    record = Record()
    record.summary.update.add(key="a", value_json="1" * 100)
    return record


def the_end() -> Record:
    record = Record()
    record.exit.exit_code = 0
    return record


def logged(records: list[Record]) -> bytes:
    """Records as LevelDB frames them: a part never crosses a frame, and less than its header's room is left empty."""
    content = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        left, kind = record.SerializeToString(), 1
        while True:
            room = FRAME - len(content) % FRAME
            if room < PART:
                content += bytes(room)
                room = FRAME
            part, left = left[: room - PART], left[room - PART :]
            content += bytes(4) + len(part).to_bytes(2, "little")
            content += bytes([(4 if kind == 3 else 1) if not left else (2 if kind == 1 else 3)]) + part
            if not left:
                break
            kind = 3
    return bytes(content)


def segment(folder: Path, records: list[Record], *, name: str = "offline-run-20261120_131109-x") -> Path:
    file = folder / "wandb" / name / f"run-{name.rpartition('-')[2]}.wandb"
    file.parent.mkdir(parents=True)
    file.write_bytes(logged(records))
    return file


@pytest.mark.parametrize("size", [0, 100, FRAME, 9 * FRAME])
@pytest.mark.parametrize("behind", [0, 5000])
def test_the_last_row_is_found_however_long_rows_are_and_whatever_follows(
    tmp_path: Path, size: int, behind: int
) -> None:
    rows = [row(step, size=size) for step in range(3)]
    file = segment(tmp_path, [*rows, *[summary()] * behind])
    assert tail_of([file]) == Tail(2, frozenset({"train/loss", "val/dice", "pictures"}))


def test_of_several_files_the_one_that_reached_furthest_counts(tmp_path: Path) -> None:
    files = [segment(tmp_path, [row(step)], name=f"offline-run-2026112{step}_000000-x") for step in (3, 7, 5)]
    assert tail_of(files).step == 7
    assert tail_of([]) == Tail() == tail_of([segment(tmp_path, [summary()])])


def test_files_of_a_run_are_listed_by_time_and_no_other_runs(tmp_path: Path) -> None:
    names = ["run-20261120_120000-x", "offline-run-20261120_130000-x", "run-20261121_000000-x"]
    files = [segment(tmp_path, [], name=name) for name in names]
    segment(tmp_path, [], name="offline-run-20261120_130000-y")
    assert segments(tmp_path, "x") == files
    assert [is_unsent(file) for file in files] == [False, True, False]
    files[1].with_suffix(".wandb.synced").touch()
    assert not is_unsent(files[1])


@settings(max_examples=60, deadline=None)
@given(data=st.data(), sizes=st.lists(st.integers(0, 40_000), min_size=1, max_size=8))
def test_of_a_file_cut_anywhere_the_whole_records_remain(
    data: st.DataObject, sizes: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = [
        row(step, size=size) for step, size in enumerate(data.draw(st.lists(st.integers(0, 40_000), min_size=1)))
    ]
    whole = logged(records)
    cut = data.draw(st.integers(HEADER, len(whole)))
    file = segment(tmp_path_factory.mktemp("run"), [])
    file.write_bytes(whole[:cut])
    ends = [len(logged(records[:count])) for count in range(1, len(records) + 1)]
    kept = [end for end in ends if end <= cut]
    assert mend(file) is bool(kept)
    if kept:
        assert file.read_bytes() == whole[: kept[-1]]
        assert tail_of([file]).step == len(kept) - 1
        assert mend(file)
        assert file.stat().st_size == kept[-1]


def test_only_a_file_that_its_process_ended_is_finished(tmp_path: Path) -> None:
    file = segment(tmp_path, [row(0), the_end(), summary()])
    assert is_finished(file)
    file.write_bytes(logged([row(0), summary()]))
    assert not is_finished(file)


def test_of_a_long_file_only_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = segment(tmp_path, [row(step) for step in range(20_000)])
    assert file.stat().st_size > 2 * wandb_segments.WINDOW
    content = bytearray(file.read_bytes())
    content[HEADER : 2 * FRAME] = os.urandom(2 * FRAME - HEADER)
    file.write_bytes(content)
    assert tail_of([file]).step == 19_999


def test_a_damaged_record_is_left_out_and_nothing_after_it(tmp_path: Path) -> None:
    file = segment(tmp_path, [row(0), row(1), row(2)])
    content = bytearray(file.read_bytes())
    first, second = len(logged([row(0)])) + PART, len(logged([row(0), row(1)]))
    content[first:second] = b"\xff" * (second - first)
    file.write_bytes(bytes(content))
    assert [record.history.step.num for _, record in records(file)] == [0, 2]
    assert mend(file)
    assert file.stat().st_size == len(content)
