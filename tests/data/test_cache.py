import errno
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from brats_lightning.data import cache as cache_module
from brats_lightning.data.cache import CaseCache, FileKey
from brats_lightning.data.case import Case
from brats_lightning.data.cases import find_cases
from brats_lightning.data.homes import DiskHome, Home, MemoryHome, NoHome
from brats_lightning.data.preprocessing import Preprocessing, Sample
from brats_lightning.errors import BratsError

Write = Callable[..., Path]
SMALL = Preprocessing(size=(8, 9, 10))


@pytest.fixture
def cases(write_case: Write, tmp_path: Path) -> tuple[Case, ...]:
    for number in range(4):
        write_case(f"BraTS2021_{number:05}", ending=".nii", seed=number)
    return find_cases(tmp_path / "cases").cases


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each case was preprocessed in this process."""
    counts: Counter[str] = Counter()
    build = Preprocessing.__call__

    def counted(pipeline: Preprocessing, case: Case) -> Sample:
        counts[case.id] += 1
        return build(pipeline, case)

    monkeypatch.setattr(Preprocessing, "__call__", counted)
    return counts


def same(one: Sample, other: Sample) -> bool:
    assert one.label is not None
    assert other.label is not None
    return torch.equal(one.image, other.image) and torch.equal(one.label, other.label) and one.notes == other.notes


def names_of(cache: CaseCache) -> list[str]:
    assert isinstance(cache.home, DiskHome)
    return sorted(path.name for path in cache.home.folder.iterdir())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_filled_in_any_way_it_gives_what_the_pipeline_gives(
    cases: tuple[Case, ...], tmp_path: Path, kind: str, workers: int
) -> None:
    home: Home = DiskHome(tmp_path / "cache") if kind == "disk" else MemoryHome()
    cache = CaseCache(SMALL, home)
    assert cache.fill(cases, workers=workers) == []
    assert cache.missing(cases) == []
    for case in cases:
        assert same(cache.get(case), SMALL(case))


def test_each_case_is_built_once(cases: tuple[Case, ...], tmp_path: Path, built: Counter[str]) -> None:
    for home in (MemoryHome(), DiskHome(tmp_path / "cache")):
        cache = CaseCache(SMALL, home)
        cache.fill(cases, workers=0)
        cache.fill(cases, workers=0)
        for case in cases * 3:
            cache.get(case)
        assert set(built.values()) == {1}
        built.clear()
    again = CaseCache(SMALL, DiskHome(tmp_path / "cache"))
    assert again.fill(cases, workers=0) == []
    again.get(cases[0])
    assert not built


def test_without_a_home_cases_are_checked_and_built_at_every_use(cases: tuple[Case, ...], built: Counter[str]) -> None:
    cache = CaseCache(SMALL, NoHome())
    assert cache.fill(cases, workers=0) == []
    assert not built
    cache.get(cases[0])
    assert same(cache.get(cases[0]), SMALL(cases[0]))
    assert built[cases[0].id] == 3


@pytest.mark.parametrize(("kind", "workers"), [("disk", 2), ("memory", 2), ("disk", 0), ("none", 2)])
def test_filling_reports_bad_cases_and_goes_on(
    cases: tuple[Case, ...], tmp_path: Path, kind: str, workers: int
) -> None:
    for case in cases[1:3]:
        case.files[0].write_bytes(b"no image")
    homes: dict[str, Home] = {"memory": MemoryHome(), "none": NoHome()}
    cache = CaseCache(SMALL, homes.get(kind) or DiskHome(tmp_path / "cache"))
    problems = cache.fill(cases, workers=workers)
    assert sorted(problem.case for problem in problems) == [case.id for case in cases[1:3]]
    assert all("not a readable volume" in problem.what or "shorter" in problem.what for problem in problems)
    if kind != "none":
        assert [case.id for case in cache.missing(cases)] == [case.id for case in cases[1:3]]


def test_filling_can_be_stopped_and_goes_on_with_what_is_missing(
    cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: Counter[str]
) -> None:
    save = DiskHome.save

    def stop_at_the_third(home: DiskHome, name: str, sample: Sample) -> None:
        if len(built) == 3:
            raise KeyboardInterrupt
        save(home, name, sample)

    cache = CaseCache(SMALL, DiskHome(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        patch.setattr(DiskHome, "save", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            cache.fill(cases, workers=0)
    assert len(names_of(cache)) == 2
    built.clear()
    cache = CaseCache(SMALL, DiskHome(tmp_path / "cache"))
    cache.fill(cases, workers=0)
    assert sorted(built) == [case.id for case in cases[2:]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_full_disk_ends_filling_in_words(
    cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    cache = CaseCache(SMALL, DiskHome(tmp_path / "cache"))
    with pytest.raises(BratsError, match="no space left"):
        cache.fill(cases, workers=workers)
    assert names_of(cache) == []


def test_a_damaged_entry_is_built_again(cases: tuple[Case, ...], tmp_path: Path, built: Counter[str]) -> None:
    cache = CaseCache(SMALL, DiskHome(tmp_path / "cache"))
    good = cache.get(cases[0])
    (entry,) = (tmp_path / "cache").iterdir()
    content = bytearray(entry.read_bytes())
    content[-5] ^= 1
    entry.write_bytes(content)
    assert same(cache.get(cases[0]), good)
    assert same(CaseCache(SMALL, DiskHome(tmp_path / "cache")).get(cases[0]), good)
    assert built[cases[0].id] == 2


def is_missing(case: Case, folder: Path, *, pipeline: Preprocessing = SMALL, file_key: FileKey = "content") -> bool:
    return bool(CaseCache(pipeline, DiskHome(folder), file_key=file_key).missing([case]))


def swap_two_voxels(path: Path) -> None:
    """Other contents of the same size and, to the nanosecond, of the same age."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-4000:-3000], content[-3000:-2000] = content[-3000:-2000], content[-4000:-3000]
    assert content != path.read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("number", range(5))
def test_a_change_of_contents_changes_the_key(cases: tuple[Case, ...], tmp_path: Path, number: int) -> None:
    CaseCache(SMALL, DiskHome(tmp_path / "cache")).fill(cases[:1], workers=0)
    assert not is_missing(cases[0], tmp_path / "cache")
    path = cases[0].files[number]
    os.utime(path, (1, 1))
    assert not is_missing(cases[0], tmp_path / "cache")
    if number < 4:
        swap_two_voxels(path)
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert is_missing(cases[0], tmp_path / "cache")


def test_the_faster_key_goes_by_size_and_age(cases: tuple[Case, ...], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    CaseCache(SMALL, DiskHome(folder), file_key="stat").fill(cases[:1], workers=0)
    assert is_missing(cases[0], folder, file_key="content")
    path = cases[0].files[0]
    swap_two_voxels(path)
    assert not is_missing(cases[0], folder, file_key="stat")
    os.utime(path, (1, 1))
    assert is_missing(cases[0], folder, file_key="stat")


def test_other_settings_have_other_entries(cases: tuple[Case, ...], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    CaseCache(SMALL, DiskHome(folder)).fill(cases[:1], workers=0)
    case = cases[0]
    assert not is_missing(case, folder)
    assert is_missing(case, folder, pipeline=replace(SMALL, crop=False))
    assert is_missing(case, folder, pipeline=replace(SMALL, modalities=("t1n", "t1c", "t2f", "t2w")))
    assert is_missing(replace(case, edition="2015"), folder)
    assert is_missing(replace(case, label=None), folder)
    assert is_missing(replace(case, images={**case.images, "t1n": case.images["t1c"]}), folder)
    assert is_missing(replace(case, id="other"), folder)


def test_a_cache_may_be_shared_by_folders_that_moved(cases: tuple[Case, ...], tmp_path: Path) -> None:
    CaseCache(SMALL, DiskHome(tmp_path / "cache")).fill(cases, workers=0)
    (tmp_path / "cases").rename(tmp_path / "moved")
    for case in find_cases(tmp_path / "moved").cases:
        assert not is_missing(case, tmp_path / "cache")


def test_channels_of_one_file_are_told_apart(write_decathlon: Callable[[], Path], tmp_path: Path) -> None:
    case = find_cases(write_decathlon()).cases[0]
    swapped = replace(case, images={**case.images, "t1n": case.images["t2f"], "t2f": case.images["t1n"]})
    CaseCache(SMALL, DiskHome(tmp_path / "cache")).fill([case], workers=0)
    assert is_missing(swapped, tmp_path / "cache")


def test_a_file_that_is_gone_is_a_problem_of_its_case(cases: tuple[Case, ...], tmp_path: Path) -> None:
    cases[0].files[1].unlink()
    (problem,) = CaseCache(SMALL, DiskHome(tmp_path / "cache")).fill(cases, workers=0)
    assert problem.case == cases[0].id
    assert problem.what == "the file is not there"


def fill_in_another_process(cases: tuple[Case, ...], folder: Path, barrier: object) -> None:
    torch.set_num_threads(1)
    barrier.wait()  # type: ignore[attr-defined]
    for _ in range(3):
        cache = CaseCache(SMALL, DiskHome(folder))
        assert cache.fill(cases, workers=0) == []
        assert all(same(cache.get(case), SMALL(case)) for case in cases)


def test_two_processes_may_fill_one_folder_at_the_same_time(cases: tuple[Case, ...], tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [
        context.Process(target=fill_in_another_process, args=(cases, tmp_path / "cache", barrier)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    cache = CaseCache(SMALL, DiskHome(tmp_path / "cache"))
    assert cache.missing(cases) == []
    assert len(names_of(cache)) == len(cases)


def test_progress_says_what_is_done(cases: tuple[Case, ...], capsys: pytest.CaptureFixture[str]) -> None:
    CaseCache(SMALL, MemoryHome()).fill(cases, workers=0)
    assert "Preprocessing cases" in capsys.readouterr().out
    CaseCache(SMALL, NoHome()).fill(cases, workers=0)
    assert "Checking cases" in capsys.readouterr().out


def test_a_new_format_has_new_entries(cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CaseCache(SMALL, DiskHome(tmp_path / "cache")).fill(cases[:1], workers=0)
    monkeypatch.setattr(cache_module, "FORMAT_VERSION", cache_module.FORMAT_VERSION + 1)
    assert is_missing(cases[0], tmp_path / "cache")


@pytest.mark.parametrize("file_key", ["content", "stat"])
def test_images_whose_names_are_put_right_make_another_entry(
    write_case: Write, tmp_path: Path, file_key: FileKey
) -> None:
    """The contents stay what they were, in their order by name as well (W sorts before f): only their parts change."""
    folder = write_case("BraTS-GLI-00001-000", names=("-t1n", "-t1c", "-t2W", "-t2f"), label="-seg", values=(1, 2))
    before = CaseCache(SMALL, DiskHome(tmp_path / "cache"), file_key=file_key).get(find_cases(folder).cases[0])
    t2w, t2f, aside = (folder / f"BraTS-GLI-00001-000-{kind}.nii.gz" for kind in ("t2w", "t2f", "aside"))
    t2f.rename(aside)
    t2w.with_name("BraTS-GLI-00001-000-t2W.nii.gz").rename(t2f)
    aside.rename(t2w)
    after = CaseCache(SMALL, DiskHome(tmp_path / "cache"), file_key=file_key).get(find_cases(folder).cases[0])
    assert not torch.equal(after.image, before.image)
    assert torch.equal(after.image, before.image[[0, 1, 3, 2]])


def test_a_label_is_not_taken_for_an_image(cases: tuple[Case, ...], tmp_path: Path) -> None:
    pipeline = replace(SMALL, modalities=("t1n",))
    CaseCache(pipeline, DiskHome(tmp_path / "cache")).fill(cases[:1], workers=0)
    image, label = cases[0].images["t1n"], cases[0].label
    assert isinstance(image, Path)
    assert label is not None
    assert is_missing(replace(cases[0], images={"t1n": label}, label=image), tmp_path / "cache", pipeline=pipeline)


def test_only_the_modalities_asked_for_count(cases: tuple[Case, ...], tmp_path: Path) -> None:
    pipeline = replace(SMALL, modalities=("t2f", "t1n"))
    CaseCache(pipeline, DiskHome(tmp_path / "cache")).fill(cases[:1], workers=0)
    for modality, counts in (("t1c", False), ("t2w", False), ("t1n", True)):
        path = cases[0].images[modality]  # type: ignore[index]
        assert isinstance(path, Path)
        swap_two_voxels(path)
        assert is_missing(cases[0], tmp_path / "cache", pipeline=pipeline) == counts
    without = {name: cases[0].images[name] for name in pipeline.modalities}
    CaseCache(pipeline, DiskHome(tmp_path / "cache")).fill(cases[:1], workers=0)
    assert not is_missing(replace(cases[0], images=without), tmp_path / "cache", pipeline=pipeline)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file's key was computed."""
    counts: Counter[str] = Counter()
    compute = cache_module._file_key

    def counted(path: Path, kind: FileKey) -> bytes:
        counts[path.name] += 1
        return compute(path, kind)

    monkeypatch.setattr(cache_module, "_file_key", counted)
    return counts


def test_a_file_of_several_modalities_is_hashed_once(
    write_decathlon: Callable[[], Path], tmp_path: Path, hashed: Counter[str]
) -> None:
    case = find_cases(write_decathlon()).cases[0]
    assert is_missing(case, tmp_path / "cache")
    assert hashed == {"BRATS_001.nii.gz": 2}  # the image and the label have one name


def test_without_a_home_nothing_is_hashed(cases: tuple[Case, ...], hashed: Counter[str]) -> None:
    cache = CaseCache(SMALL, NoHome())
    assert cache.missing(cases) == list(cases)
    assert cache.fill(cases, workers=0) == []
    cache.get(cases[0])
    assert not hashed


def test_what_could_not_be_read_for_its_key_is_never_found_again(
    cases: tuple[Case, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network's folder may be gone for the moment of hashing: what is then built has no known contents."""
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda *_arguments, **_options: (_ for _ in ()).throw(OSError()))
        keys = {cache_module._file_key(cases[0].files[0], "stat") for _ in range(2)}
    assert len(keys) == 2


@pytest.mark.parametrize(("workers", "missing", "started"), [(2, 4, 2), (9, 4, 4), (64, 40, 16), (0, 4, 0)])
def test_no_more_processes_start_than_there_is_work_for(
    cases: tuple[Case, ...], monkeypatch: pytest.MonkeyPatch, workers: int, missing: int, started: int
) -> None:
    asked: list[int] = []

    def loader(dataset: object, *, num_workers: int, **_options: object) -> list[object]:
        asked.append(num_workers)
        return []

    monkeypatch.setattr(cache_module, "DataLoader", loader)
    CaseCache(SMALL, NoHome()).fill([replace(cases[0], id=f"{number}") for number in range(missing)], workers=workers)
    assert asked == [started]
