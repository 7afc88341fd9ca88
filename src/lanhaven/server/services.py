"""The parts of one running server, built once by `build` and handed to whoever needs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lanhaven.catalog import Catalog
from lanhaven.config import Settings
from lanhaven.dialects.background import Background, BatchLimits
from lanhaven.dialects.base import DialectContext
from lanhaven.downloads import Downloads
from lanhaven.events import EventBus, Subscription
from lanhaven.gateway import Gateway
from lanhaven.history import History
from lanhaven.history.bodies import Bodies
from lanhaven.media.images import Images
from lanhaven.metrics import Metrics
from lanhaven.providers.base import Health, Provider
from lanhaven.reloading import Reloading
from lanhaven.residency.pool import Pool
from lanhaven.server.kept import Kept
from lanhaven.server.lan import Lan
from lanhaven.server.log_lines import Logs
from lanhaven.server.operations import Operations
from lanhaven.server.sessions import Sessions
from lanhaven.store import Store
from lanhaven.upstream.pool import UpstreamClient


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that lives as long as the server."""

    settings: Settings
    providers: Mapping[str, Provider]
    catalog: Catalog
    pool: Pool
    client: UpstreamClient
    images: Images
    bus: EventBus
    gateway: Gateway
    metrics: Metrics
    operations: Operations
    store: Store
    history: History | None  # None: it is off
    logs: Logs
    lan: Lan
    sessions: Sessions
    kept: tuple[Kept, ...]
    downloads: Downloads
    clock: Callable[[], float]
    started: float
    available_memory: Callable[[], int]
    reloading: Reloading
    draining: Callable[[], bool]
    subscribers: set[Subscription] = field(default_factory=set)
    background: Background = field(default_factory=Background)
    bodies: Bodies = field(default_factory=Bodies)

    @property
    def uptime(self) -> float:
        """Seconds since the server was built."""
        return self.clock() - self.started

    @property
    def problems(self) -> list[str]:
        """What is wrong with models.yaml and with the catalog, a sentence each."""
        return [*filter(None, (self.reloading.problem,)), *self.catalog.problems]

    @property
    def dialect_context(self) -> DialectContext:
        """What dialects are made of."""
        settings = self.settings
        batch = BatchLimits(
            concurrency=settings.batch_concurrency,
            file_bytes=settings.batch_file_bytes,
            disk_bytes=settings.batch_disk_bytes,
            keep=settings.batch_keep,
        )
        return DialectContext(
            self.gateway, settings.data_dir, self.store, self.downloads, self.background, batch, lambda: self.bodies.tap
        )

    async def aclose(self, drain: float) -> None:
        """End everything: requests under way may take `drain` seconds, then engines and connections go."""
        await self.background.aclose()
        await asyncio.gather(self.pool.aclose(drain), self.downloads.aclose())
        await asyncio.gather(*(provider.aclose() for provider in self.providers.values()))
        await asyncio.gather(self.client.aclose(), self.images.aclose())
        await self.keep()
        await self.store.aclose()
        if self.history is not None:
            await self.history.aclose()

    async def restore(self) -> None:
        """Before the first request: what an earlier run has left."""
        for each in self.kept:
            await each.restore()

    async def keep(self) -> None:
        """Write what the next run is to have."""
        for each in self.kept:
            await each.keep()

    def close_streams(self) -> None:
        """Let the readers of the debug stream and of the logs go: they would keep a stopping server waiting."""
        self.logs.close()
        for subscription in self.subscribers:
            subscription.close()

    async def health(self) -> dict[str, Health]:
        """Health of every provider, asked at the same time; a provider answers within 2 s or counts as down."""
        names = list(self.providers)
        answers = await asyncio.gather(*(self._health(self.providers[name]) for name in names))
        return dict(zip(names, answers, strict=True))

    async def _health(self, provider: Provider) -> Health:
        try:
            async with asyncio.timeout(2.0):
                return await provider.health()
        except TimeoutError:
            return Health(ok=False, kind="unknown", detail="did not answer within 2 s")
