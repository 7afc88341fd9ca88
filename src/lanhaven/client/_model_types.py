"""Models, instances, health and events: what is asked for, what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, field

from lanhaven.client._shape import Shape, nothing


class ListModelsFilter(Shape, frozen=True):
    """Which models. status: ready, loading, unloaded, downloading, error. `cursor`: the next_cursor of a page."""

    owned_by: str | None = None
    status: str | None = None
    limit: int | None = None
    cursor: str | None = None


class ModelCard(Shape, frozen=True, kw_only=True):
    """A model that can be named in a request. What a server does not tell is None."""

    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = ""
    status: str | None = None
    state: str | None = None  # in LM Studio's words: loaded, not-loaded
    kind: str | None = None
    format: str | None = None
    quantization: str | None = None
    max_context_length: int | None = None
    loaded_context_length: int | None = None
    load_progress: float | None = None  # 0 to 1 while it is loaded, where the engine tells
    capabilities: tuple[str, ...] = ()


class ModelsList(Shape, frozen=True, kw_only=True):
    """A page of models; iterating gives them. `next_cursor` asks for the next page, None on the last."""

    data: tuple[ModelCard, ...]
    has_more: bool = False
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


class IgnoredSetting(Shape, frozen=True, kw_only=True):
    """A setting of a load that could not be applied, and why."""

    key: str
    reason: str = ""


class LoadedModel(Shape, frozen=True, kw_only=True):
    """The answer to a load. Settings are in the admin API's words (contextLength ...). `reused`: it was there."""

    model_key: str
    instance_id: str
    status: str = "loaded"
    activated: bool = False
    total_time_ms: int = 0
    message: str = ""
    load_config: Mapping[str, Any] = field(default_factory=nothing)
    default_inference: Mapping[str, Any] = field(default_factory=nothing)
    applied: Mapping[str, Any] = field(default_factory=nothing)
    ignored: tuple[IgnoredSetting, ...] = ()
    reused: bool = False
    size_bytes: int = 0


class LoadEstimate(Shape, frozen=True, kw_only=True):
    """What a load would take of the server's memory, in bytes; 0 = none, or unknown.

    learnt: the last real load taught it; else it is computed, and `parts` says of what. evictable_bytes: what would
    come free if all that may be evicted left. verdict: fits, fits_after_eviction, does_not_fit. largest_context_length:
    tokens that would fit, None = none would, or nobody knows.
    """

    model_key: str
    needed_bytes: int = 0
    learnt: bool = False
    parts: Mapping[str, int] | None = None
    available_bytes: int = 0
    evictable_bytes: int = 0
    fits: bool = True
    verdict: str = "fits"
    context_length: int | None = None
    slots: int | None = None
    largest_context_length: int | None = None
    suggested_context_length: int | None = None
    ignored: tuple[IgnoredSetting, ...] = ()


class UnloadedModel(Shape, frozen=True, kw_only=True):
    """The answer to an unload."""

    model_key: str
    instance_id: str | None = None
    instance_ids: tuple[str, ...] = ()
    status: str = "unloaded"
    total_time_ms: int = 0
    message: str = ""


class ActivatedModel(Shape, frozen=True, kw_only=True):
    """The answer to an activation: the defaults now in force."""

    model_key: str
    instance_id: str | None = None
    default_inference: Mapping[str, Any] = field(default_factory=nothing)
    status: str = "activated"
    message: str = ""


class LoadedInstance(Shape, frozen=True, kw_only=True):
    """A model in memory. state: loading, ready, draining, failed. progress 0..1 while loading, where it is known."""

    path: str  # the model key
    identifier: str
    provider: str = ""
    type: str = ""
    state: str = ""
    size_bytes: int = 0
    context_length: int | None = None
    slots: int | None = None
    busy: int = 0
    waiting: int = 0
    pinned: bool = False
    automatic: bool = False
    active: bool = False
    progress: float | None = None
    stage: str | None = None
    reload_needed: bool = False  # models.yaml says now that it is to be loaded otherwise


class LoadProgress(Struct, frozen=True, kw_only=True):
    """How far a load is. `progress` is 0..1 or None; the last one has stage "ready" and progress 1."""

    model_key: str
    instance_id: str
    stage: str | None = None
    progress: float | None = None
    size_bytes: int = 0


class Health(Shape, frozen=True, kw_only=True):
    """How the server is. status: ok, degraded (it serves, no engine does). What it does not tell is None."""

    status: str
    lmstudio_version: str | None = None
    api_version: str | None = None
    models_loaded: int | None = None
    uptime_ms: int | None = None
    version: str | None = None
    timestamp: str | None = None


class DebugEvent(Struct, frozen=True, kw_only=True):
    """Something that happened; docs/events.md has the names and what `data` holds."""

    name: str
    data: Mapping[str, Any]

    @property
    def timestamp(self) -> str | None:
        """ISO 8601, UTC."""
        found = self.data.get("timestamp")
        return found if isinstance(found, str) else None


class InferenceEvent(Struct, frozen=True, kw_only=True):
    """Of a job. type: chunk (payload content), downgraded (reason), completed (content, usage, finish_reason), failed
    (error); nothing follows the last two."""

    type: str
    payload: Mapping[str, Any]
    id: str | None = None

    @property
    def content(self) -> str:
        """Of chunk and completed."""
        found = self.payload.get("content")
        return found if isinstance(found, str) else ""
