"""The history's routes: charts, requests, usage, one request with its phases, and bodies on wish."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field

from lanhaven.errors import Forbidden, NotFound, UnsupportedFeature
from lanhaven.history import History
from lanhaven.history.listing import Asked
from lanhaven.keys.store import KeyScope
from lanhaven.server.admin_types import Body
from lanhaven.server.services import Services

Name = Annotated[str | None, Query(max_length=512)]
MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "No such request."}}


class BodiesBody(Body):
    """POST /admin/bodies."""

    enabled: bool
    minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 15.0


def history_router(services: Services) -> APIRouter:
    """Routes under /debug, and the switch for bodies."""
    router = APIRouter()
    looking: dict[str, Any] = {"methods": ["GET"], "tags": ["debug"]}
    api = Histories(services)
    router.add_api_route("/debug/history/series", api.series, **looking)
    router.add_api_route("/debug/history/requests", api.requests, **looking)
    router.add_api_route("/debug/history/usage", api.usage, **looking)
    router.add_api_route("/debug/requests/{request_id}", api.request, responses=MISSING, **looking)
    router.add_api_route("/debug/requests/{request_id}/body", api.body, responses=MISSING, **looking)
    router.add_api_route("/debug/bodies", api.bodies, **looking)
    router.add_api_route("/admin/bodies", api.set_bodies, methods=["POST"], tags=["admin"])
    return router


class Histories:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._bodies = services.bodies

    async def series(
        self, window: Literal["15m", "1h", "6h", "24h", "7d"] = "15m", model: Name = None, key: Name = None
    ) -> dict[str, Any]:
        """What the charts show: requests, times, tokens and gauges in equal steps. Counts are 0 and measures null where
        nothing was."""
        return await self._history.series(window, model, key)

    async def requests(
        self,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Name = None,
        model: Name = None,
        key: Name = None,
        status: Literal["pending", "completed", "failed", "cancelled"] | None = None,
        q: Name = None,
    ) -> dict[str, Any]:
        """Requests, the newest first; `next` is the `before` of the next page. Those under way come before the first
        page. `q` is a text in one of the names, in the error or in the address."""
        return await self._history.requests(Asked(limit, before, model, key, status, q))

    async def usage(
        self, days: Annotated[int, Query(ge=1, le=90)] = 7, by: Literal["key", "model", "day"] = "key"
    ) -> dict[str, Any]:
        """Requests and tokens of the last days (by the clock of the server, today is one), by key, model or day."""
        return await self._history.usage(days, by)

    async def request(self, request_id: str) -> dict[str, Any]:
        """One request: its phases, and the numbers and switches that it came with."""
        found = await self._history.request(request_id)
        return found | {"body": self._state_of(request_id)}

    async def body(self, request_id: str, request: Request) -> dict[str, Any]:
        """What was asked and answered, word for word, where it was kept. Needs the scope admin."""
        key = request.scope.get("lanhaven.key")
        if key is not None and KeyScope.ADMIN not in key.scopes:
            raise Forbidden("Forbidden", hint=f"this needs a key with the scope {KeyScope.ADMIN}")
        body = self._bodies.get(request_id)
        if body is None:
            raise NotFound("This body was not kept.", hint='POST /admin/bodies {"enabled": true} keeps those to come')
        return body.as_json()

    async def bodies(self) -> dict[str, Any]:
        """Whether bodies are kept now, until when, and how many there are."""
        left = self._bodies.seconds_left
        until = {} if left is None else {"until": _stamp(datetime.now(UTC) + timedelta(seconds=left))}
        kept, size = self._bodies.size
        return {"enabled": left is not None, **until, "kept": kept, "bytes": size}

    async def set_bodies(self, body: BodiesBody) -> dict[str, Any]:
        """Keep bodies from now on, in memory and for some minutes; or keep no more, and forget those that there are."""
        if body.enabled:
            self._bodies.enable(body.minutes * 60)
        else:
            self._bodies.disable()
        return await self.bodies()

    @property
    def _history(self) -> History:
        if self._services.history is None:
            raise UnsupportedFeature("The history is off.", hint="history: true in config.yaml", retry=False)
        return self._services.history

    def _state_of(self, request_id: str) -> str:
        if self._bodies.get(request_id) is not None:
            return "kept"
        return "off" if self._bodies.seconds_left is None else "gone"


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
