import gzip
import io
import stat
import zipfile
from pathlib import Path

import pytest

from brats_lightning.web.files.unpacking import MOST_MEMBERS, Unpacked, unpack
from brats_lightning.web.limits import Limits, Refused
from tests.web.image_bytes import nifti, packed, picture

LIMITS = Limits(unpacked_mb=1, files=4)
IMAGE = nifti()


def unpacked(tmp_path: Path, content: bytes, *, room: int = 10**9) -> Unpacked:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = tmp_path / "arrived"
    path.write_bytes(content)
    before = set(tmp_path.rglob("*")) | set(Path.cwd().iterdir())
    try:
        return unpack(path, into=folder, room=room, limits=LIMITS)
    finally:
        written = (set(tmp_path.rglob("*")) | set(Path.cwd().iterdir())) - before
        assert {path.parent for path in written} <= {folder}
        assert {path.name for path in written} <= set("0123")


def test_images_come_out_under_numbers_and_the_rest_is_passed_over_in_words(tmp_path: Path) -> None:
    content = packed(
        {
            "patient/": b"",
            "patient/t1.nii": IMAGE,
            "patient/README.txt": b"read me",
            "patient/t2": gzip.compress(IMAGE, mtime=0),
            "patient/table.csv": b"1,2",
            "patient/older.zip": packed({"t1.nii": IMAGE}),
            "__MACOSX/patient/._t1.nii": IMAGE,
            "patient/.DS_Store": b"x",
            "empty.nii": b"",
            "png": picture(),
        }
    )
    found = unpacked(tmp_path, content)
    assert found.names == ("patient/t1.nii", "patient/t2", "png")
    assert (tmp_path / "folder/0").read_bytes() == IMAGE
    assert (tmp_path / "folder/1").read_bytes() == gzip.compress(IMAGE, mtime=0)
    assert (tmp_path / "folder/2").read_bytes() == picture()
    assert set(found.notes) == {
        "2 passed over in the zip: files that are no image known here",
        "1 passed over in the zip: zips inside of it",
        "1 passed over in the zip: empty files",
    }


@pytest.mark.parametrize(
    "name",
    ["../t1.nii", "/etc/t1.nii", "a/../../t1.nii", "C:\\t1.nii", "..\\t1.nii", "\\\\host\\t1.nii", "a\\..\\t1.nii"],
)
def test_paths_that_lead_out_of_a_zip_lead_nowhere(tmp_path: Path, name: str) -> None:
    found = unpacked(tmp_path, packed({name: IMAGE, "t2.nii": IMAGE}))
    assert found.names == ("t2.nii",)
    assert found.notes == ("1 passed over in the zip: paths that lead out of it",)


def test_links_and_strange_ways_of_packing_are_passed_over(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("t1.nii")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("t2.nii", IMAGE, zipfile.ZIP_LZMA)
        archive.writestr("t3.nii", IMAGE)
    found = unpacked(tmp_path, buffer.getvalue())
    assert found.names == ("t3.nii",)
    assert [note.split(": ")[1] for note in found.notes] == ["links", "packed in another way than zip's usual one"]


def with_password() -> bytes:
    content = bytearray(packed({"t1.nii": IMAGE}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def with_long_table() -> bytes:
    entry = b"PK\x01\x02" + bytes(24) + (1).to_bytes(2, "little") + bytes(16) + b"a"
    table = 50_000 * entry
    end = b"PK\x05\x06" + bytes(4) + 2 * (50_000).to_bytes(2, "little") + len(table).to_bytes(4, "little") + bytes(6)
    return packed({"t1.nii": IMAGE})[:30] + table + end


def with_wrong_sum() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("t1.nii", IMAGE)
    return buffer.getvalue().replace(IMAGE[-20:], bytes(20))


@pytest.mark.parametrize(
    ("content", "status", "sentence"),
    [
        (packed({f"{number}": b"x" for number in range(MOST_MEMBERS + 1)}), 413, "holds 2001 files"),
        (with_long_table(), 413, "far more than 2000 files"),
        (packed({f"{number}.nii": IMAGE for number in range(5)}), 413, "more than 4 images"),
        (packed({"t1.nii": IMAGE + bytes(1_000_000)}), 413, "unpacks to more than 1 MB"),
        (packed({f"{n}.nii": IMAGE + bytes(300_000) for n in range(4)}), 413, "unpacks to more than 1 MB"),
        (with_password(), 422, "password"),
        (packed({"t1.nii": IMAGE})[:-30], 422, "cut short or damaged"),
        (packed({"t1.nii": IMAGE})[40:], 422, "cut short or damaged"),
        (with_wrong_sum(), 422, "cut short or damaged"),
        (
            packed({"archive/data.pkl": b"\x80\x02", "archive/data/0": bytes(9)}),
            415,
            "checkpoint, which is never opened",
        ),
        (packed({"word/document.xml": b"<?xml"}), 415, "no image that is taken here; 1 passed over"),
        (packed({}), 415, "no image that is taken here"),
    ],
    ids=[
        "members",
        "table",
        "images",
        "bomb",
        "bomb of several",
        "password",
        "cut",
        "cut ahead",
        "sum",
        "checkpoint",
        "text",
        "empty",
    ],
)
def test_a_zip_that_is_not_taken_is_refused(tmp_path: Path, content: bytes, status: int, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence) as refused:
        unpacked(tmp_path, content)
    assert refused.value.status == status


def test_a_member_that_lies_about_its_size_is_stopped_all_the_same(tmp_path: Path) -> None:
    content = bytearray(packed({"t1.nii": IMAGE + bytes(5_000_000)}))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = content.index(signature) + place
        content[start : start + 4] = (1000).to_bytes(4, "little")
    with pytest.raises(Refused):
        unpacked(tmp_path, bytes(content))
    assert sum(path.stat().st_size for path in (tmp_path / "folder").iterdir()) <= 1_000_000


def test_a_zip_takes_no_more_room_than_its_case_has(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="what is left of the case") as refused:
        unpacked(tmp_path, packed({"t1.nii": IMAGE}), room=len(IMAGE) - 1)
    assert refused.value.status == 413
