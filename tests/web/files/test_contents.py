import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from brats_lightning.web.files.contents import Inspected, look
from brats_lightning.web.limits import Limits, Refused
from tests.web.image_bytes import SHAPE, bomb, claiming, matlab, nifti, packed, picture

LIMITS = Limits(unpacked_mb=20, voxels_millions=1)


@pytest.fixture
def look_at(tmp_path: Path) -> Callable[[bytes], Inspected]:
    def look_at_(content: bytes) -> Inspected:
        path = tmp_path / "arrived"
        path.write_bytes(content)
        return look(path, limits=LIMITS)

    return look_at_


LookAt = Callable[[bytes], Inspected]


def test_every_kind_is_told_by_its_content(look_at: LookAt, tmp_path: Path) -> None:
    volume = Inspected(".nii", SHAPE, (2, 2, 2), len(nifti()))
    assert look_at(nifti()) == volume
    assert look_at(gzip.compress(nifti())) == Inspected(".nii.gz", SHAPE, (2, 2, 2), len(nifti()))
    assert look_at(nifti((5, 6, 7, 1))).shape == SHAPE
    assert look_at(nifti((5, 6))) == Inspected(".nii", (5, 6), (2, 2), 352 + 60)
    assert look_at(picture()) == Inspected(".png", (9, 4), (), 36)
    assert look_at(picture("RGB")).shape == (9, 4)
    assert look_at(picture(kind="JPEG")).ending == ".jpg"
    assert look_at(packed({})).ending == ".zip"
    slice_ = look_at(matlab(tmp_path / "slice"))
    assert (slice_.ending, slice_.shape) == (".mat", (8, 6))
    assert slice_.spacing_mm[0] == pytest.approx(512 * 0.49 / 8)


@pytest.mark.parametrize("spacing_mm", [(1e6, 1e6, 1e6), (1e5, 1e-5, 1e5)])
def test_an_image_of_kilometres_is_no_patients(look_at: LookAt, spacing_mm: tuple[float, float, float]) -> None:
    content = bytearray(nifti())
    content[80:92] = np.array(spacing_mm, "<f4").tobytes()
    content[252:256] = np.array([1, 0], "<i2").tobytes()  # its qform alone
    with pytest.raises(Refused, match=r"at most 128 litres.*set its voxel sizes right"):
        look_at(bytes(content))


def test_a_header_without_a_place_in_the_world_is_told(look_at: LookAt) -> None:
    assert not look_at(nifti()).notes
    assert "does not say how it lies" in look_at(nifti(affine=False)).notes[0]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"\x80\x04\x95evil", "pickle such as a checkpoint, which is never opened"),
        (b"<!DOCTYPE html><script>alert(1)</script>", "a web page"),
        (b"\n <html>", "a web page"),
        (bytes(128) + b"DICM" + bytes(200), "DICOM.*dcm2niix"),
        (nifti()[:344] + b"ni1\0", "header without its voxels"),
        (b"ObjectType = Image\nElementDataFile = /etc/passwd\n", "MetaImage"),
        (gzip.compress(b"<html>", mtime=0), "it is compressed a web page"),
        (gzip.compress(bytes(10_000_000), mtime=0), "no image that is known here"),
        (b"GIF89a", "no image that is known here"),
        (b"MATLAB 5.0 MAT-file" + bytes(200), "version 7 or older"),
        (b"x", "no image"),
    ],
)
def test_what_is_no_image_is_refused_by_name(look_at: LookAt, content: bytes, found: str) -> None:
    with pytest.raises(Refused, match=found) as refused:
        look_at(content)
    assert refused.value.status == (422 if content.startswith(b"MATLAB") else 415)


def test_an_empty_file_is_refused(look_at: LookAt) -> None:
    with pytest.raises(Refused, match="empty"):
        look_at(b"")


@pytest.mark.parametrize(
    "content",
    [
        claiming(32767, 32767, 1000),
        claiming(1000, 1001, 1),
        claiming(100, 100, 100, bytes_a_voxel=8, offset=2e7),
        bomb(30),
        bomb(2),
        nifti() + bytes(2_000_000),
    ],
    ids=["4 GB and more", "one row too many", "far offset", "bomb", "small bomb", "not compressed"],
)
def test_more_than_may_be_is_refused_without_taking_memory(look_at: LookAt, content: bytes) -> None:
    for sent in (content, gzip.compress(content) if content[:2] != b"\x1f\x8b" else content):
        tracemalloc.start()
        with pytest.raises(Refused) as refused:
            look_at(sent)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert refused.value.status == 413
        assert peak < 8_000_000


@pytest.mark.parametrize(
    "content",
    [
        claiming(100, 100, 100),
        claiming(0, 6, 7),
        claiming(-5, -6, 7),
        claiming(5, 6, 7, 2),
        claiming(5, 6, 7, offset=float("nan")),
        claiming(5, 6, 7, offset=float("inf")),
        claiming(5, 6, 7, offset=-1000),
        nifti(dtype="complex64"),
        nifti()[:348],
    ],
    ids=["too few voxels", "no voxels", "negative", "four", "nan", "inf", "before", "complex", "header alone"],
)
def test_a_header_that_does_not_fit_is_refused(look_at: LookAt, content: bytes) -> None:
    for sent in (content, gzip.compress(content)):
        with pytest.raises(Refused) as refused:
            look_at(sent)
        assert refused.value.status == 422


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "png", "jpg", "mat"])
def test_a_file_that_is_cut_anywhere_is_refused(look_at: LookAt, tmp_path: Path, kind: str) -> None:
    whole = {
        "nii": nifti(),
        "nii.gz": gzip.compress(nifti()),
        "png": picture(),
        "jpg": picture(kind="JPEG"),
        "mat": matlab(tmp_path / "slice"),
    }[kind]
    look_at(whole)
    last = len(whole) - (25 if kind == "png" else 3)  # nobody misses the end marks and check sums of a picture
    for length in {*range(0, last, max(1, len(whole) // 40)), last}:
        with pytest.raises(Refused) as refused:
            look_at(whole[:length])
        assert refused.value.status in (413, 415, 422)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=some.dictionaries(some.integers(4, 351), some.integers(0, 255), min_size=1, max_size=8),
    zipped=some.booleans(),
)
def test_whatever_a_header_says_the_answer_is_an_image_or_a_refusal(
    look_at: LookAt, damage: dict[int, int], zipped: bool
) -> None:
    content = bytearray(nifti())
    for place, value in damage.items():
        content[place] = value
    try:
        found = look_at(gzip.compress(bytes(content), 1) if zipped else bytes(content))
    except Refused as refused:
        assert refused.status in (413, 415, 422)  # noqa: PT017 - it need not be refused
    else:
        assert np.prod(found.shape) <= LIMITS.voxels
        assert np.isfinite(found.spacing_mm).all()


def _matlab_with(path: Path, *, inside: Callable[[h5py.File], object]) -> bytes:
    with h5py.File(path, "w", userblock_size=512) as file:
        inside(file)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file")
    return path.read_bytes()


def test_a_matlab_file_reads_no_other_file(look_at: LookAt, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(48)))
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["image"] = np.ones((8, 6), np.uint8)

    def elsewhere(file: h5py.File) -> None:
        kept = [(str(secret), 0, 48)]
        file.create_group("cjdata").create_dataset("image", (8, 6), "u1", external=kept)

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout((8, 6), "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "image", (8, 6))
        file.create_group("cjdata").create_virtual_dataset("image", layout)

    def linked(file: h5py.File) -> None:
        file.create_group("cjdata")["image"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "image")

    def all_linked(file: h5py.File) -> None:
        file["cjdata"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")

    def soft(file: h5py.File) -> None:
        file["cjdata/image"] = h5py.SoftLink("/elsewhere")

    for inside in (elsewhere, virtual, linked, all_linked, soft):
        with pytest.raises(Refused, match=r"other files|links") as refused:
            look_at(_matlab_with(tmp_path / f"{inside.__name__}.mat", inside=inside))
        assert refused.value.status == 422


def test_a_matlab_file_that_goes_in_circles_or_claims_much_is_refused(look_at: LookAt, tmp_path: Path) -> None:
    def circle(file: h5py.File) -> None:
        file["cjdata/again"] = file

    def huge(file: h5py.File) -> None:
        file.create_dataset("cjdata/image", (1 << 20, 1 << 20), "f8", chunks=(1 << 10, 1 << 10))

    with pytest.raises(Refused, match="more than 1000 parts"):
        look_at(_matlab_with(tmp_path / "circle", inside=circle))
    with pytest.raises(Refused, match="expected 1 to"):
        look_at(_matlab_with(tmp_path / "huge", inside=huge))


def test_real_files_are_taken(look_at: LookAt, shared: Path) -> None:
    files = [*(shared / "data/formats").rglob("*.nii*"), *(shared / "data/figshare").glob("[12]*.mat")]
    assert len(files) > 10
    for path in files:
        found = look(path, limits=Limits())
        assert path.name.endswith(found.ending)
        assert len(found.spacing_mm) == len(found.shape)
