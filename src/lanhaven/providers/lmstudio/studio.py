"""One LM Studio: over its WebSocket, and where that is refused over its REST API. Its errors become ours here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import TypeVar

from lanhaven.errors import GatewayError, ProviderUnavailable, UpstreamError
from lanhaven.providers.base import LoadObserver
from lanhaven.providers.hosts.health import HEALTH_SECONDS, Pulse
from lanhaven.providers.lmstudio.config import Host
from lanhaven.providers.lmstudio.link import TLS, Link, Sleep
from lanhaven.providers.lmstudio.loading import UNLOAD_SECONDS, Order, Outcome, load
from lanhaven.providers.lmstudio.models import Running, Studied, downloaded, loaded
from lanhaven.providers.lmstudio.rest import Rest
from lanhaven.providers.lmstudio.socket import Refused, Rejected, Unconnected, Unreachable
from lanhaven.types.models import LoadConfig

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Studio:
    """All errors raised are GatewayErrors. `known` are the models of the last answer."""

    def __init__(self, host: Host, sleep: Sleep = asyncio.sleep, tls: TLS = True) -> None:
        self.host = host
        self.known: tuple[Studied, ...] = ()
        self.relays: bool | None = None  # whether it is a LanHaven; None = nobody knows yet
        self._link = Link(host, sleep, tls)
        self._rest = Rest(host, self._link)
        self._up: bool | None = None

    def model(self, key: str) -> Studied | None:
        """One of `known`."""
        return next((each for each in self.known if each.key == key), None)

    async def models(self) -> tuple[Studied, ...]:
        """What it has on its disk."""

        async def by_socket() -> tuple[Studied, ...]:
            return downloaded(await self._link.call("system", "listDownloadedModels"))

        async def by_rest() -> tuple[Studied, ...]:
            return (await self._rest.listing())[0]

        with self._translated("listing its models"):
            self.known = await self._either(by_socket, by_rest)
        if self.relays is None:
            self.relays = await self._rest.is_lanhaven()
        return self.known

    async def running(self) -> tuple[Running, ...]:
        """What it has loaded."""

        async def by_socket() -> tuple[Running, ...]:
            llms, embedders = await asyncio.gather(
                self._link.call("llm", "listLoaded"),
                self._link.call("embedding", "listLoaded"),
            )
            return (*loaded(llms, embedding=False), *loaded(embedders, embedding=True))

        async def by_rest() -> tuple[Running, ...]:
            return (await self._rest.listing())[1]

        with self._translated("listing what is loaded"):
            return await self._either(by_socket, by_rest)

    async def load(self, order: Order, config: LoadConfig, observer: LoadObserver) -> tuple[Outcome, bool]:
        """Load; whether it went over the REST API, which names the instance itself and applies less."""
        with self._translated(f"loading {order.model}"):
            try:
                return await load(self._link, order, observer.progress), False
            except Refused as error:
                _log.info("LM Studio %s lets no WebSocket in (%s); its REST API is used", self.host.name, error)
            observer.progress("loading", None)
            return Outcome(await self._rest.load(order.model, config)), True

    async def unload(self, identifier: str, embedding: bool | None) -> None:
        """End an instance; one that is not there is fine. embedding: None where the kind is not known."""
        namespaces = ("llm", "embedding") if embedding is None else ("embedding",) if embedding else ("llm",)

        async def by_socket() -> None:
            for namespace in namespaces:
                try:
                    parameter = {"identifier": identifier}
                    await self._link.call(namespace, "unloadModel", parameter, seconds=UNLOAD_SECONDS, patient=True)
                except Rejected as error:
                    if not error.data.about_absence:
                        raise

        with self._translated(f"unloading {identifier}"):
            await self._either(by_socket, lambda: self._rest.unload(identifier))

    async def pulse(self) -> Pulse:
        """Never raises, and takes no longer than HEALTH_SECONDS."""
        start, refusal = monotonic(), None
        pulse = Pulse(self.host.name, self.host.base_url, len(self.known))
        try:
            async with asyncio.timeout(HEALTH_SECONDS):
                try:
                    said = await self._link.call("system", "version", seconds=2 * HEALTH_SECONDS)
                    version = said.get("version") if isinstance(said, dict) else None
                except Refused as error:
                    refusal = f"by REST only: the WebSocket is refused ({error})"
                    await self._rest.listing()  # whether it lets us in there
                    version = await self._rest.version(HEALTH_SECONDS)
                except Rejected:
                    version = None
        except TimeoutError:
            return replace(pulse, error="does not answer")
        except Unreachable as error:
            return replace(pulse, error=str(error))
        except GatewayError as error:
            return replace(pulse, error=error.message.removeprefix(f"LM Studio ({self.host.name}) "))
        version = version if isinstance(version, str) else None
        return replace(pulse, models=len(self.known), version=version, seconds=monotonic() - start, note=refusal)

    async def aclose(self) -> None:
        """Idempotent."""
        await self._link.aclose()

    async def _either(self, by_socket: Callable[[], Awaitable[T]], by_rest: Callable[[], Awaitable[T]]) -> T:
        try:
            return await by_socket()
        except Refused:
            return await by_rest()

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """The errors of connections and calls as GatewayErrors; and what they tell about the host."""
        try:
            yield
        except Unconnected as error:
            self._saw(up=False, how=str(error))
            raise self._unreachable(str(error)) from None
        except Unreachable as error:
            raise ProviderUnavailable(
                f"LM Studio ({self.host.name}) {error}, while {doing}.", retry_after=self.host.retry_delay
            ) from None
        except Rejected as error:
            self._saw(up=True)
            raise UpstreamError(f"LM Studio: {error.data.text}", hint=error.data.suggestion or None) from None
        except Refused as error:
            raise ProviderUnavailable(f"LM Studio ({self.host.name}) lets no WebSocket in: {error}.") from None
        else:
            self._saw(up=True)

    def _unreachable(self, how: str) -> ProviderUnavailable:
        """S0-76: programs look for these words."""
        return ProviderUnavailable(
            f"Failed to connect to LM Studio SDK after {self.host.attempts} attempts. "
            "Ensure LM Studio is running and the API server is enabled.",
            hint=f"LM Studio ({self.host.name}) {how}: start it, and its server, or correct its base_url",
            retry_after=self.host.retry_delay,
        )

    def _saw(self, *, up: bool, how: str = "") -> None:
        """Tell the log once that it came or went."""
        if up != self._up:
            self._up = up
            if up:
                _log.info("LM Studio %s answers", self.host.name)
            else:
                _log.warning("LM Studio %s %s", self.host.name, how)

    def __repr__(self) -> str:
        return f"Studio({self.host.name} up={self._up} models={len(self.known)})"
