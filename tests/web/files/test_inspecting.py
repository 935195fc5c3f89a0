import asyncio
import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from brats_lightning.web.files.contents import Inspected
from brats_lightning.web.files.inspecting import Inspectors
from brats_lightning.web.limits import Limits, Refused
from tests.web.image_bytes import SHAPE, bomb, claiming, nifti, packed

IMAGE = Inspected(".nii", SHAPE, (2, 2, 2), len(nifti()))


@pytest.fixture
def inspectors() -> Iterator[Inspectors]:
    made = Inspectors(Limits(unpacked_mb=300), seconds=20)
    yield made
    made.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(nifti())
    return path


def child(inspectors: Inspectors) -> int:
    """Number of its process."""
    process = inspectors._all[0]._process
    assert process is not None
    return process.pid


def peak_mb(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def test_files_are_looked_into_by_another_process_in_little_memory(
    inspectors: Inspectors, image: Path, tmp_path: Path
) -> None:
    async def ask() -> None:
        assert await inspectors.inspect(image) == IMAGE
        before = child(inspectors)
        assert before != os.getpid()
        for content in (bomb(100), gzip.compress(claiming(32767, 32767, 32767)), claiming(1000, 1000, 120)):
            image.write_bytes(content)
            with pytest.raises(Refused) as refused:
                await inspectors.inspect(image)
            assert refused.value.status in (413, 422)
        image.write_bytes(packed({"t1.nii": nifti()}))
        assert (await inspectors.inspect(image)).ending == ".zip"
        (tmp_path / "into").mkdir()
        assert (await inspectors.unpack(image, into=tmp_path / "into", room=10**6)).names == ("t1.nii",)
        assert child(inspectors) == before
        assert peak_mb(before) < 150

    asyncio.run(ask())


def test_its_process_cannot_take_the_machines_memory_files_or_a_core_dump(inspectors: Inspectors, image: Path) -> None:
    asyncio.run(inspectors.inspect(image))
    text = Path(f"/proc/{child(inspectors)}/limits").read_text()
    limits = {line[:26].strip(): line[26:].split()[0] for line in text.splitlines()}
    assert int(limits["Max address space"]) == 4 << 30
    assert int(limits["Max file size"]) == 300_000_000
    assert int(limits["Max core file size"]) == 0
    assert int(limits["Max cpu time"]) < 120


def test_a_killed_process_costs_one_refusal(inspectors: Inspectors, image: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it waits

    async def ask() -> None:
        await inspectors.inspect(image)
        waiting = asyncio.create_task(inspectors.inspect(tmp_path / "pipe"))
        await asyncio.sleep(0.1)
        os.kill(child(inspectors), signal.SIGKILL)
        with pytest.raises(Refused, match="reading it crashed") as refused:
            await waiting
        assert refused.value.status == 422
        assert await inspectors.inspect(image) == IMAGE
        os.kill(child(inspectors), signal.SIGSEGV)  # between two questions
        time.sleep(0.1)
        assert await inspectors.inspect(image) == IMAGE

    asyncio.run(ask())


def test_a_process_that_takes_too_long_is_ended(inspectors: Inspectors, image: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    asyncio.run(inspectors.inspect(image))
    first = child(inspectors)
    inspectors.seconds = 0.3
    began = time.monotonic()
    with pytest.raises(Refused, match="took more time"):
        asyncio.run(inspectors.inspect(tmp_path / "pipe"))
    assert time.monotonic() - began < 3
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    inspectors.seconds = 20
    assert asyncio.run(inspectors.inspect(image)) == IMAGE


def test_a_stop_of_the_terminal_is_left_to_the_server(inspectors: Inspectors, image: Path) -> None:
    asyncio.run(inspectors.inspect(image))
    before = child(inspectors)
    os.kill(before, signal.SIGINT)
    assert asyncio.run(inspectors.inspect(image)) == IMAGE
    assert child(inspectors) == before


def test_a_file_that_is_not_there_is_refused(inspectors: Inspectors, tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        asyncio.run(inspectors.inspect(tmp_path / "absent"))
    assert refused.value.status == 422
    assert str(tmp_path) not in str(refused.value)


def test_closing_ends_the_process_even_at_work(image: Path, tmp_path: Path) -> None:
    inspectors = Inspectors(Limits(), processes=2)
    asyncio.run(inspectors.inspect(image))
    os.mkfifo(tmp_path / "pipe")
    refused: list[Refused] = []

    def wait() -> None:
        try:
            asyncio.run(inspectors.inspect(tmp_path / "pipe"))
        except Refused as error:
            refused.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    processes = [one._process.pid for one in inspectors._all if one._process]
    inspectors.close()
    thread.join(5)
    assert len(refused) == 1
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_its_process_needs_no_torch() -> None:
    code = "import sys, brats_lightning.web.files.inspector; print({'torch', 'monai', 'lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
