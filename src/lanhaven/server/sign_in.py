"""`/ui/session` and `/ui/link`: how a browser gets to be signed in, as whom, and out again."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from lanhaven import __version__
from lanhaven.errors import GatewayError, InvalidRequest
from lanhaven.server.admin_types import Body
from lanhaven.server.callers import Callers
from lanhaven.server.cookie import clear_cookie, set_cookie


class KeyBody(Body):
    """What somebody typed."""

    key: Annotated[str, Field(min_length=1, max_length=4096)]


def sign_in_router(callers: Callers) -> APIRouter:
    """Routes below /ui."""
    router = APIRouter(prefix="/ui", tags=["ui"])

    @router.get("/session")
    async def session(request: Request) -> dict[str, Any]:
        """Whether this browser is signed in, and what it may do. Without keys everybody is, and `key` is absent."""
        return session_json(callers, request)

    @router.post("/session", status_code=204)
    async def sign_in(body: KeyBody, request: Request) -> Response:
        """Sign in with a key: the reply's cookie stands for it, 30 days long, until the key is revoked, or is changed.

        429 after too many wrong keys from one address.
        """
        if callers.anybody:
            return Response(status_code=204)
        key = callers.by_key(_address(request), body.key.strip().encode())
        if key is None:
            raise InvalidRequest("The key is empty.", param="key")
        return _with_cookie(set_cookie(_host(request), callers.sign_in(key), secure=_secure(request)))

    @router.delete("/session", status_code=204)
    async def sign_out(request: Request) -> Response:
        """Sign out: the cookie is worthless from now on."""
        callers.sign_out(_host(request), _cookies(request))
        return _with_cookie(clear_cookie(_host(request), secure=_secure(request)))

    @router.post("/link")
    async def link(request: Request) -> dict[str, str]:
        """An address of the dashboard that signs one browser in, once, within ten minutes, with the asker's key."""
        token = callers.link(request.scope.get("lanhaven.key"))
        base = str(request.base_url)
        return {"url": base if token is None else f"{base}?token={token}"}

    return router


def session_json(callers: Callers, request: Request) -> dict[str, Any]:
    """The reply of GET /ui/session."""
    anybody, key = callers.anybody, request.scope.get("lanhaven.key")
    if key is None and not anybody:  # the first key may have come since the door let this request in without one
        with suppress(GatewayError):
            key = callers.by_cookie(_address(request), _host(request), _cookies(request))
    body: dict[str, Any] = {
        "signedIn": anybody or key is not None,
        "keyRequired": not anybody,
        "version": __version__,
        "tls": _secure(request),
    }
    if key is not None:
        body["key"] = {"name": key.name, "scopes": sorted(scope.value for scope in key.scopes)}
    return body


def _with_cookie(line: str) -> Response:
    return Response(status_code=204, headers={"set-cookie": line})


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _cookies(request: Request) -> bytes:
    return "; ".join(request.headers.getlist("cookie")).encode("latin-1")


def _host(request: Request) -> bytes:
    return request.headers.get("host", "").encode("latin-1")


def _secure(request: Request) -> bool:
    return request.url.scheme == "https"
