"""The page and what belongs to it: files of the package, none of a user's."""

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

from brats_lightning.web.api.answers import file_answer
from brats_lightning.web.limits import Refused

STATIC = Path(__file__).parents[1] / "static"
NIIVUE = Path(__file__).parents[2] / "reports" / "viewer" / "niivue.umd.js"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}


def page_routes() -> APIRouter:
    """The routes of the page, which are no part of the API."""
    files = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.suffix in _TYPES}
    files[NIIVUE.name] = NIIVUE

    async def static(name: str, request: Request) -> Response:
        path = files.get(name)
        if path is None:
            raise Refused(404, "there is no such file")
        return await file_answer(request, path, media_type=_TYPES[path.suffix])

    async def index(request: Request) -> Response:
        return await static("index.html", request)

    async def documentation(request: Request) -> Response:
        return await static("docs.html", request)

    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", index, methods=["GET"])
    router.add_api_route("/docs", documentation, methods=["GET"])
    router.add_api_route("/static/{name:path}", static, methods=["GET"])
    return router
