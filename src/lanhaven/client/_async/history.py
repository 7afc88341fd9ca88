"""What was asked, by whom, and how long it took."""

from __future__ import annotations

from lanhaven.client._admin_calls import HISTORY, post, request_path, said
from lanhaven.client._admin_types import (
    BodiesKept,
    HistorySeries,
    RequestBody,
    RequestDetails,
    RequestsPage,
    UsageReport,
)
from lanhaven.client._async.exchange import AsyncExchange
from lanhaven.client._protocol import get


class AsyncHistory:
    """By `client.history`; it needs a key with the scope debug, for bodies admin, where there are keys.
    UnsupportedFeature where the history is off, or the server is not LanHaven."""

    def __init__(self, exchange: AsyncExchange) -> None:
        self._exchange = exchange

    async def requests(
        self,
        *,
        limit: int | None = None,
        before: str | None = None,
        model: str | None = None,
        key: str | None = None,
        status: str | None = None,
        q: str | None = None,
    ) -> RequestsPage:
        """Requests, the newest first. before: `next` of the page before. status: pending, completed, failed,
        cancelled. q: a text in one of the names, in the error or in the address."""
        query = said(limit=limit, before=before, model=model, key=key, status=status, q=q)
        call = get(f"{HISTORY}/requests", self._exchange.settings, query, "history")
        return RequestsPage.read(await self._exchange.json(call))

    async def request(self, request_id: str) -> RequestDetails:
        """One request, with its phases. NotFound."""
        call = get(request_path(request_id), self._exchange.settings)
        return RequestDetails.read(await self._exchange.json(call))

    async def body(self, request_id: str) -> RequestBody:
        """What was asked and answered, word for word, where it was kept. NotFound where it was not."""
        call = get(f"{request_path(request_id)}/body", self._exchange.settings)
        return RequestBody.read(await self._exchange.json(call))

    async def keep_bodies(self, *, enabled: bool = True, minutes: float = 15.0) -> BodiesKept:
        """Keep the bodies of requests for so many minutes, in the server's memory; or forget those that there are."""
        body = {"enabled": enabled, "minutes": minutes}
        return BodiesKept.read(
            await self._exchange.json(post("/admin/bodies", body, self._exchange.settings, "history"))
        )

    async def usage(self, *, days: int | None = None, by: str | None = None) -> UsageReport:
        """Requests and tokens of the last days (7; by the clock of the server, today is one of them), by key, model
        or day."""
        call = get(f"{HISTORY}/usage", self._exchange.settings, said(days=days, by=by), "history")
        return UsageReport.read(await self._exchange.json(call))

    async def series(
        self, window: str | None = None, *, model: str | None = None, key: str | None = None
    ) -> HistorySeries:
        """A chart. window: 15m, 1h, 6h, 24h or 7d."""
        call = get(f"{HISTORY}/series", self._exchange.settings, said(window=window, model=model, key=key), "history")
        return HistorySeries.read(await self._exchange.json(call))
