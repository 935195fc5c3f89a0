"""What was made of a case, one file a name."""

import re
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from brats_lightning.web.api.answers import file_answer
from brats_lightning.web.api.schemas import REFUSALS, CaseId
from brats_lightning.web.api.services import Services
from brats_lightning.web.limits import Refused

REPORT = "report.html"
REPORT_POLICY = "sandbox allow-scripts"
"""A report is a page with scripts and data of its own: it may run them, as nobody's page. Its own policy says more."""
_TYPES = {
    ".nii.gz": "application/gzip",
    ".png": "image/png",
    ".html": "text/html; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
}


def result_routes(services: Services) -> APIRouter:
    """The routes of results."""
    router = APIRouter(prefix="/api/cases/{case}", tags=["results"], responses=REFUSALS)
    router.add_api_route(
        "/results/{name:path}",
        _Results(services).read,
        methods=["GET"],
        response_class=Response,
        responses={
            200: {"content": {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in _TYPES.values()}},
            206: {"description": "A part, as `Range` asked for."},
            304: {"description": "As `If-None-Match` knows it."},
        },
    )
    return router


class _Results:
    def __init__(self, services: Services) -> None:
        self._store = services.store

    async def read(
        self,
        case: CaseId,
        name: Annotated[str, Path(description="One of the case's `results`.")],
        request: Request,
        download: Annotated[bool | None, Query(description="As a file to keep; null: only the report is.")] = None,
    ) -> Response:
        """A result: the mask, volumes for a viewer, pictures, the report, tables."""
        record = self._store.get(case)
        if name not in record.results:
            raise Refused(404, "the case has no such result: its `results` lists what there is")
        headers = {}
        report = name == REPORT
        if report:
            headers["content-security-policy"] = REPORT_POLICY
        if download or (report and download is None):
            headers["content-disposition"] = f'attachment; filename="{download_name(record.name, name)}"'
        kind = next((kind for ending, kind in _TYPES.items() if name.endswith(ending)), "application/octet-stream")
        return await file_answer(request, self._store.results(case) / name, media_type=kind, headers=headers)


def download_name(case: str, result: str) -> str:
    """What a result is called on the user's disk: after its case, in letters that every system takes.

    >>> download_name("BraTS2021_00006", "volumes/entropy.nii.gz"), download_name('../Zoë "', "mask.nii.gz")
    ('BraTS2021_00006_entropy.nii.gz', 'Zo_mask.nii.gz')
    """
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", case).strip("._-")[:80] or "case"
    return f"{stem}_{result.rpartition('/')[2]}"
