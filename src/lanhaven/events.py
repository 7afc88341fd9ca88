"""What happened: the events, and the bus that carries them to whoever listens.

Events are emitted in few places only: `residency/`, `gateway.py`, `inference.py` and `reloading.py`. Metrics, the debug
stream, the store and the dashboard subscribe; removing one changes nothing else. Events carry metadata, never prompts,
answers or keys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import ClassVar, TypeVar, cast

import msgspec

from lanhaven.types.chat import Dropped, Usage
from lanhaven.types.models import LoadConfig, Sampling


def iso(nanoseconds: int) -> str:
    """Time since the epoch as ISO 8601 in UTC with milliseconds and Z: 2026-11-21T10:30:00.123Z."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def utc_now() -> str:
    """`iso` of now."""
    return iso(time.time_ns())


# Structs, not frozen dataclasses: two are made for every request, and a frozen dataclass sets each field through a call
# (3 us for InferenceComplete, measured). Nobody changes one.
class GatewayEvent(msgspec.Struct, kw_only=True, eq=False):
    """Something that happened. `name` is the event's name on the debug stream, `at` nanoseconds since the epoch."""

    name: ClassVar[str]
    at: int = msgspec.field(default_factory=time.time_ns)

    @property
    def timestamp(self) -> str:
        """When, as the debug stream shows it; formatted only if somebody looks."""
        return iso(self.at)


class ModelLoadStart(GatewayEvent, kw_only=True):
    name = "model_load_start"
    model_key: str
    instance_id: str
    load_config: LoadConfig
    automatic: bool


class ModelLoadProgress(GatewayEvent, kw_only=True):
    """progress: 0..1, None where the engine tells stages only."""

    name = "model_load_progress"
    model_key: str
    instance_id: str
    stage: str
    progress: float | None


class ModelLoadComplete(GatewayEvent, kw_only=True):
    name = "model_load_complete"
    model_key: str
    instance_id: str
    load_config: LoadConfig
    automatic: bool
    activated: bool
    seconds: float


class ModelUnloadStart(GatewayEvent, kw_only=True):
    """reason: "request", "evicted", "idle", "crashed", "failing", "gone", "shutdown", "abandoned" (nobody waits),
    "removed" (models.yaml lists its model no more) or "changed" (and says otherwise how to reach it)."""

    name = "model_unload_start"
    model_key: str
    instance_id: str
    reason: str


class ModelUnloadComplete(GatewayEvent, kw_only=True):
    name = "model_unload_complete"
    model_key: str
    instance_id: str
    reason: str
    seconds: float


class ModelActivate(GatewayEvent, kw_only=True):
    name = "model_activate"
    model_key: str
    instance_id: str | None
    sampling: Sampling


class CatalogChanged(GatewayEvent, kw_only=True):
    """Another models.yaml was taken over: keys of the models that came, went, or are not what they were."""

    name = "catalog_changed"
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


class InferenceStart(GatewayEvent, kw_only=True):
    name = "inference_start"
    request_id: str
    method: str
    path: str
    dialect: str
    model: str | None
    client: str | None
    address: str | None = None  # of the client
    user_agent: str | None = None
    parameters: Mapping[str, float | bool | str] | None = None  # numbers and switches, never text


class InferenceQueued(GatewayEvent, kw_only=True):
    """The request waits for a slot or a load; `waiting` counts it too."""

    name = "inference_queued"
    request_id: str
    model_key: str
    waiting: int


class InferenceComplete(GatewayEvent, kw_only=True):
    """A request ended well. Seconds since it was accepted; `queue_seconds` until it got its instance, of which
    `load_seconds` went by while that was being loaded. `first_token_seconds`: where its engine streams, or says how
    long it wrote."""

    name = "inference_complete"
    request_id: str
    model_key: str
    instance_id: str
    dialect: str
    client: str | None
    streamed: bool
    seconds: float
    queue_seconds: float
    first_byte_seconds: float
    finish_reason: str | None
    usage: Usage
    dropped: Dropped | None = None  # what of the prompt was left out on wish
    load_seconds: float = 0.0
    first_token_seconds: float | None = None


class Failure(GatewayEvent, kw_only=True):
    """A request or an operation ended badly. operation: "inference", "model_load", "model_unload", ...

    Of a request: how far it came, as in InferenceComplete; None where it did not come so far. `usage` of an answer that
    was cut off: as its engine counted, else the pieces that came, and the prompt by its length.
    """

    name = "error"
    operation: str
    error: str
    code: str
    status: int
    request_id: str | None = None
    model_key: str | None = None
    instance_id: str | None = None
    dialect: str | None = None
    client: str | None = None
    cancelled: bool = False  # the client left
    hint: str | None = None  # what to do about it
    seconds: float = 0.0
    streamed: bool | None = None
    queue_seconds: float | None = None
    load_seconds: float | None = None
    first_token_seconds: float | None = None
    usage: Usage = msgspec.field(default_factory=Usage)


E = TypeVar("E", bound=GatewayEvent)
Listener = Callable[[GatewayEvent], None]
Kinds = tuple[type[GatewayEvent], ...]


class Subscription:
    """A bounded queue of events for one slow consumer. When it is full, new events are dropped and counted."""

    def __init__(self, size: int) -> None:
        self._queue: asyncio.Queue[GatewayEvent | None] = asyncio.Queue(size)
        self._dropped = 0
        self.closed = False

    def put(self, event: GatewayEvent) -> None:
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            self._dropped += 1

    async def get(self, patience: float) -> GatewayEvent | None:
        """The next event; None after `patience` seconds without one, and when closed."""
        try:
            async with asyncio.timeout(patience):
                event = await self._queue.get()
        except TimeoutError:
            return None
        self.closed = event is None
        return event

    def close(self) -> None:
        """Wake the consumer for the last time, behind what is queued."""
        if self._queue.full():
            self._queue.get_nowait()
            self._dropped += 1
        self._queue.put_nowait(None)

    def take_dropped(self) -> int:
        """How many events were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped


class EventBus:
    """Carries events to listeners (called at once, must be quick and must not raise) and to bounded subscriptions."""

    def __init__(self) -> None:
        self._listeners: tuple[tuple[Listener, Kinds], ...] = ()
        self._of: dict[type[GatewayEvent], tuple[Listener, ...]] = {}  # who hears of events of this kind, as asked for

    def emit(self, event: GatewayEvent) -> None:
        for listener in self._of.get(type(event)) or self._who(type(event)):
            listener(event)

    def _who(self, kind: type[GatewayEvent]) -> tuple[Listener, ...]:
        found = self._of[kind] = tuple(each for each, kinds in self._listeners if not kinds or kind in kinds)
        return found

    def listen(self, listener: Callable[[E], None], *kinds: type[E]) -> None:
        """kinds: of the events that it hears of; without any, of all: then it takes every GatewayEvent."""
        heard = cast("Listener", listener)  # it is called with these kinds only
        self._listeners, self._of = (*self._listeners, (heard, kinds)), {}

    def unlisten(self, listener: Listener) -> None:
        self._listeners, self._of = tuple(each for each in self._listeners if each[0] != listener), {}

    @contextmanager
    def subscribe(self, size: int = 256) -> Iterator[Subscription]:
        subscription = Subscription(size)
        self.listen(subscription.put)
        try:
            yield subscription
        finally:
            self.unlisten(subscription.put)

    def __repr__(self) -> str:
        return f"EventBus({len(self._listeners)} listeners)"
