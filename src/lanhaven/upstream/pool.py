"""The upstream client: sends requests over pooled connections and holds every exchange to its time.

The environment's proxy variables mean nothing here: nobody reads them (F-048).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import NamedTuple

from lanhaven.errors import GatewayError, ProviderUnavailable, ServerShutdown, UpstreamTimeout
from lanhaven.types.models import Upstream
from lanhaven.upstream.address import JSON_TYPE, Address, address_of, head_of
from lanhaven.upstream.connection import Connection
from lanhaven.upstream.endpoint import Endpoint
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.timers import Timers
from lanhaven.upstream.tls import tls_context

__all__ = ["Timers", "UpstreamClient"]

STALE = 1.0  # seconds in which a reused connection that dies unanswered is taken to have been dead before
_HEADS = 512  # request heads remembered


class _Stale(Exception):
    """The idle connection had been closed by the upstream before the request was written."""


class _Target(NamedTuple):
    """What is the same in every request to one path of one upstream."""

    endpoint: Endpoint
    head: bytes


class UpstreamClient:
    """One per event loop. `tls` makes the context for https upstreams; it is called once, when first needed."""

    def __init__(self, timers: Timers, tls: Callable[[], ssl.SSLContext] = tls_context) -> None:
        self.timers = timers
        self._patient = timers.patient
        self._make_tls = tls
        self._tls: ssl.SSLContext | None = None
        self._targets: dict[tuple[Upstream, str, str], _Target] = {}
        self._endpoints: dict[Address, Endpoint] = {}
        self._active: dict[Exchange, Endpoint] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._closed = False

    def send(
        self,
        upstream: Upstream,
        path: str,
        body: bytes,
        *,
        stream: bool,
        drop_usage: bool = False,
        patient: bool = False,
        content_type: str | None = None,
    ) -> Awaitable[Exchange]:
        """POST JSON, or what `content_type` says.

        Returns when a streamed reply has begun, or any other is complete; the status may be an error's.
        patient: a whole reply has the time that a stream has up to its first byte, where that is more than `total`.
        `drop_usage`: leave out the chunk without choices that carries the usage (its numbers are in `outcome` anyway).
        ProviderUnavailable with facts {"connect": True}: nothing was sent, but where "sent" says that it may have been.
        UpstreamError, UpstreamTimeout otherwise.
        """
        target = self._target(upstream, "POST", path)
        head = target.head
        if content_type is not None:
            head = head.replace(JSON_TYPE, b"content-type: %b" % content_type.encode())
        request = b"%b%d\r\n\r\n%b" % (head, len(body), body)
        timers = self._patient if patient else self.timers
        return self._exchange(target, upstream, path, request, timers, stream=stream, drop_usage=drop_usage)

    async def get(self, upstream: Upstream, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
        """GET, for rare calls: the status, whatever it is, and the body's bytes, whatever they are."""
        target = self._target(upstream, "GET", path)
        try:
            async with asyncio.timeout(timeout):
                exchange = await self._exchange(
                    target, upstream, path, target.head + b"\r\n\r\n", self.timers, stream=False
                )
        except TimeoutError:
            raise UpstreamTimeout(f"The model's server did not answer within {timeout:g} s.") from None
        try:
            return exchange.status, await exchange.raw()
        finally:
            exchange.close()

    def abort(self, upstream: Upstream, error: GatewayError) -> None:
        """End every exchange with this upstream, those still waiting for their head included."""
        for exchange in tuple(self._active):
            if exchange.upstream == upstream:
                exchange.abort(error)

    async def aclose(self) -> None:
        """End everything. Idempotent; what is sent afterwards fails."""
        self._closed = True
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        for exchange in tuple(self._active):
            exchange.abort(_shutdown())
        for endpoint in self._endpoints.values():
            endpoint.close()
        for _ in range(100):
            if not self.open:
                break
            await asyncio.sleep(0)  # sockets close in the loop's next rounds

    @property
    def active(self) -> int:
        """Exchanges that are not over."""
        return len(self._active)

    @property
    def open(self) -> int:
        """Connections, idle ones included."""
        return sum(endpoint.open for endpoint in self._endpoints.values())

    @property
    def idle(self) -> int:
        return sum(endpoint.idle for endpoint in self._endpoints.values())

    # Sending

    def _target(self, upstream: Upstream, method: str, path: str) -> _Target:
        key = (upstream, method, path)
        target = self._targets.get(key)
        if target is None:
            address = address_of(upstream)
            if len(self._targets) >= _HEADS:
                self._targets.clear()
                self._endpoints = {each: found for each, found in self._endpoints.items() if found.open}
            target = _Target(self._endpoint(address), head_of(upstream, address, method, path))
            self._targets[key] = target
        return target

    def _endpoint(self, address: Address) -> Endpoint:
        endpoint = self._endpoints.get(address)
        if endpoint is None:
            endpoint = self._endpoints[address] = Endpoint(address, self.timers.keep, self._tls_context)
        return endpoint

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls

    async def _exchange(
        self,
        target: _Target,
        upstream: Upstream,
        path: str,
        request: bytes,
        timers: Timers,
        *,
        stream: bool,
        drop_usage: bool = False,
    ) -> Exchange:
        if self._closed:
            raise _shutdown()
        endpoint = target.endpoint
        idle = endpoint.take()
        if idle is not None:
            exchange = Exchange(idle, upstream, path, timers, self._release, stream=stream, drop_usage=drop_usage)
            try:
                return await self._begin(exchange, idle, endpoint, request)
            except _Stale:
                pass
        try:
            fresh = await endpoint.connect(self.timers.connect, upstream.model)
        except ProviderUnavailable as error:
            if idle is not None:  # it died with our request written into it: whether anybody read it is not known
                error.facts = {**error.facts, "sent": True}
            raise
        exchange = Exchange(fresh, upstream, path, timers, self._release, stream=stream, drop_usage=drop_usage)
        return await self._begin(exchange, fresh, endpoint, request)

    async def _begin(self, exchange: Exchange, connection: Connection, endpoint: Endpoint, request: bytes) -> Exchange:
        """One try on one connection. _Stale if that turns out to have been dead before the request reached anybody."""
        self._active[exchange] = endpoint
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(self.timers.tick, self._tick)
        begun = False
        try:
            if self._closed:  # meanwhile, during the connect
                raise _shutdown()
            await exchange.begin(request)
            failure = connection.failure
            if failure is not None and not connection.headed:
                reached = connection.began or monotonic() - connection.since > STALE
                raise failure if reached or connection.used == 1 else _Stale
            await exchange.check_head()
            begun = True
        finally:
            if not begun:  # cancelled, too
                exchange.close()
        return exchange

    def _release(self, exchange: Exchange, connection: Connection) -> None:
        """An exchange is over: its connection goes back, or is closed."""
        endpoint = self._active.pop(exchange)
        endpoint.give_back(connection, reuse=not exchange.streamed or exchange.upstream.reuse_after_stream)

    # The clock

    def _tick(self) -> None:
        """One coarse clock for all: no timer per request, none per chunk. It stops when there is nothing to watch."""
        now = monotonic()
        for exchange in tuple(self._active):
            exchange.check(now)
        for endpoint in self._endpoints.values():
            endpoint.sweep(now)
        watch = self._active or self.open
        self._ticking = asyncio.get_running_loop().call_later(self.timers.tick, self._tick) if watch else None

    def __repr__(self) -> str:
        return f"UpstreamClient(active={self.active} open={self.open} idle={self.idle})"


def _shutdown() -> ServerShutdown:
    return ServerShutdown("The server is going down.", retry_after=5)
