"""What a provider must do. Adding one is one file plus one line in the registry (`providers/registry.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lanhaven.events import GatewayEvent
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo, Sampling, Upstream


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One entry of models.yaml, validated, before its provider has looked at the model."""

    id: str
    provider: str
    enabled: bool = True
    description: str = ""
    aliases: tuple[str, ...] = ()
    pinned: bool = False
    preload: bool = False
    load: LoadConfig = LoadConfig()
    sampling: Sampling = Sampling()
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)  # may hold a key


@dataclass(frozen=True, slots=True)
class Ignored:
    """A load config field that this provider cannot apply, and why."""

    key: str  # camelCase, as in the admin API: "gpu.layers"
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load gave. `applied` maps admin-API names (camelCase, "gpu.layers") to the values really used."""

    upstream: Upstream
    load_config: LoadConfig  # as it really is: defaults filled in
    size_bytes: int = 0  # memory in use now, 0 = unknown
    applied: Mapping[str, object] = field(default_factory=dict)
    ignored: tuple[Ignored, ...] = ()
    ours: bool = False  # its engine is a process of ours: if that fails what it is asked, a new one takes its place


@dataclass(frozen=True, slots=True)
class Running:
    """An instance that the provider says is running: for reconciling with what the pool believes.

    foreign: somebody else loaded it, so it is not ours to end. away: why it takes no requests now, where that is known:
    its host does not answer. It is not gone for that.
    """

    instance_id: str
    model_key: str
    size_bytes: int = 0
    upstream: Upstream | None = None
    load_config: LoadConfig = LoadConfig()
    away: str | None = None
    foreign: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """State of a provider. Addresses stay out of `detail`; they are shown to keyed callers only, as `address`."""

    ok: bool
    kind: str  # "engine", "server"
    detail: str = ""  # one line for a person: "xllamacpp 2026.10, 2 CPU threads, no GPU"
    version: str | None = None
    latency_ms: float | None = None
    address: str | None = None
    models: int | None = None
    down: tuple[str, ...] = ()  # of several hosts those that do not answer


class LoadObserver(Protocol):
    """The pool's side of a load. Both may be called from the event loop's thread only."""

    def progress(self, stage: str, fraction: float | None = None) -> None:
        """A stage was reached; fraction 0..1 where known."""

    def gone(self, error: Exception) -> None:
        """After `load` returned: the instance ended by itself. `error` is a GatewayError, e.g. EngineCrashed."""


class Provider(Protocol):
    """Lifecycle of the models of one engine or one server. All errors raised are GatewayErrors.

    `load` must be cancellable at any await: what it started is ended before CancelledError leaves it.
    """

    name: str
    load_fields: frozenset[str]  # LoadConfig field names it honours
    sampling_fields: frozenset[str]  # Sampling field names its upstream honours

    def describe(self, entry: ModelEntry) -> ModelInfo:
        """A models.yaml entry as a model; a model that cannot run has `unavailable` set. Reads headers, not weights."""
        ...

    async def models(self) -> Sequence[ModelInfo]:
        """Models the provider knows besides those of models.yaml."""
        ...

    async def instances(self) -> Sequence[Running] | None:
        """What really runs now; None where the provider cannot tell (the pool then believes its own books)."""
        ...

    def estimate(self, info: ModelInfo, config: LoadConfig) -> int:
        """Bytes of memory of this machine that loading would take; 0 = none, or unknown."""
        ...

    async def load(self, info: ModelInfo, instance_id: str, config: LoadConfig, observer: LoadObserver) -> Loaded:
        """Load; returns when the upstream takes requests. LoadFailed with the engine's own reason."""
        ...

    async def unload(self, instance_id: str) -> None:
        """End the instance; returns when its memory is back. Unknown ids are fine."""
        ...

    async def health(self) -> Health:
        """Never raises, answers within 2 s."""
        ...

    def logs(self, instance_id: str) -> Sequence[str]:
        """The last lines the engine of this instance wrote; empty where there are none."""
        ...

    async def aclose(self) -> None:
        """End everything that was started. Idempotent."""
        ...


@runtime_checkable
class Itemises(Protocol):
    """A provider whose estimate is arithmetic, and no more: what a real load took is believed more than that.

    `estimate` is the total of what `itemise` says.
    """

    def itemise(self, info: ModelInfo, config: LoadConfig) -> MemoryEstimate | None:
        """What the load would take, item by item; None = none of this machine's memory, or unknown."""
        ...


Tell = Callable[[GatewayEvent], None]


def tell_nobody(event: GatewayEvent) -> None:
    """Where nobody listens."""


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What a provider's factory gets: `create(context) -> Provider`.

    tell: takes what the provider's engine or server says by itself, for the debug stream; never of a load or a request,
    which the pool and the gateway tell. To be called in the event loop's thread.
    """

    name: str
    run_dir: Path  # 0700, for sockets; short (a unix socket path is at most 107 bytes)
    options: Mapping[str, Any] = field(default_factory=dict)  # its block under `providers:` in config.yaml
    tell: Tell = field(default=tell_nobody, repr=False)
