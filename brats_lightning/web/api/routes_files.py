"""Files of a case: put, named, removed."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool

from brats_lightning.web.api.schemas import RAW_BODY, REFUSALS, CaseId, ChosenKind, FileId, Name
from brats_lightning.web.api.services import Services
from brats_lightning.web.files.uploads import receive
from brats_lightning.web.limits import Refused
from brats_lightning.web.records import CaseRecord, Kind


def file_routes(services: Services) -> APIRouter:
    """The routes of files."""
    routes = _Files(services)
    router = APIRouter(prefix="/api/cases/{case}", tags=["files"], responses=REFUSALS)
    router.add_api_route("/files", routes.put, methods=["POST"], openapi_extra=RAW_BODY)
    router.add_api_route("/images/{kind}", routes.put_image, methods=["PUT"], openapi_extra=RAW_BODY)
    router.add_api_route("/files/{file}", routes.name, methods=["PATCH"])
    router.add_api_route("/files/{file}", routes.remove, methods=["DELETE"])
    return router


class _Files:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    async def put(self, case: CaseId, request: Request, name: Name) -> CaseRecord:
        """Put a file, or a zip of files, whose modality is recognised by its name."""
        return await self._put(case, request, name, None)

    async def put_image(
        self,
        case: CaseId,
        kind: Annotated[Kind, Path(description="Its modality; `seg` is a reference segmentation.")],
        request: Request,
        name: Name = "image",
    ) -> CaseRecord:
        """Put a file whose modality is known."""
        return await self._put(case, request, name, kind)

    async def name(self, case: CaseId, file: FileId, chosen: ChosenKind) -> CaseRecord:
        """Say what a file is, taking this from the file that was it."""
        return await run_in_threadpool(self._store.set_kind, case, file, chosen.kind)

    async def remove(self, case: CaseId, file: FileId) -> CaseRecord:
        """Erase a file."""
        before = self._store.get(case)
        after = await run_in_threadpool(self._store.remove_file, case, file)
        return await self._compared(before, after)

    async def _put(self, case: str, request: Request, name: str, kind: Kind | None) -> CaseRecord:
        before = self._store.get(case)
        form = request.headers.get("content-type", "").startswith("multipart/")
        if form or request.headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "expected the file itself as the request's body, as curl --data-binary @FILE sends it")
        announced = request.headers.get("content-length", "")
        after = await receive(
            self._store,
            self._services.inspectors,
            case,
            name=name,
            stream=_body(request),
            length=int(announced) if announced.isdecimal() else None,
            kind=kind,
        )
        return await self._compared(before, after)

    async def _compared(self, before: CaseRecord, after: CaseRecord) -> CaseRecord:
        await run_in_threadpool(self._services.changed_reference, before, after)
        return self._store.get(after.id)


async def _body(request: Request) -> AsyncIterator[bytes]:
    async for piece in request.stream():
        if piece:
            yield piece
