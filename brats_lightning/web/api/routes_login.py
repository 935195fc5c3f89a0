"""The way in and out, for browsers; programs send `Authorization: Bearer TOKEN` instead."""

from fastapi import APIRouter, Request, Response

from brats_lightning.web.api.guards import Guards, admit_token
from brats_lightning.web.api.schemas import REFUSALS, Login
from brats_lightning.web.api.tokens import SESSION_SECONDS


def login_routes(guards: Guards) -> APIRouter:
    """The routes of sessions."""

    async def login(body: Login, request: Request, response: Response) -> None:
        """Exchange the server's token for a cookie."""
        admit_token(guards, body.token, guards.client(request.scope))
        response.set_cookie(
            guards.cookie,
            guards.tokens.new_session(),
            max_age=SESSION_SECONDS,
            httponly=True,
            secure=guards.secure,
            samesite="strict",
        )

    async def logout(request: Request, response: Response) -> None:
        """End the session: its cookie is worth nothing any more."""
        guards.tokens.revoke(guards.session(request.scope))
        response.delete_cookie(guards.cookie, httponly=True, secure=guards.secure, samesite="strict")

    router = APIRouter(prefix="/api", tags=["server"], responses=REFUSALS)
    router.add_api_route("/login", login, methods=["POST"], status_code=204)
    router.add_api_route("/logout", logout, methods=["POST"], status_code=204)
    return router
