"""What an operator asks for and gets: entries of models.yaml, keys, the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import field

from lanhaven.client._shape import Shape, nothing


class ModelsFileChange(Shape, frozen=True, kw_only=True):
    """What became of a change of models.yaml. status: added, changed, removed; the lists are keys of models."""

    model_key: str
    status: str = ""
    file: str = ""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class KeyLimits(Shape, frozen=True, kw_only=True):
    """How much within any minute, and any day. None = as much as it likes."""

    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None


class KeyUse(Shape, frozen=True, kw_only=True):
    """What a key has used within the last minute, and the last day."""

    requests_per_minute: int = 0
    requests_per_day: int = 0
    tokens_per_minute: int = 0
    tokens_per_day: int = 0


class ApiKey(Shape, frozen=True, kw_only=True):
    """A key of the server, without the key itself. Times are ISO 8601, UTC; `prefix` is how the key begins."""

    name: str
    scopes: tuple[str, ...] = ()
    prefix: str = ""
    source: str = ""
    created: str | None = None
    last_used: str | None = None
    user_agent: str | None = None
    models: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    expires: str | None = None
    expired: bool = False
    limits: KeyLimits = KeyLimits()
    used: KeyUse = KeyUse()
    old_key_until: str | None = None


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """A key that was made just now. `key` is told this once."""

    key: str

    def __repr__(self) -> str:
        return f"NewApiKey({self.name} {self.prefix}...)"


class RequestRecord(Shape, frozen=True, kw_only=True):
    """A request of the history. status: pending, completed, failed, cancelled. What is not known is None."""

    request_id: str
    timestamp: str = ""
    status: str = ""
    path: str = ""
    dialect: str = ""
    model: str = ""
    instance: str | None = None
    key: str | None = None
    streamed: bool | None = None
    time_ms: int | None = None
    queue_ms: int | None = None
    first_token_ms: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    tokens_per_second: float | None = None
    finish_reason: str | None = None
    error: str | None = None
    code: str | None = None
    user_agent: str | None = None


class RequestsPage(Shape, frozen=True, kw_only=True):
    """Requests, the newest first; iterating gives them. `next`: the `before` of the next page, None on the last."""

    requests: tuple[RequestRecord, ...]
    next: str | None = None

    def __iter__(self) -> Iterator[RequestRecord]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)


class RequestPhase(Shape, frozen=True, kw_only=True):
    """A part of a request's time: queue, load, prompt or generate."""

    name: str
    start_ms: int = 0
    ms: int = 0


class RequestDetails(RequestRecord, frozen=True, kw_only=True):
    """One request: where its time went, and the numbers and switches that it came with. body: kept, off, gone."""

    phases: tuple[RequestPhase, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=nothing)
    address: str | None = None
    body: str = ""


class RequestBody(Shape, frozen=True, kw_only=True):
    """What went over the wire, where it was kept. truncated: more was cut off."""

    request: str
    response: str = ""
    truncated: bool = False


class BodiesKept(Shape, frozen=True, kw_only=True):
    """Whether bodies are kept now, until when, and how many there are."""

    enabled: bool
    until: str | None = None
    kept: int = 0
    bytes: int = 0


class UsageRow(Shape, frozen=True, kw_only=True):
    """What one key, model or day has used. Of the three names the one is set by which the report is made."""

    key: str | None = None
    model: str | None = None
    day: str | None = None
    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_p50_ms: float | None = None
    last_used: str = ""


class UsageReport(Shape, frozen=True, kw_only=True):
    """Requests and tokens of the last days; iterating gives the rows."""

    rows: tuple[UsageRow, ...]
    days: int = 0

    def __iter__(self) -> Iterator[UsageRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class HistorySeries(Shape, frozen=True, kw_only=True):
    """A chart: lists as long as `times` (seconds since the epoch, `step` apart). Measures are None where nothing was;
    models, keys: the names that the window knows."""

    window: str
    step: int
    times: tuple[int, ...]
    requests: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    cancelled: tuple[int, ...] = ()
    prompt_tokens: tuple[int, ...] = ()
    completion_tokens: tuple[int, ...] = ()
    first_token_p50_ms: tuple[float | None, ...] = ()
    first_token_p95_ms: tuple[float | None, ...] = ()
    tokens_per_second: tuple[float | None, ...] = ()
    queue_p95_ms: tuple[float | None, ...] = ()
    waiting: tuple[float | None, ...] = ()
    inflight: tuple[float | None, ...] = ()
    memory_bytes: tuple[float | None, ...] = ()
    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
