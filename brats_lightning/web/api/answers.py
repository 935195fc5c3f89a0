"""Files as answers."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from starlette.requests import Request
from starlette.responses import Response

from brats_lightning.web.limits import Refused


async def file_answer(
    request: Request, path: Path, *, media_type: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A file, or the word that the client has it already.

    Args:
        request: Whose `If-None-Match` and `Range` are honoured.
        path: Of the file; no client has a say in it.
        media_type: Of what it holds.
        headers: Of the answer, besides.

    Raises:
        Refused: It is not there any more.
    """
    try:
        found = await run_in_threadpool(path.stat)
    except OSError:
        raise Refused(404, "this file is no longer there: ask for the case to see what it has") from None
    digest = hashlib.blake2b(f"{found.st_mtime_ns} {found.st_size} {found.st_ino}".encode(), digest_size=12)
    tag = f'"{digest.hexdigest()}"'
    sent = {"etag": tag, **(headers or {})}
    known = request.headers.get("if-none-match", "")
    if tag in {each.strip().removeprefix("W/") for each in known.split(",")}:
        return Response(status_code=304, headers=sent)
    return FileResponse(path, media_type=media_type, headers=sent, stat_result=found)
