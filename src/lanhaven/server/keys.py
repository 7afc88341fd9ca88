"""`/admin/keys`: who may use the server, as the dashboard asks."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from lanhaven.errors import InvalidRequest, NotFound
from lanhaven.keys.key import KeyInfo, KeyScope, Limits, Terms, moment
from lanhaven.keys.showing import key_json
from lanhaven.keys.store import KeyStore, seconds_now
from lanhaven.keys.way_in import WayIn
from lanhaven.server.admin_types import Body
from lanhaven.server.callers import THIS_RUN, Callers
from lanhaven.server.cookie import set_cookie

DAY = 86_400.0
LONGEST_GRACE = 30 * DAY

Name = Annotated[str, Field(min_length=1, max_length=64)]
Limit = Annotated[int, Field(ge=1, le=1 << 50)] | None
Texts = Annotated[list[Annotated[str, Field(min_length=1, max_length=512)]], Field(min_length=1, max_length=100)]


class LimitsBody(Body):
    """How much within any minute, and any day; null: as much as it likes."""

    requests_per_minute: Limit = None
    requests_per_day: Limit = None
    tokens_per_minute: Limit = None
    tokens_per_day: Limit = None


class ChangeKeyBody(Body):
    """PATCH /admin/keys/{name}: what is not named stays, null takes a bound away."""

    scopes: Annotated[list[Annotated[KeyScope, Field(strict=False)]], Field(min_length=1)] | None = None
    models: Texts | None = None
    expires: Annotated[str, Field(max_length=64)] | None = None
    expires_in_days: Annotated[float, Field(gt=0, le=36_500)] | None = None
    networks: Texts | None = None
    limits: LimitsBody | None = None

    def terms(self, before: Terms) -> Terms:
        """`before` with what is said here. InvalidRequest."""
        said = self.model_fields_set
        return Terms(
            models=tuple(self.models or ()) if "models" in said else before.models,
            networks=tuple(self.networks or ()) if "networks" in said else before.networks,
            expires=self._expires() if said & {"expires", "expires_in_days"} else before.expires,
            limits=self._limits(before.limits) if "limits" in said else before.limits,
        )

    def _expires(self) -> float | None:
        if self.expires is not None and self.expires_in_days is not None:
            raise InvalidRequest("expires and expiresInDays say the same: send one.", param="expires")
        if self.expires_in_days is not None:
            return seconds_now() + self.expires_in_days * DAY
        try:
            return None if self.expires is None else moment(self.expires)
        except ValueError:
            raise InvalidRequest("expires is a time: 2026-12-31, or 2026-12-31T12:00:00Z.", param="expires") from None

    def _limits(self, before: Limits) -> Limits:
        if self.limits is None:
            return Limits()
        return replace(before, **{name: value for name, value in self.limits if name in self.limits.model_fields_set})


class NewKeyBody(ChangeKeyBody):
    """POST /admin/keys: a key without scopes named is for inference."""

    name: Name
    lmstudio: bool = False


class RotateBody(Body):
    """POST /admin/keys/{name}/rotate: how long the old key stays good."""

    grace_seconds: Annotated[float, Field(ge=0, le=LONGEST_GRACE)] = 0.0


def keys_router(callers: Callers) -> APIRouter:
    """Routes below /admin/keys."""
    router = APIRouter(prefix="/admin/keys", tags=["admin"])
    api = Keys(callers)
    missing: dict[int | str, dict[str, Any]] = {404: {"description": "No such key."}}
    own: dict[int | str, dict[str, Any]] = {409: {"description": "It is the caller's own key, or the last for admin."}}
    router.add_api_route("", api.keys, methods=["GET"])
    router.add_api_route("", api.add_key, methods=["POST"], status_code=201)
    router.add_api_route("/{name}", api.change_key, methods=["PATCH"], responses=missing | own)
    router.add_api_route("/{name}/rotate", api.rotate_key, methods=["POST"], responses=missing)
    router.add_api_route("/{name}", api.revoke_key, methods=["DELETE"], status_code=204, responses=missing | own)
    return router


class Keys:
    """The handlers. What changes the key file waits for the disk, in a thread."""

    def __init__(self, callers: Callers) -> None:
        self._callers = callers
        self._keys: KeyStore = callers.keys

    async def keys(self) -> dict[str, Any]:
        """All keys but those of this run: what they may do, and what they did. What they are is never shown again."""
        return {"keys": [self._shown(each) for each in self._keys.list()]}

    async def add_key(self, body: NewKeyBody, request: Request, response: Response) -> dict[str, Any]:
        """Make a key. `key` is shown this once.

        The first one closes a server that was open: the browser that made it stays signed in until the server stops.
        """
        scopes, terms = body.scopes or [KeyScope.INFERENCE], body.terms(Terms())
        secret = await asyncio.to_thread(self._keys.add, body.name, scopes, terms=terms, lmstudio=body.lmstudio)
        run = self._keys.named(THIS_RUN)
        if request.scope.get("lanhaven.key") is None and run is not None:
            host = request.headers.get("host", "").encode("latin-1")
            cookie = set_cookie(host, self._callers.sign_in(run), secure=request.url.scheme == "https")
            response.headers.append("set-cookie", cookie)
        return self._shown(self._named(body.name)) | {"key": secret}

    async def change_key(self, name: str, body: ChangeKeyBody, request: Request) -> dict[str, Any]:
        """Change what a key may do, from the next request on. Nobody takes `admin` from his own key so, nor from the
        last key that has it."""
        terms = body.terms(self._named(name).terms)
        await asyncio.to_thread(self._keys.change, name, body.scopes, terms, by=_by(request))
        return self._shown(self._named(name))

    async def rotate_key(self, name: str, body: RotateBody | None = None) -> dict[str, Any]:
        """A new key in place of an old one, which stays good for `graceSeconds`. `key` is shown this once; what runs
        goes on."""
        secret = await asyncio.to_thread(self._keys.rotate, name, body.grace_seconds if body is not None else 0.0)
        return self._shown(self._named(name)) | {"key": secret}

    async def revoke_key(self, name: str, request: Request, force: bool = False) -> Response:
        """Make a key worthless; what runs goes on. The key that the request came with only with `?force=true`, the last
        one that is good for admin not at all."""
        await asyncio.to_thread(self._keys.revoke, name, by=_by(request, leaving=force))
        return Response(status_code=204)

    def _shown(self, key: KeyInfo) -> dict[str, Any]:
        return key_json(key, self._keys.meters.used(key.name), seconds_now())

    def _named(self, name: str) -> KeyInfo:
        for key in self._keys.list():
            if key.name == name:
                return key
        raise NotFound(f"There is no key named {name}.", hint="GET /admin/keys")


def _by(request: Request, *, leaving: bool = False) -> WayIn:
    return WayIn(request.scope.get("lanhaven.key"), request.client.host if request.client else "", leaving)
