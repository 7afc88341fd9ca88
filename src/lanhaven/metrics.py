"""Counts and times of what went through: a listener of the event bus, read by /debug/* and /metrics.

A ring of the last 100 requests answers the JSON routes; Prometheus keeps the long view. Labels are model keys of the
catalog, dialects, error codes and instances that are there, so their number is bounded whatever clients send (F-188).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import islice
from statistics import fmean
from typing import Any

from lanhaven.events import (
    EventBus,
    Failure,
    InferenceComplete,
    InferenceStart,
    ModelLoadComplete,
    ModelUnloadComplete,
)
from lanhaven.exposition import Registry
from lanhaven.types.chat import Usage
from lanhaven.types.models import Instance, InstanceState

RING = 100


class Record:
    """One request as the ring remembers it: the event that began it and the one that ended it."""

    __slots__ = ("end", "start")

    def __init__(self, start: InferenceStart) -> None:
        self.start = start
        self.end: InferenceComplete | Failure | None = None

    @property
    def status(self) -> str:
        """pending, completed, failed or cancelled."""
        match self.end:
            case None:
                return "pending"
            case InferenceComplete():
                return "completed"
            case Failure(cancelled=cancelled):
                return "cancelled" if cancelled else "failed"

    @property
    def model(self) -> str | None:
        """The key of the model that answered; until then the name that was asked for."""
        return self.end.model_key if isinstance(self.end, InferenceComplete) else self.start.model

    @property
    def request_id(self) -> str:
        return self.start.request_id

    @property
    def at(self) -> int:
        """When it was accepted: nanoseconds since the epoch."""
        return self.start.at

    def as_json(self) -> dict[str, Any]:
        """S0-59: requestId, status, timeMs, timestamp, and what else is known."""
        end = self.end
        body: dict[str, Any] = {
            "requestId": self.request_id,
            "status": self.status,
            "timeMs": None if end is None else round(end.seconds * 1000),
            "timestamp": self.start.timestamp,
            "path": self.start.path,
            "model": self.model,
        }
        if isinstance(end, InferenceComplete):
            body["timeToFirstByteMs"] = round(end.first_byte_seconds * 1000)
            if end.usage.total_tokens:
                body["tokenUsage"] = token_usage(end.usage)
        elif end is not None and not end.cancelled:
            body["error"] = end.error
        return body


def token_usage(usage: Usage) -> dict[str, int]:
    """S0-x6."""
    return {
        "promptTokens": usage.prompt_tokens,
        "completionTokens": usage.completion_tokens,
        "totalTokens": usage.total_tokens,
    }


class Families:
    """What /metrics shows."""

    def __init__(self, registry: Registry) -> None:
        self.requests = registry.counter("lanhaven_requests", "Requests that ended.", "model", "dialect", "code")
        self.seconds = registry.histogram("lanhaven_request_seconds", "From acceptance to the end.", "model")
        self.first = registry.histogram("lanhaven_first_byte_seconds", "From acceptance to the first byte.", "model")
        self.token = registry.histogram(
            "lanhaven_first_token_seconds", "From acceptance to the first token, where that is known.", "model"
        )
        self.queue = registry.histogram("lanhaven_queue_seconds", "Spent waiting for an instance.", "model")
        self.tokens = registry.counter("lanhaven_tokens", "Tokens.", "model", "kind")
        self.loads = registry.counter("lanhaven_model_loads", "Loads that succeeded.", "model")
        self.unloads = registry.counter("lanhaven_model_unloads", "Unloads.", "model", "reason")
        self.failures = registry.counter("lanhaven_operation_failures", "Failed operations.", "operation", "code")


class _Series:
    """The children of one model and dialect: looking labels up costs more than counting."""

    __slots__ = ("completion", "first", "ok", "prompt", "queue", "seconds", "token")

    def __init__(self, families: Families, model: str, dialect: str) -> None:
        self.ok = families.requests.labels(model, dialect, "ok")
        self.seconds = families.seconds.labels(model)
        self.first = families.first.labels(model)
        self.token = families.token.labels(model)
        self.queue = families.queue.labels(model)
        self.prompt = families.tokens.labels(model, "prompt")
        self.completion = families.tokens.labels(model, "completion")


class Metrics:
    """Listens to the bus. total = completed + failed + cancelled + inflight, always."""

    def __init__(self) -> None:
        self._registry = Registry()
        self._registry.gauge("lanhaven_inflight_requests", "Requests under way.", lambda: [((), self.inflight)])
        self._families = Families(self._registry)
        self.completed = 0
        self.failed = 0
        self.cancelled = 0
        self.errors = 0  # failed requests and failed operations
        self._open: dict[str, Record] = {}
        self._ring: deque[Record] = deque(maxlen=RING)
        self._series: OrderedDict[tuple[str, str], _Series] = OrderedDict()
        self._tokens = Usage()
        self._tokens_seconds = 0.0
        self._with_tokens = 0

    @property
    def inflight(self) -> int:
        return len(self._open)

    @property
    def total(self) -> int:
        return self.completed + self.failed + self.cancelled + self.inflight

    def watch(self, instances: Callable[[], Sequence[Instance]]) -> None:
        """Show every instance as well: of a model that several servers have, that is every server."""

        def gauge(name: str, help_text: str, value: Callable[[Instance], float]) -> None:
            def measure() -> list[tuple[tuple[str, ...], float]]:
                return [((each.model_key, each.instance_id), value(each)) for each in instances()]

            self._registry.gauge(f"lanhaven_instance_{name}", help_text, measure, "model", "instance")

        gauge("ready", "1: it takes requests.", lambda each: each.state is InstanceState.READY)
        gauge("requests", "Requests that it serves now.", lambda each: each.leases)
        gauge("waiting", "Requests that wait for it.", lambda each: each.waiting)
        gauge("memory_bytes", "Memory that it takes, estimated while it loads.", lambda each: each.size_bytes)

    def hear(self, bus: EventBus) -> None:
        """Count what happens there from now on."""
        bus.listen(self._start, InferenceStart)
        bus.listen(self._complete, InferenceComplete)
        bus.listen(self._fail, Failure)
        bus.listen(self._loaded, ModelLoadComplete)
        bus.listen(self._unloaded, ModelUnloadComplete)

    def _start(self, event: InferenceStart) -> None:
        record = self._open[event.request_id] = Record(event)
        self._ring.append(record)

    def _complete(self, event: InferenceComplete) -> None:
        self.completed += 1
        self._open.pop(event.request_id).end = event
        series = self._series.get((event.model_key, event.dialect)) or self._of(event.model_key, event.dialect)
        series.ok.value += 1
        series.seconds.observe(event.seconds)
        series.first.observe(event.first_byte_seconds)
        series.queue.observe(event.queue_seconds)
        if event.first_token_seconds is not None:
            series.token.observe(event.first_token_seconds)
        prompt, completion = event.usage.prompt_tokens, event.usage.completion_tokens
        if prompt or completion:
            series.prompt.value += prompt
            series.completion.value += completion
            tokens = self._tokens
            tokens.prompt_tokens += prompt
            tokens.completion_tokens += completion
            self._tokens_seconds += event.seconds
            self._with_tokens += 1

    def _loaded(self, event: ModelLoadComplete) -> None:
        self._families.loads.labels(event.model_key).value += 1

    def _unloaded(self, event: ModelUnloadComplete) -> None:
        self._families.unloads.labels(event.model_key, event.reason).value += 1

    def _fail(self, event: Failure) -> None:
        if event.request_id is None:
            self.errors += 1
            self._families.failures.labels(event.operation, event.code).value += 1
            return
        self._open.pop(event.request_id).end = event
        if event.cancelled:
            self.cancelled += 1
        else:
            self.failed += 1
            self.errors += 1
        self._families.requests.labels(event.model_key or "", event.dialect or "", event.code).value += 1
        if event.usage.total_tokens:  # computed all the same
            self._families.tokens.labels(event.model_key or "", "prompt").value += event.usage.prompt_tokens
            self._families.tokens.labels(event.model_key or "", "completion").value += event.usage.completion_tokens

    def _of(self, model: str, dialect: str) -> _Series:
        series = self._series[model, dialect] = _Series(self._families, model, dialect)
        return series

    def recent(self, count: int, client: str | None = None) -> list[dict[str, Any]]:
        """The last `count` requests, newest first; those of one client, if it is named."""
        found = (each for each in reversed(self._ring) if client in (None, each.start.client))
        return [each.as_json() for each in islice(found, count)]

    def performance(self) -> dict[str, Any]:
        """S0-63 and S0-x7: counts, percent, milliseconds."""
        times = sorted(each.end.seconds * 1000 for each in self._ring if isinstance(each.end, InferenceComplete))
        ended = self.total - self.inflight
        tokens = self._tokens
        mean = self._with_tokens or 1
        return {
            "totalRequests": self.total,
            "totalErrors": self.errors,
            "errorRate": round(100 * self.errors / ended, 2) if ended else 0.0,
            "recentRequestCount": len(self._ring),
            "completedRequestCount": len(times),
            "avgResponseTimeMs": round(fmean(times), 2) if times else 0.0,
            "minResponseTimeMs": round(times[0], 2) if times else 0.0,
            "maxResponseTimeMs": round(times[-1], 2) if times else 0.0,
            "medianResponseTimeMs": round(times[len(times) // 2], 2) if times else 0.0,
            "p95ResponseTimeMs": round(_quantile(times, 0.95), 2),
            "inflightRequests": self.inflight,
            "cancelledRequests": self.cancelled,
            "avgTokensPerSec": round(tokens.completion_tokens / self._tokens_seconds, 2)
            if self._tokens_seconds
            else 0.0,
            "totalTokensProcessed": tokens.total_tokens,
            "requestsWithTokenData": self._with_tokens,
            "tokenStats": {
                "totalPromptTokens": tokens.prompt_tokens,
                "totalCompletionTokens": tokens.completion_tokens,
                "avgPromptTokens": round(tokens.prompt_tokens / mean, 2),
                "avgCompletionTokens": round(tokens.completion_tokens / mean, 2),
            },
        }

    def oldest_pending(self) -> Record | None:
        """The request that has been under way for longest."""
        return next(iter(self._open.values()), None)

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes."""
        return self._registry.text()


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
