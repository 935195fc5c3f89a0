from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from brats_lightning.data.cache import CaseCache
from brats_lightning.data.cases import find_cases
from brats_lightning.data.feeding.memory import free_device_bytes, free_host_bytes, predicted_bytes
from brats_lightning.data.homes import MemoryHome
from brats_lightning.data.preprocessing import Preprocessing

GB = 10**9


@pytest.mark.parametrize("preprocessing", [Preprocessing(size=(8, 9, 10)), Preprocessing(size=None)])
def test_the_prediction_is_what_the_cases_take(
    write_case: Callable[..., Path], tmp_path: Path, preprocessing: Preprocessing
) -> None:
    for number, edge in enumerate((18, 20, 22)):
        write_case(f"BraTS2021_{number:05}", ending=".nii", shape=(edge, edge, edge))
    cases = find_cases(tmp_path / "cases").cases
    cache = CaseCache(preprocessing, MemoryHome())
    cache.fill(cases, workers=0)
    samples = [cache.get(case) for case in cases]
    held = sum(sample.image.nbytes + sample.label.nbytes for sample in samples if sample.label is not None)
    assert predicted_bytes(cache, cases) == held
    assert predicted_bytes(cache, []) == 0


def system(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


MACHINE = {"proc/meminfo": "MemTotal: 9000000 kB\nMemFree: 100 kB\nMemAvailable: 8000000 kB\n"}


def test_free_memory_is_what_the_machine_has_available(tmp_path: Path) -> None:
    assert free_host_bytes(system(tmp_path, MACHINE)) == 8_000_000 * 1024


@pytest.mark.parametrize(
    ("limit", "used", "stat"),
    [
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ],
)
def test_a_batch_systems_limit_counts(tmp_path: Path, limit: str, used: str, stat: str) -> None:
    group = {limit: f"{4 * GB}\n", used: f"{3 * GB}\n", stat: f"anon 5\ninactive_file {GB}\n"}
    files = MACHINE | {f"sys/fs/cgroup/{name}": text for name, text in group.items()}
    assert free_host_bytes(system(tmp_path, files)) == 2 * GB
    (tmp_path / "sys/fs/cgroup" / limit).write_text("max\n")
    assert free_host_bytes(tmp_path) == 8_000_000 * 1024


@pytest.mark.parametrize(
    ("line", "folder", "limit", "used"),
    [
        ("0::/slurm/job_5/step_0/task_1", "slurm/job_5", "memory.max", "memory.current"),
        ("4:memory:/slurm/job_5/step_0", "memory/slurm/job_5", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ],
)
def test_the_limit_of_a_slurm_job_counts(tmp_path: Path, line: str, folder: str, limit: str, used: str) -> None:
    group = {limit: f"{4 * GB}\n", used: f"{3 * GB}\n", "memory.stat": f"inactive_file {GB}\n"}
    files = MACHINE | {f"sys/fs/cgroup/{folder}/{name}": text for name, text in group.items()}
    files["proc/self/cgroup"] = f"9:name=systemd:/elsewhere\n{line}\n"
    assert free_host_bytes(system(tmp_path, files)) == 2 * GB
    (tmp_path / "proc/self/cgroup").write_text("9:name=systemd:/elsewhere\n3:cpu:/slurm/job_5\n")
    assert free_host_bytes(tmp_path) == 8_000_000 * 1024


def test_a_machine_that_says_nothing_is_half_free(tmp_path: Path) -> None:
    assert free_host_bytes(tmp_path) > 100_000_000


def test_only_a_gpu_has_device_memory() -> None:
    assert free_device_bytes(torch.device("cpu")) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_tells_its_free_memory() -> None:
    assert 0 < free_device_bytes(torch.device("cuda")) <= torch.cuda.get_device_properties(0).total_memory
