"""Models, instances, health and events: what is asked for, what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lanhaven.client._shape import Shape, nothing


@dataclass(frozen=True)
class ListModelsFilter(Shape):
    """Which models. status: ready, loading, unloaded, downloading, error. `cursor`: the next_cursor of a page."""

    owned_by: str | None = None
    status: str | None = None
    limit: int | None = None
    cursor: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelCard(Shape):
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
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelsList(Shape):
    """A page of models; iterating gives them. `next_cursor` asks for the next page, None on the last."""

    data: tuple[ModelCard, ...]
    has_more: bool = False
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


@dataclass(frozen=True, kw_only=True)
class IgnoredSetting(Shape):
    """A setting of a load that could not be applied, and why."""

    key: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class LoadedModel(Shape):
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


@dataclass(frozen=True, kw_only=True)
class UnloadedModel(Shape):
    """The answer to an unload."""

    model_key: str
    instance_id: str | None = None
    instance_ids: tuple[str, ...] = ()
    status: str = "unloaded"
    total_time_ms: int = 0
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class ActivatedModel(Shape):
    """The answer to an activation: the defaults now in force."""

    model_key: str
    instance_id: str | None = None
    default_inference: Mapping[str, Any] = field(default_factory=nothing)
    status: str = "activated"
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class LoadedInstance(Shape):
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


@dataclass(frozen=True, kw_only=True)
class LoadProgress:
    """How far a load is. `progress` is 0..1 or None; the last one has stage "ready" and progress 1."""

    model_key: str
    instance_id: str
    stage: str | None = None
    progress: float | None = None
    size_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class Health(Shape):
    """How the server is. status: ok, degraded (it serves, no engine does). What it does not tell is None."""

    status: str
    lmstudio_version: str | None = None
    api_version: str | None = None
    models_loaded: int | None = None
    uptime_ms: int | None = None
    version: str | None = None
    timestamp: str | None = None


@dataclass(frozen=True, kw_only=True)
class DebugEvent:
    """Something that happened; docs/events.md has the names and what `data` holds."""

    name: str
    data: Mapping[str, Any]

    @property
    def timestamp(self) -> str | None:
        """ISO 8601, UTC."""
        found = self.data.get("timestamp")
        return found if isinstance(found, str) else None


@dataclass(frozen=True, kw_only=True)
class InferenceEvent:
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
