"""Cases: made, chosen for, started, cancelled, erased, and what happens to them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from brats_lightning.errors import BratsError
from brats_lightning.web.api.schemas import REFUSALS, About, CaseId, Chosen, ChosenNetworks, Health
from brats_lightning.web.api.services import DISCLAIMER, Services
from brats_lightning.web.files.uploads import receive
from brats_lightning.web.limits import Refused
from brats_lightning.web.records import CaseRecord

PIECE_BYTES = 1 << 20


def case_routes(services: Services) -> APIRouter:
    """The routes of cases."""
    routes = _Cases(services)
    router = APIRouter(prefix="/api", tags=["cases"], responses=REFUSALS)
    router.add_api_route("/about", routes.about, methods=["GET"], tags=["server"])
    router.add_api_route("/health", routes.health, methods=["GET"], tags=["server"])
    router.add_api_route("/cases", routes.create, methods=["POST"], status_code=201)
    router.add_api_route("/example", routes.create_example, methods=["POST"], status_code=201)
    router.add_api_route("/cases/{case}", routes.read, methods=["GET"])
    router.add_api_route("/cases/{case}", routes.choose, methods=["PATCH"])
    router.add_api_route("/cases/{case}", routes.erase, methods=["DELETE"], status_code=204)
    router.add_api_route("/cases/{case}/start", routes.start, methods=["POST"], status_code=202)
    router.add_api_route("/cases/{case}/cancel", routes.cancel, methods=["POST"])
    router.add_api_route(
        "/cases/{case}/events",
        routes.events,
        methods=["GET"],
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    return router


class _Cases:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self._example = asyncio.Lock()

    async def about(self) -> About:
        """What this server is, which networks it offers, and what it takes at most."""
        return About(
            version=metadata.version("brats-lightning"),
            networks=self._services.queue.networks,
            limits=asdict(self._services.limits),
            example=self._services.example is not None,
            disclaimer=DISCLAIMER,
        )

    async def health(self) -> Health:
        """Whether the server answers."""
        return Health()

    async def create(self, chosen: Chosen | None = None) -> CaseRecord:
        """Make a case: files are put into it next."""
        networks, needs = self._services.chosen(chosen.networks if chosen else None)
        return await run_in_threadpool(self._store.create, networks=networks, needs=needs)

    async def read(self, case: CaseId) -> CaseRecord:
        """How a case is now."""
        return self._store.get(case)

    async def choose(self, case: CaseId, chosen: ChosenNetworks) -> CaseRecord:
        """Choose the networks that will segment a case, which tells the modalities that it needs."""
        return await self._choose(case, chosen.networks)

    async def erase(self, case: CaseId) -> None:
        """Erase a case with all that it has: nothing brings it back."""
        self._store.get(case)
        await run_in_threadpool(self._services.queue.forget, case)
        await run_in_threadpool(self._store.erase, case)

    async def start(self, case: CaseId, chosen: Chosen | None = None) -> CaseRecord:
        """Put a case into the queue."""
        self._store.get(case)
        if chosen and chosen.networks:
            await self._choose(case, chosen.networks)
        await run_in_threadpool(self._services.queue.submit, case, "segment")
        return self._store.get(case)

    async def cancel(self, case: CaseId) -> CaseRecord:
        """Take a case out of the queue, or stop its work."""
        self._store.get(case)
        await run_in_threadpool(self._services.queue.cancel, case)
        return self._store.get(case)

    async def events(self, case: CaseId) -> StreamingResponse:
        """What happens to a case, as server-sent events: `case`, now and at each change; `gone` when it was erased."""
        stream = await self._services.streams.of(case)
        # A proxy that buffers would hold events back.
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def create_example(self) -> CaseRecord:
        """Make a synthetic case that has its files already, for trying the server without data."""
        example = self._services.example
        if example is None:
            raise Refused(404, "this server offers no example")
        try:
            async with self._example:  # made once, however many ask for it first
                files = await run_in_threadpool(example)
        except BratsError as error:
            raise Refused(507, str(error)) from error
        networks, needs = self._services.chosen(None)
        record = await run_in_threadpool(self._store.create, networks=networks, needs=needs, example=True)
        for kind, path in files.items():
            stream = _pieces(path)
            size = path.stat().st_size
            record = await receive(
                self._store, self._services.inspectors, record.id, name=path.name, stream=stream, length=size, kind=kind
            )
        return record

    async def _choose(self, case: str, names: list[str]) -> CaseRecord:
        networks, needs = self._services.chosen(names)
        return await run_in_threadpool(self._store.choose_networks, case, networks=networks, needs=needs)


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := await run_in_threadpool(file.read, PIECE_BYTES):
            yield piece
