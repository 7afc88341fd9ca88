"""The mock provider: models without minds, for trying out clients and this server. Each instance is a scripted server.

    models:
      - id: mock
        provider: mock
        config: {answer: count, tokens: 32, interval_ms: 20, load_seconds: 2}

docs/mock.md is its manual. In tests:

    provider.server("mock")                the ScriptedServer of an instance: script faults, look at what it saw
    provider.script.add(Step(...))         what the next requests get, whichever instance they reach
    with provider.held("mock"): ...        its loads wait in here
    provider.fail_loads("mock", error)     its next load fails with this error
    provider.crash("mock")                 the instance ends, as a killed process does
    provider.loads, provider.unloads       how many there were, by model key
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from lanhaven.engines.scripted import ScriptedModel, ScriptedServer
from lanhaven.engines.scripted_script import Script
from lanhaven.errors import EngineCrashed, GatewayError, InvalidRequest, LoadFailed, ProviderUnavailable
from lanhaven.providers.base import (
    Health,
    Ignored,
    Loaded,
    LoadObserver,
    ModelEntry,
    ProviderContext,
    Running,
)
from lanhaven.providers.ignoring import admin_name
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo, ModelKind, Sampling

SOCKET_PATH_BYTES = 103  # macOS allows 104 with the final zero, Linux 108
UNIX_SOCKETS = sys.platform != "win32"
DEFAULT_SLOTS = 4
STEPS = 10  # progress reports of a load that takes time

_CAPABILITIES = {
    ModelKind.LLM: frozenset({"chat", "completion", "tools"}),
    ModelKind.VLM: frozenset({"chat", "completion", "tools", "vision"}),
    ModelKind.EMBEDDING: frozenset({"embedding"}),
    ModelKind.RERANKER: frozenset({"rerank"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MockConfig:
    """The provider's own settings of a model in models.yaml."""

    kind: ModelKind = ModelKind.LLM
    tools: bool = True  # whether it counts as one whose template knows tools
    answer: str = "echo"  # "echo" the user, "count" (tok0 tok1 ...), "random" words by seed
    tokens: int = 16  # how many, for "count" and "random"
    interval_ms: float = 0.0  # between tokens
    slots: int | None = None  # the server's default
    context_length: int = 8192  # words
    dimensions: int = 8  # of embeddings
    size_bytes: int = 0  # memory that it claims
    load_seconds: float = 0.0
    fail_load: str | None = None  # every load fails, with this reason
    crash_after: int | None = None  # the instance is gone after so many generations have begun
    ignores: tuple[str, ...] = ()  # load config fields (gpu_ratio ...) that a load reports as ignored


def create(context: ProviderContext) -> MockProvider:
    return MockProvider(context.run_dir, default_slots=context.options.get("default_slots"))


class MockProvider:
    """See the module. It knows a model `mock` by itself as long as models.yaml names no other for it."""

    name = "mock"
    load_fields = frozenset(LoadConfig.__dataclass_fields__)
    sampling_fields = frozenset(Sampling.__dataclass_fields__)

    def __init__(self, run_dir: Path, *, default_slots: int | None = None) -> None:
        self.loads: Counter[str] = Counter()
        self.unloads: Counter[str] = Counter()
        self.script = Script()
        self._run_dir = run_dir
        self._default_slots = default_slots
        self._configured: frozenset[str] = frozenset()
        self._numbers = itertools.count(1)
        self._instances: dict[str, _Instance] = {}
        self._failures: dict[str, GatewayError] = {}
        self._gates: dict[str, asyncio.Event] = {}

    # What a provider does

    def describe(self, entry: ModelEntry) -> ModelInfo:
        """InvalidRequest for settings that it does not know."""
        self._configured |= {entry.id}
        return self._info(entry)

    def _info(self, entry: ModelEntry) -> ModelInfo:
        config = config_of(entry.config)
        return ModelInfo(
            key=entry.id,
            provider=self.name,
            kind=config.kind,
            format="mock",
            size_bytes=config.size_bytes,
            max_context=config.context_length,
            capabilities=_CAPABILITIES[config.kind] - (frozenset() if config.tools else {"tools"}),
            description=entry.description,
            aliases=entry.aliases,
            load=entry.load,
            sampling=entry.sampling,
            pinned=entry.pinned,
            preload=entry.preload,
            config=entry.config,
        )

    async def models(self) -> Sequence[ModelInfo]:
        if self._configured:
            return ()
        return (self._info(ModelEntry("mock", self.name, description="Repeats what you say.")),)

    async def instances(self) -> Sequence[Running]:
        return [
            Running(instance_id, each.key, each.size_bytes, each.server.upstream(), each.load_config)
            for instance_id, each in self._instances.items()
        ]

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        return config_of(info.config).size_bytes

    def itemise(self, info: ModelInfo, config: LoadConfig) -> MemoryEstimate | None:
        needed = self.estimate(info, config)
        return MemoryEstimate(weights=needed) if needed else None

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        self.loads[info.key] += 1
        settings = config_of(info.config)
        await self._take_time(info.key, settings, observer)
        known = self._defaults(settings)
        effective = replace(config, **{name: None for name in settings.ignores if name in self.load_fields}).over(known)
        server = await self._start(info, instance_id, settings, effective, observer)
        self._instances[instance_id] = _Instance(info.key, server, effective, settings.size_bytes)
        return Loaded(
            upstream=server.upstream(),
            load_config=effective,
            size_bytes=settings.size_bytes,
            applied={admin_name(name): value for name, value in effective.said().items()},
            ignored=tuple(
                Ignored(admin_name(name), "this mock model was told to ignore it")
                for name in settings.ignores
                if name in config.said()
            ),
        )

    async def unload(self, instance_id: str) -> None:
        found = self._instances.pop(instance_id, None)
        if found is not None:
            self.unloads[found.key] += 1
            await found.server.aclose()

    async def health(self) -> Health:
        return Health(True, "engine", f"scripted answers, {len(self._instances)} loaded", latency_ms=0.0)

    def logs(self, instance_id: str) -> Sequence[str]:
        found = self._instances.get(instance_id)
        return [f"{each.method} {each.path}" for each in found.server.requests[-100:]] if found is not None else ()

    async def aclose(self) -> None:
        for instance_id in tuple(self._instances):
            await self.unload(instance_id)

    # What tests do

    def server(self, instance_id: str) -> ScriptedServer:
        """The scripted server of a loaded instance. KeyError if it is not loaded."""
        return self._instances[instance_id].server

    @property
    def servers(self) -> Mapping[str, ScriptedServer]:
        """All of them, by instance identifier."""
        return {instance_id: each.server for instance_id, each in self._instances.items()}

    @contextlib.contextmanager
    def held(self, model_key: str) -> Iterator[None]:
        """Loads of this model do not finish before the block is left."""
        gate = self._gates[model_key] = asyncio.Event()
        try:
            yield
        finally:
            del self._gates[model_key]
            gate.set()

    def fail_loads(self, model_key: str, error: GatewayError | None) -> None:
        """Loads of this model fail with this error until it is None."""
        if error is None:
            self._failures.pop(model_key, None)
        else:
            self._failures[model_key] = error

    def mend_loads(self) -> None:
        """No load fails any more, but those of models that are made so."""
        self._failures.clear()

    def crash(self, instance_id: str) -> None:
        """End an instance as if its process had been killed."""
        self._instances[instance_id].server.crash()

    def __repr__(self) -> str:
        return f"MockProvider({', '.join(sorted(self._instances)) or 'nothing loaded'})"

    # Loading

    async def _take_time(self, key: str, settings: MockConfig, observer: LoadObserver) -> None:
        observer.progress("starting")
        for step in range(STEPS if settings.load_seconds > 0 else 0):
            observer.progress("loading", step / STEPS)
            await asyncio.sleep(settings.load_seconds / STEPS)
        gate = self._gates.get(key)
        if gate is not None:
            await gate.wait()
        failure = self._failures.get(key)
        if failure is not None:
            raise failure
        if settings.fail_load is not None:
            raise LoadFailed(f"{key} could not be loaded: {settings.fail_load.rstrip('.')}.")
        observer.progress("ready", 1.0)

    def _defaults(self, settings: MockConfig) -> LoadConfig:
        return LoadConfig(
            context_length=settings.context_length, slots=settings.slots or self._default_slots or DEFAULT_SLOTS
        )

    async def _start(
        self, info: ModelInfo, instance_id: str, settings: MockConfig, config: LoadConfig, observer: LoadObserver
    ) -> ScriptedServer:
        model = ScriptedModel(
            name=info.key,
            kind=settings.kind,
            answer=settings.answer,
            tokens=settings.tokens,
            interval=settings.interval_ms / 1000,
            slots=config.slots or DEFAULT_SLOTS,
            context=config.context_length or settings.context_length,
            dimensions=settings.dimensions,
            crash_after=settings.crash_after,
        )

        def gone() -> None:
            if self._instances.pop(instance_id, None) is not None:
                observer.gone(EngineCrashed(f"The engine of {info.key} crashed."))

        socket = self._run_dir / f"mock-{next(self._numbers)}.sock"
        fits = len(str(socket).encode()) <= SOCKET_PATH_BYTES and UNIX_SOCKETS
        server = ScriptedServer(model, socket=socket if fits else None, on_crash=gone, shared=self.script)
        try:
            return await server.start()
        except OSError as error:
            raise ProviderUnavailable(f"The mock server cannot listen: {error.strerror}.") from None


@dataclass(frozen=True, slots=True)
class _Instance:
    """A loaded copy."""

    key: str
    server: ScriptedServer
    load_config: LoadConfig
    size_bytes: int


def config_of(values: Mapping[str, Any]) -> MockConfig:
    """InvalidRequest names what is wrong."""
    unknown = sorted(values.keys() - MockConfig.__slots__)
    if unknown:
        raise InvalidRequest(f"The mock provider has no setting {unknown[0]!r}.", param=unknown[0])
    try:
        return msgspec.convert(dict(values), MockConfig)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"A setting of the mock provider is wrong: {error}.") from None
