"""The connections to one LM Studio: made on first use, one for each namespace, looked at before they are used again."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import aiohttp

from lanhaven.lmstudio.tokens import Identity, identity
from lanhaven.providers.hosts.relaying import via
from lanhaven.providers.lmstudio.config import Host
from lanhaven.providers.lmstudio.socket import Channel, Refused, Socket, Unconnected, Unreachable, connect

FRESH = 5.0  # seconds after its last frame in which a connection needs no ping
PING_SECONDS = 2.0
REFUSED_FOR = 60.0  # seconds for which a refusal is believed

T = TypeVar("T")
TLS = ssl.SSLContext | bool
Sleep = Callable[[float], Awaitable[None]]


class _Redirected(aiohttp.ClientError):
    """A redirect would send our token to whoever it names (F-042)."""


async def _no_redirects(*_told: Any) -> None:
    raise _Redirected("LM Studio does not redirect")


class Link:
    """Sockets of one host. `sleep` is what lies between two attempts."""

    def __init__(self, host: Host, sleep: Sleep = asyncio.sleep, tls: TLS = True) -> None:
        self._host, self._sleep, self._tls = host, sleep, tls
        self._identity: Identity = identity(host.api_token)
        self._http: aiohttp.ClientSession | None = None
        self._sockets: dict[str, Socket] = {}
        self._making: dict[str, asyncio.Task[Socket]] = {}
        self._kept: set[asyncio.Task[Any]] = set()
        self._refusal: tuple[float, str] | None = None

    async def call(
        self,
        namespace: str,
        endpoint: str,
        parameter: Any = None,
        *,
        seconds: float | None = None,
        patient: bool = False,
    ) -> Any:
        """The result of a call. Rejected, Refused, Unreachable (Unconnected if it was not sent).

        patient: connect as often as the settings say.
        """
        socket = await self._socket(namespace, patient=patient)
        return await socket.call(endpoint, parameter, seconds or self._host.answer_timeout)

    async def channel(self, namespace: str, endpoint: str, parameter: Any) -> Channel:
        """Open a channel, connecting patiently. Refused, Unreachable (Unconnected if it was not sent)."""
        socket = await self._socket(namespace, patient=True)
        return await socket.channel(endpoint, parameter)

    @property
    def http(self) -> aiohttp.ClientSession:
        """For the REST calls too. Made here, because it needs a running loop."""
        if self._http is None or self._http.closed:
            traces = aiohttp.TraceConfig()
            traces.on_request_redirect.append(_no_redirects)
            connector = aiohttp.TCPConnector(ssl=self._tls)
            self._http = aiohttp.ClientSession(connector=connector, trust_env=False, trace_configs=[traces])
        return self._http

    def keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it to its end, even if whoever asked for it has left; `aclose` ends it."""
        task = asyncio.create_task(work, name=f"lmstudio {self._host.name}")
        self._kept.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._kept.discard(task)
        if not task.cancelled():
            task.exception()  # looked at here, because those who asked may have left

    async def aclose(self) -> None:
        """Idempotent."""
        for task in self._kept:
            task.cancel()
        await asyncio.gather(*self._kept, return_exceptions=True)
        sockets, self._sockets, self._making = list(self._sockets.values()), {}, {}
        await asyncio.gather(*(socket.aclose() for socket in sockets))
        if self._http is not None:
            await self._http.close()

    async def _socket(self, namespace: str, *, patient: bool) -> Socket:
        """A connection that lives."""
        left = self._host.attempts if patient else 1
        while True:
            left -= 1
            try:
                return await self._attempt(namespace)
            except Unreachable as error:
                if left <= 0:
                    raise Unconnected(str(error)) from None
            await self._sleep(self._host.retry_delay)

    async def _attempt(self, namespace: str) -> Socket:
        """The connection that is there, else a new one; all who want one at the same time share the attempt."""
        self._check_refusal()
        task = self._making.get(namespace)
        if task is None:
            known = self._sockets.get(namespace)
            if known is not None and not known.closed and asyncio.get_running_loop().time() - known.heard < FRESH:
                return known
            task = self._making[namespace] = self.keep(self._make(namespace))
            task.add_done_callback(lambda _done: self._making.pop(namespace, None))
        return await asyncio.shield(task)

    async def _make(self, namespace: str) -> Socket:
        known = self._sockets.get(namespace)
        if known is not None:
            if not known.closed and await known.alive(PING_SECONDS):
                return known
            await known.aclose()
        url = f"{self._host.ws_url}/{namespace}"
        try:
            made = await connect(self.http, url, self._identity, self._host.connect_timeout, via(self._host.hop))
        except Refused as error:
            self._refusal = (asyncio.get_running_loop().time() + REFUSED_FOR, str(error))
            raise
        self._sockets[namespace] = made
        return made

    def _check_refusal(self) -> None:
        if self._refusal is not None:
            until, why = self._refusal
            if asyncio.get_running_loop().time() < until:
                raise Refused(why)
            self._refusal = None

    def __repr__(self) -> str:
        return f"Link({self._host.name} {self._sockets})"
