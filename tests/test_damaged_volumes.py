"""NIfTI files that benchmarks/fuzzing.py has found to end in something else than a sentence."""

import contextlib
import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from brats_lightning import nifti_header
from brats_lightning.data.case import Case
from brats_lightning.data.reading import read_case
from brats_lightning.errors import DatasetError
from brats_lightning.nifti import UnreadableVolumeError, read_grid, read_volume

ARRAY = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
MEGABYTE = 1 << 20


def file_with(tmp_path: Path, *fields: tuple[int, str, float], name: str = "a.nii") -> Path:
    """A small file with some numbers of its header, by place and kind, replaced."""
    content = bytearray(nibabel.Nifti1Image(ARRAY, np.diag([-1.0, -1.0, 1.0, 1.0])).to_bytes())
    for place, kind, value in fields:
        struct.pack_into(f"<{kind}", content, place, value)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize(
    "field",
    [
        (108, "f", np.inf),  # OverflowError
        (108, "f", 1e30),
        (108, "f", np.nan),
        (42, "h", -3),
        (42, "h", 32767),
        (280, "f", 1e30),  # a place on another star
        (280, "f", np.nan),
    ],
)
def test_numbers_without_sense_end_in_a_sentence(tmp_path: Path, ending: str, field: tuple[int, str, float]) -> None:
    path = file_with(tmp_path, field, name=f"a.{ending}")
    with pytest.raises(UnreadableVolumeError):
        read_volume(path)
    with contextlib.suppress(UnreadableVolumeError):  # of some the place can be told
        read_grid(path)


def test_an_axis_that_leads_nowhere_is_refused_before_it_is_turned(tmp_path: Path) -> None:
    # Two axes in nearly one direction: not singular in numbers, and without an orientation.
    path = file_with(tmp_path, (280, "f", 9e5), (284, "f", 9e5), (300, "f", 1e-12), (320, "f", 9e5))
    for read in (read_volume, read_grid):
        with pytest.raises(UnreadableVolumeError):
            read(path)


def test_notes_behind_a_header_are_passed_over(tmp_path: Path) -> None:
    path = file_with(tmp_path, (108, "f", 384.0))
    content = path.read_bytes()
    for size in (15, 2**31 - 1, -16):
        path.write_bytes(content[:348] + b"\1\0\0\0" + struct.pack("<ii", size, 6) + bytes(24) + content[352:])
        assert np.array_equal(read_volume(path).array, ARRAY)  # and nothing is printed: warnings are errors here


def test_a_bomb_takes_no_more_memory_than_its_header_tells_of(tmp_path: Path) -> None:
    bomb = gzip.compress(file_with(tmp_path).read_bytes() + bytes(64 * MEGABYTE), compresslevel=1)
    for content in (bomb, bomb + gzip.compress(bytes(64 * MEGABYTE), compresslevel=1) * 30):
        (tmp_path / "bomb.nii.gz").write_bytes(content)
        tracemalloc.start()
        with pytest.raises(UnreadableVolumeError, match="it unpacks to more than"):
            read_volume(tmp_path / "bomb.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < len(content) + 8 * MEGABYTE
        tracemalloc.stop()


@pytest.mark.parametrize(
    "pack",
    [
        lambda content: gzip.compress(content[:100]) + gzip.compress(content[100:]),
        lambda content: b"".join(gzip.compress(content[at : at + 7]) for at in range(0, len(content), 7)),
        lambda content: gzip.compress(content) + bytes(700),
        lambda content: gzip.compress(content) + gzip.compress(b""),  # as bgzip ends
        lambda content: gzip.compress(content + bytes(1000)),
    ],
)
def test_streams_in_parts_and_with_zeros_behind_are_whole(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(file_with(tmp_path).read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(packed)
    assert np.array_equal(read_volume(tmp_path / "a.nii.gz").array, ARRAY)


def test_a_stream_with_another_checksum_or_end_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(file_with(tmp_path).read_bytes())
    for content in (whole[:-8] + bytes(4) + whole[-4:], whole[:-4] + b"abcd", whole + b"more", whole[:-1], whole[:30]):
        (tmp_path / "a.nii.gz").write_bytes(content)
        with pytest.raises(UnreadableVolumeError, match=r"cut short or damaged|shorter than a NIfTI header"):
            read_volume(tmp_path / "a.nii.gz")


def test_far_too_many_parts_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti_header, "MOST_STREAMS", 10)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(file_with(tmp_path).read_bytes()) + gzip.compress(b"") * 20)
    with pytest.raises(UnreadableVolumeError):
        read_volume(tmp_path / "a.nii.gz")


def test_voxels_that_single_precision_cannot_hold_are_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(ARRAY * 1e40, np.eye(4)), tmp_path / "a.nii")
    case = Case("a", "a", "2023", {"t1n": tmp_path / "a.nii"})
    with pytest.raises(DatasetError, match="which no scanner gives"):
        read_case(case, modalities=("t1n",))
