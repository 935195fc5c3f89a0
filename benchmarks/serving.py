"""`brats serve` under load on this machine: is a case lost, does the server stay small, does it answer while it works?

    python benchmarks/serving.py [--checkpoint C] [--cases 50] [--clients 8] [--size 240 240 155]

Each client puts a phantom's four files, starts the case and listens to its events until it is segmented, then takes
the mask and begins with the next. Meanwhile one more client asks after a case twenty times a second. Without a
checkpoint there is a network of a few weights: what is measured is the server, and the work around the network that
keeps the machine busy. It ends once every case is segmented; reports and radiomics, which come later, are not waited
for.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue

import httpx

from brats_lightning.labels import MODALITIES
from brats_lightning.phantom.folder import phantom

NAMES = {"t1n": "_t1", "t1c": "_t1ce", "t2w": "_t2", "t2f": "_flair"}
PROBE_SECONDS = 0.05
LIMITS = ["--limits.requests_per_minute", "1000000", "--limits.cases", "1000", "--limits.queue", "1000"]


@dataclass
class Measured:
    """What came of it: seconds, MB, and which cases ended how."""

    uploads: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    masks: int = 0
    status_while_uploading: list[float] = field(default_factory=list)
    status_while_working: list[float] = field(default_factory=list)
    server_mb: list[float] = field(default_factory=list)


def write_checkpoint(path: Path) -> Path:
    """A network as training writes it, that tells the phantom's tumour by its brightness.

    Random weights would find thousands of specks, which take long to measure and are no tumour. Necrosis is nowhere,
    oedema where FLAIR is bright, enhancement where T1 with contrast agent is.
    """
    import torch  # noqa: PLC0415 - this process asks, and computes nothing

    from brats_lightning.data.preprocessing import Preprocessing  # noqa: PLC0415

    settings = {"spatial_dims": 3, "in_channels": 4, "out_channels": 4, "kernel_size": 1, "conv_only": True}
    network = {"class_path": "monai.networks.blocks.Convolution", "init_args": settings}
    weight, bias = torch.zeros(4, 4, 1, 1, 1), torch.tensor([0.0, -20, -6, -15])
    weight[2, 3], weight[3, 1] = 4, 6
    torch.save(
        {
            "state_dict": {"network.conv.weight": weight, "network.conv.bias": bias},
            "hyper_parameters": {"network": network, "regions": ["ET", "ED", "NCR", "WT", "TC"]},
            "datamodule_hyper_parameters": {"preprocessing": asdict(Preprocessing(size=(128, 128, 128)))},
        },
        path,
    )
    return path


@contextmanager
def server(checkpoint: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Address and process of a server until the end of the block; it has to leave by itself then."""
    command = [sys.executable, "-m", "brats_lightning", "serve", "--checkpoint", str(checkpoint), "--port", "0"]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--folder", str(folder / "served"), *LIMITS], stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            lines = process.stdout or ()
            yield next(line.split()[1] for line in lines if line.startswith("Open ")), process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(30)
    if code:
        raise SystemExit(f"the server ended with {code}")


def one_case(client: httpx.Client, images: Path, measured: Measured) -> None:
    """From making a case to its mask."""
    since = time.perf_counter()
    case = client.post("/api/cases").raise_for_status().json()["id"]
    for kind in MODALITIES:
        name = f"{images.name}{NAMES[kind]}.nii.gz"
        content = (images / name).read_bytes()
        client.put(f"/api/cases/{case}/images/{kind}", params={"name": name}, content=content).raise_for_status()
    measured.uploads.append(time.perf_counter() - since)
    client.post(f"/api/cases/{case}/start").raise_for_status()
    with client.stream("GET", f"/api/cases/{case}/events", timeout=None) as events:
        data = (json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: "))
        state = next(record["state"] for record in data if record["state"] in ("done", "failed", "cancelled"))
    measured.ended.append(state)
    measured.whole.append(time.perf_counter() - since)
    if state == "done":
        mask = client.get(f"/api/cases/{case}/results/mask.nii.gz")
        measured.masks += mask.status_code == 200 and mask.content[:2] == b"\x1f\x8b"


def work_off(url: str, waiting: "SimpleQueue[int]", images: Path, measured: Measured, uploading: list[int]) -> None:
    """A client: one case after the other."""
    with httpx.Client(base_url=url, timeout=300) as client, suppress(Empty):
        while True:
            waiting.get_nowait()
            uploading[0] = waiting.qsize()
            one_case(client, images, measured)


def probe(url: str, uploading: list[int], measured: Measured, end: threading.Event) -> None:
    """Ask after a case again and again, and note how long each answer took."""
    with httpx.Client(base_url=url, timeout=300) as client:
        case = client.post("/api/cases").raise_for_status().json()["id"]
        while not end.wait(PROBE_SECONDS):
            since = time.perf_counter()
            client.get(f"/api/cases/{case}").raise_for_status()
            seconds = time.perf_counter() - since
            (measured.status_while_uploading if uploading[0] else measured.status_while_working).append(seconds)


def watch(process: int, measured: Measured, end: threading.Event) -> None:
    """Note the server's memory, that of its workers not included."""
    status = Path(f"/proc/{process}/status")
    while not end.wait(0.1):
        with suppress(OSError, StopIteration):
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
            measured.server_mb.append(int(line.split()[1]) / 1000)


def load(url: str, process: int, images: Path, *, cases: int, clients: int) -> Measured:
    """Run all clients to their end."""
    measured, end, uploading = Measured(), threading.Event(), [cases]
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(cases):
        waiting.put(number)
    beside = [
        threading.Thread(target=probe, args=(url, uploading, measured, end)),
        threading.Thread(target=watch, args=(process, measured, end)),
    ]
    working = [
        threading.Thread(target=work_off, args=(url, waiting, images, measured, uploading)) for _ in range(clients)
    ]
    for thread in beside + working:
        thread.start()
    for thread in working:
        thread.join()
    end.set()
    for thread in beside:
        thread.join()
    return measured


def latencies(name: str, seconds: Sequence[float]) -> str:
    """A row of the table: median, 95th percentile and longest, in ms."""
    if len(seconds) < 2:
        return f"| {name} | {len(seconds)} | – | – | – |"
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    figures = " | ".join(f"{1000 * each:.1f}" for each in (statistics.median(seconds), p95, max(seconds)))
    return f"| {name} | {len(seconds)} | {figures} |"


def report(measured: Measured, *, cases: int, clients: int, megabytes: float) -> None:
    """Print the table."""
    print(f"\n{cases} cases of {megabytes:.1f} MB by {clients} clients, one job after the other")
    print(
        f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}, "
        f"fastapi {version('fastapi')} uvicorn {version('uvicorn')} torch {version('torch')}\n"
    )
    lost = cases - measured.masks
    print(f"Segmented {measured.ended.count('done')}, masks taken {measured.masks}, lost {lost}.")
    first = measured.server_mb[0] if measured.server_mb else 0.0
    most = max(measured.server_mb, default=0.0)
    print(f"Memory of the server, without its workers: {first:.0f} MB at the start, {most:.0f} at most.\n")
    print("| what | times | median ms | 95 % ms | longest ms |\n|---|---|---|---|---|")
    print(latencies("status, while others upload and a job runs", measured.status_while_uploading))
    print(latencies("status, while a job runs", measured.status_while_working))
    print(latencies("putting a case's four files", measured.uploads))
    print(latencies("a case from its first file to its mask", measured.whole))
    if lost:
        raise SystemExit(f"{lost} cases were lost")


def main() -> None:
    """Run everything, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--size", type=int, nargs=3, default=(240, 240, 155))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        x, y, z = arguments.size
        phantom(folder / "phantom", cases=1, size=(x, y, z), workers=1)
        (images,) = (path for path in (folder / "phantom").iterdir() if path.is_dir())
        checkpoint = arguments.checkpoint or write_checkpoint(folder / "small.ckpt")
        with server(checkpoint, folder) as (url, process):
            measured = load(url, process, images, cases=arguments.cases, clients=arguments.clients)
        megabytes = sum((images / f"{images.name}{name}.nii.gz").stat().st_size for name in NAMES.values()) / 1e6
    report(measured, cases=arguments.cases, clients=arguments.clients, megabytes=megabytes)


if __name__ == "__main__":
    main()
