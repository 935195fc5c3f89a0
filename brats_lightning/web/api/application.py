"""The web application: its parts put together, its errors in sentences, its OpenAPI document."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib import metadata
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from brats_lightning.web.api.events import Streams
from brats_lightning.web.api.guards import Guard, Guards
from brats_lightning.web.api.replies import refusal
from brats_lightning.web.api.routes_cases import case_routes
from brats_lightning.web.api.routes_files import file_routes
from brats_lightning.web.api.routes_login import login_routes
from brats_lightning.web.api.routes_pages import page_routes
from brats_lightning.web.api.routes_results import result_routes
from brats_lightning.web.api.services import DISCLAIMER, Jobs, Services
from brats_lightning.web.files.inspecting import Inspectors
from brats_lightning.web.files.store import CaseStore
from brats_lightning.web.limits import Limits, Refused
from brats_lightning.web.records import Kind

EXPIRY_SECONDS = 30.0
"""Between looks for cases whose time is over."""
_log = logging.getLogger(__name__)
_SENTENCES = {
    404: "there is nothing at this address: /docs lists what there is",
    405: "this address does not take this method: /docs lists what there is",
}


def application(
    *,
    store: CaseStore,
    queue: Jobs,
    inspectors: Inspectors,
    limits: Limits,
    guards: Guards | None = None,
    example: Callable[[], Mapping[Kind, Path]] | None = None,
) -> FastAPI:
    """Put the server's parts together; while it runs, `app.state.streams` is what open pages listen to.

    Args:
        store: Cases.
        queue: Their work; the application ends it, and does not begin it.
        inspectors: Processes that look into files.
        limits: What is taken at most.
        guards: Who may come in; None lets in everybody on this machine.
        example: Makes the files of a synthetic case.
    """
    guards = guards or Guards()
    streams = Streams(store)
    services = Services(store, queue, inspectors, limits, guards, streams, example)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        expiry = asyncio.create_task(_expire(services))
        try:
            yield
        finally:
            expiry.cancel()
            streams.end()
            with suppress(asyncio.CancelledError):
                await expiry
            await queue.close()
            inspectors.close()

    app = FastAPI(
        title="brats serve",
        version=metadata.version("brats-lightning"),
        description=f"Brain tumours segmented: put a case's images, start, look, take away. {DISCLAIMER}",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # A redirect would tell the Host header's name.
        redirect_slashes=False,
    )
    app.state.streams = streams
    app.add_middleware(Guard, guards=guards)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for router in (case_routes(services), file_routes(services), result_routes(services), login_routes(guards)):
        app.include_router(router)
    app.include_router(page_routes())
    return app


async def _expire(services: Services) -> None:
    """Erase, again and again, the cases whose time is over."""
    while True:
        try:
            await asyncio.to_thread(services.expire)
        except OSError as error:
            _log.warning("expired cases could not be erased (%s): trying again", error.strerror)
        await asyncio.sleep(EXPIRY_SECONDS)


async def _refused(_: Request, error: Exception) -> Response:
    return refusal(error) if isinstance(error, Refused) else refusal(Refused(500, "something went wrong"))


async def _invalid(_: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    # What was sent is not repeated: it may be a token, or a name.
    problems = [f"{'.'.join(str(part) for part in each['loc'][1:]) or each['loc'][0]}: {each['msg']}" for each in found]
    return refusal(Refused(422, "; ".join(problems[:5])))


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    answer = refusal(Refused(status, _SENTENCES.get(status, str(getattr(error, "detail", "")))))
    if status == 405:
        # The framework names the methods of the first route of the address alone.
        methods = request.app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", ""), {"get": None})
        answer.headers["allow"] = ", ".join(sorted(method.upper() for method in methods))
    return answer
