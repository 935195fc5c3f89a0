"""Having files looked into by processes that may crash, hang or be killed without harm to the server."""

import asyncio
import json
import os
import queue
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from brats_lightning.web.files.contents import Inspected
from brats_lightning.web.files.unpacking import Unpacked
from brats_lightning.web.limits import Limits, Refused, disk_refusal

Found = TypeVar("Found", Inspected, Unpacked)
_LONGEST_ANSWER = 4 << 20
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_GAVE_UP = "reading it crashed, or took more time or memory than an image does: it is damaged, send another file"


class Inspectors:
    """Processes that look into files; they start when first asked, and anew where one has died.

    Args:
        limits: What files may hold.
        processes: That work at once.
        seconds: After which a file is given up.
    """

    def __init__(self, limits: Limits, processes: int = 1, *, seconds: float = 120) -> None:
        self.limits = limits
        self.seconds = seconds
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="inspector")
        self._idle: queue.SimpleQueue[_Inspector] = queue.SimpleQueue()
        self._all = [_Inspector(limits) for _ in range(processes)]
        for inspector in self._all:
            self._idle.put(inspector)

    async def inspect(self, path: Path) -> Inspected:
        """Read a file from beginning to end.

        Raises:
            Refused: Nothing that is taken here, too large, damaged, or too much for the process.
        """
        return await self._ask({"path": str(path)}, TypeAdapter(Inspected))

    async def unpack(self, path: Path, *, into: Path, room: int) -> Unpacked:
        """Write the images of a zip into a folder as `unpack` of `unpacking.py` does.

        Raises:
            Refused: As there, or the disk is full.
        """
        return await self._ask({"path": str(path), "into": str(into), "room": str(room)}, TypeAdapter(Unpacked))

    def close(self) -> None:
        """End the processes; files that are being looked into are given up."""
        for inspector in self._all:
            inspector.stop()
        self._threads.shutdown(cancel_futures=True)

    async def _ask(self, request: Mapping[str, str], answer: TypeAdapter[Found]) -> Found:
        loop = asyncio.get_running_loop()
        line = await loop.run_in_executor(self._threads, self._line, json.dumps(request))
        said = json.loads(line) if line else {}
        if "errno" in said:
            raise disk_refusal(OSError(int(said["errno"]), os.strerror(int(said["errno"]))))
        if "sentence" in said:
            raise Refused(int(said["status"]), str(said["sentence"]))
        try:
            return answer.validate_python(said.get("found"))
        except ValidationError as error:
            raise Refused(422, _GAVE_UP) from error

    def _line(self, request: str) -> bytes:
        inspector = self._idle.get()
        try:
            return inspector.ask(request, self.seconds)
        finally:
            self._idle.put(inspector)


class _Inspector:
    """One process, started when it is needed."""

    def __init__(self, limits: Limits) -> None:
        self._arguments = json.dumps(asdict(limits))
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def ask(self, request: str, seconds: float) -> bytes:
        """Its answer, empty where it died or took too long, after which the next question starts another."""
        process = self._running()
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - pipes, see below
            process.stdin.write(request.encode() + b"\n")
            process.stdin.flush()
            answer = _read_line(process.stdout.fileno(), seconds)
        except (OSError, ValueError):  # it has died, or the pipes were closed to end it
            answer = b""
        if not answer:
            self._end()
        return answer

    def stop(self) -> None:
        """End it for good."""
        self._closed = True
        self._end()

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._closed:
            raise Refused(503, "the server is being stopped: try again later")
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(  # noqa: S603 - this program itself
                [sys.executable, "-m", "brats_lightning.web.files.inspector", self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **dict.fromkeys(_THREADS, "1")},
            )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what it was asked last cannot be sent any more
                    pipe.close()


def _read_line(pipe: int, seconds: float) -> bytes:
    """A line of a pipe without its end; empty where it ends, is too long, or takes too long."""
    deadline = time.monotonic() + seconds
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while len(line) < _LONGEST_ANSWER and selector.select(max(0.0, deadline - time.monotonic())):
            part = os.read(pipe, 1 << 16)
            if not part:
                return b""
            line += part
            if line.endswith(b"\n"):
                return line[:-1]
    return b""
