"""A provider whose loads and unloads a test opens and shuts, with books of its own about what really runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lanhaven.errors import GatewayError
from lanhaven.events import EventBus, GatewayEvent
from lanhaven.providers.base import Health, Loaded, LoadObserver, ModelEntry, Running
from lanhaven.residency import Lease, Pool, PoolSettings
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo, Upstream

GIB = 2**30


@dataclass(eq=False)
class Engine:
    """One engine process as it would be."""

    instance_id: str
    info: ModelInfo
    config: LoadConfig
    observer: LoadObserver
    gate: asyncio.Future[None]
    ready: bool = False
    taken: int = 0  # bytes
    generation: int = 0


@dataclass
class ScriptedProvider:
    """Loads take `load_seconds` (None: until `finish` or `fail`), unloads and cancelled loads `end_seconds` to end."""

    name: str = "scripted"
    load_fields: frozenset[str] = frozenset()
    sampling_fields: frozenset[str] = frozenset()
    slots: int | None = 4
    load_seconds: float | None = 1.0
    end_seconds: float = 0.5
    memory: int = 1000 * GIB
    lists: bool = False  # whether it can tell what runs
    engines: dict[str, Engine] = field(default_factory=dict)
    spawned: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)
    next_error: list[GatewayError] = field(default_factory=list)
    unload_error: Exception | None = None
    estimate_error: GatewayError | None = None
    reports: int = 0  # size of an instance that takes nothing here
    margin: int = 0  # what the arithmetic says too much
    later: int = 0  # what an instance takes only by use
    token_bytes: int = 0
    ours: bool = False  # its engines are processes of ours
    deaf: bool = False  # its loads do not end when they are cancelled
    answering: asyncio.Future[Sequence[Running] | None] | None = None
    before_unload: Callable[[str], None] = lambda _instance_id: None
    running: list[Running] = field(default_factory=list)  # loaded by somebody else

    def describe(self, entry: ModelEntry) -> ModelInfo:
        return ModelInfo(entry.id, self.name)

    async def models(self) -> Sequence[ModelInfo]:
        return ()

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        parts = self.itemise(info, config)
        return parts.total if parts is not None else 0

    def itemise(self, info: ModelInfo, config: LoadConfig) -> MemoryEstimate | None:
        if self.estimate_error is not None:
            raise self.estimate_error
        if not info.size_bytes:
            return None
        kv = (config.context_length or 0) * self.token_bytes
        return MemoryEstimate(
            weights=info.size_bytes, kv=kv, base=self.margin, prompt_cache=self.later, later=self.later
        )

    def available(self) -> int:
        return self.memory - sum(each.taken for each in self.engines.values())

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        if instance_id in self.engines:
            self.wrongs.append(f"{instance_id} loaded twice")
        self.spawned.append(instance_id)
        engine = Engine(instance_id, info, config, observer, asyncio.get_running_loop().create_future())
        engine.generation = len(self.spawned)
        self.engines[instance_id] = engine
        try:
            if self.next_error:
                raise self.next_error.pop(0)
            if self.load_seconds is None:
                await engine.gate
            else:
                await asyncio.sleep(self.load_seconds)
        except asyncio.CancelledError:
            while self.deaf and instance_id in self.engines:
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(1)
            try:
                await asyncio.sleep(self.end_seconds)
            finally:
                self._end(engine)
            raise
        except GatewayError:
            self._end(engine)
            raise
        engine.ready, engine.taken = True, info.size_bytes + (config.context_length or 0) * self.token_bytes
        return Loaded(self.upstream(instance_id), config, engine.taken or self.reports, ours=self.ours)

    def upstream(self, instance_id: str) -> Upstream:
        return Upstream(model=instance_id, base_url="http://127.0.0.1:1", slots=self.slots)

    async def unload(self, instance_id: str) -> None:
        self.before_unload(instance_id)
        engine = self.engines.get(instance_id)
        try:
            await asyncio.sleep(self.end_seconds)
        finally:
            if engine is not None:
                self._end(engine)
        if self.unload_error is not None:
            raise self.unload_error

    def _end(self, engine: Engine) -> None:
        if self.engines.get(engine.instance_id) is engine:
            del self.engines[engine.instance_id]
            self.ended.append(engine.instance_id)

    async def instances(self) -> Sequence[Running] | None:
        if self.answering is not None:
            return await self.answering
        ours = [Running(each.instance_id, each.info.key) for each in self.engines.values() if each.ready]
        return [*ours, *self.running] if self.lists else None

    async def health(self) -> Health:
        return Health(ok=True, kind="engine")

    def logs(self, instance_id: str) -> Sequence[str]:
        return ()

    async def aclose(self) -> None:
        """Nothing runs."""

    # The test's side.

    def finish(self, instance_id: str) -> None:
        """Let a load come to its end."""
        gate = self.engines[instance_id].gate
        if not gate.done():
            gate.set_result(None)

    def fail(self, instance_id: str, error: GatewayError) -> None:
        gate = self.engines[instance_id].gate
        if not gate.done():
            gate.set_exception(error)

    def crash(self, instance_id: str, error: GatewayError) -> None:
        """The engine of a ready instance ends by itself."""
        engine = self.engines[instance_id]
        self._end(engine)
        engine.observer.gone(error)

    def hang(self, instance_id: str, error: GatewayError) -> None:
        """The engine of a ready instance is found dead, and is there still."""
        self.engines[instance_id].observer.gone(error)


def model(
    key: str, size: int = 1, *, provider: str = "scripted", pinned: bool = False, ttl: float | None = None
) -> ModelInfo:
    """A model of so many GiB."""
    return ModelInfo(key, provider, size_bytes=size * GIB, pinned=pinned, load=LoadConfig(idle_ttl=ttl))


class World:
    """A pool, its one provider, and everything that was emitted."""

    def __init__(
        self,
        clock: Callable[[], float],
        provider: ScriptedProvider | None = None,
        settings: PoolSettings = PoolSettings(),  # noqa: B008
        models: Mapping[str, ModelInfo] | None = None,
        owner: Callable[[str], str | None] = lambda _name: None,
    ) -> None:
        self.provider = provider or ScriptedProvider()
        self.events: list[GatewayEvent] = []
        self.bus = bus = EventBus()
        bus.listen(self.events.append)
        self.pool = Pool(
            {self.provider.name: self.provider},
            bus,
            settings,
            available_memory=self.provider.available,
            clock=clock,
            find_model=(models or {}).get,
            owner=owner,
        )

    async def lease(
        self,
        info: ModelInfo,
        *,
        wait: float = 60.0,
        instance_id: str | None = None,
        name: str = "r",
        affinity: str | None = None,
    ) -> Lease:
        return await self.pool.lease(info, request_id=name, instance_id=instance_id, wait=wait, affinity=affinity)

    async def use(self, info: ModelInfo, *, wait: float = 60.0, instance_id: str | None = None) -> str:
        """One quick request; returns the instance that served it."""
        async with await self.lease(info, wait=wait, instance_id=instance_id) as lease:
            return lease.instance_id

    def names(self, *kinds: str) -> list[str]:
        """The events so far, as "name instance"."""
        told = [each for each in self.events if not kinds or each.name in kinds]
        return [f"{each.name} {_subject(each)}" for each in told]


def _subject(event: GatewayEvent) -> str:
    named = {name: value for name in event.__slots__ if (value := object.__getattribute__(event, name)) is not None}
    return str(named.get("instance_id", named.get("model_key", "")))
