"""What is going on: status, metrics and the live event stream (S0-48..66)."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import psutil
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from lanhaven import __version__
from lanhaven.errors import Overloaded
from lanhaven.events import (
    Failure,
    GatewayEvent,
    InferenceComplete,
    InferenceStart,
    ModelActivate,
    ModelLoadComplete,
    ModelLoadProgress,
    ModelLoadStart,
    ModelUnloadComplete,
    Subscription,
    iso,
    utc_now,
)
from lanhaven.keys.key import KeyScope
from lanhaven.lmstudio.log_events import LMStudioSamplingParams, LMStudioTokenInfo
from lanhaven.metrics import token_usage
from lanhaven.server.admin_types import load_config_json, sampling_json
from lanhaven.server.callers import Callers
from lanhaven.server.services import Services
from lanhaven.types.models import InstanceState
from lanhaven.wire import KEEP_ALIVE, encode, sse

PULSE = 30.0  # seconds between comments on a silent debug stream (S0-x8)
STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no", "connection": "keep-alive"}


def debug_router(services: Services, callers: Callers) -> APIRouter:
    """Routes under /debug."""
    router = APIRouter(prefix="/debug", tags=["debug"])

    @router.get("/status")
    async def status() -> dict[str, Any]:
        """What the server does now, the active model, the last ten requests."""
        metrics, operation = services.metrics, current_operation(services)
        return {
            "status": operation["type"] if operation else "idle",
            "currentOperation": operation,
            "activeModel": active_model(services),
            "recentRequests": metrics.recent(10),
            "totalRequests": metrics.total,
            "totalErrors": metrics.errors,
            "draining": services.draining(),
            "leftAlone": services.pool.breakers(),
            "problems": services.problems,
        } | ({"status": STATUS[operation["type"]]} if operation else {})

    @router.get("/metrics")
    async def metrics() -> dict[str, Any]:
        """Counts, times and the process."""
        return {
            "modelInfo": active_model(services),
            "performance": services.metrics.performance(),
            "recentActivity": {"last10Requests": services.metrics.recent(10)},
            "system": system_json(services),
            "currentOperation": current_operation(services),
        }

    @router.get("/stream", response_class=StreamingResponse)
    async def stream(request: Request) -> StreamingResponse:
        """Everything that happens, as Server-Sent Events; the first is `connected`. Slow readers lose events, and are
        told how many by an event `dropped`."""
        if len(services.subscribers) >= services.settings.max_debug_subscribers:
            raise Overloaded("Too many debug subscribers.", retry_after=30, facts={"reason": "too_many_subscribers"})
        return endless(request, callers, events(services))

    @router.get("/events", response_class=JSONResponse)
    async def recent() -> dict[str, Any]:
        """The last hundred requests."""
        return {"requests": services.metrics.recent(100)}

    return router


STATUS = {"model_load": "loading_model", "model_unload": "unloading_model", "inference": "processing_inference"}


def endless(request: Request, callers: Callers, pieces: AsyncGenerator[bytes, None]) -> StreamingResponse:
    """Server-Sent Events for as long as their reader may see them: until its key is revoked, say."""
    key = request.scope.get("lanhaven.key")

    async def allowed() -> AsyncIterator[bytes]:
        async with aclosing(pieces):
            async for piece in pieces:
                if not callers.still(key, KeyScope.DEBUG):
                    return
                yield piece

    return StreamingResponse(allowed(), media_type="text/event-stream", headers=STREAM_HEADERS)


async def events(services: Services) -> AsyncGenerator[bytes, None]:
    """The debug stream of one subscriber."""
    with services.bus.subscribe() as subscription:
        services.subscribers.add(subscription)
        try:
            yield sse(encode({"timestamp": utc_now(), "message": "Debug stream connected"}), "connected")
            while not subscription.closed:
                yield await _next(subscription)
            yield sse(encode({"timestamp": utc_now(), "message": "The server is going down"}), "shutdown")
        finally:
            services.subscribers.discard(subscription)


async def _next(subscription: Subscription) -> bytes:
    event = await subscription.get(PULSE)
    if event is None:
        return KEEP_ALIVE
    dropped = subscription.take_dropped()
    lost = sse(encode({"timestamp": utc_now(), "count": dropped}), "dropped") if dropped else b""
    return lost + sse(encode(event_json(event)), event.name)


def event_json(event: GatewayEvent) -> dict[str, Any]:
    """An event as the debug stream shows it (S0-49..57): camelCase, no null members."""
    writer: Callable[[Any], dict[str, Any]] = WRITERS.get(type(event), _plain)
    body = writer(event) | {"timestamp": event.timestamp}
    return {name: value for name, value in body.items() if value is not None}


def _plain(event: GatewayEvent) -> dict[str, Any]:
    return {_camel(name): value for name, value in msgspec.to_builtins(event).items() if name != "at"}


def _load_start(event: ModelLoadStart) -> dict[str, Any]:
    return _plain(event) | {"loadConfig": load_config_json(event.load_config)}


def _load_progress(event: ModelLoadProgress) -> dict[str, Any]:
    percent = None if event.progress is None else round(event.progress * 100, 1)
    return _plain(event) | {"progress": percent, "progressRaw": event.progress}


def _load_complete(event: ModelLoadComplete) -> dict[str, Any]:
    body = _plain(event) | {"loadConfig": load_config_json(event.load_config)}
    return _timed(body)


def _unload_complete(event: ModelUnloadComplete) -> dict[str, Any]:
    return _timed(_plain(event))


def _activate(event: ModelActivate) -> dict[str, Any]:
    body = _plain(event)
    del body["sampling"]
    return body | {"defaultInference": sampling_json(event.sampling)}


def _start(event: InferenceStart) -> dict[str, Any]:
    return _plain(event)


def _complete(event: InferenceComplete) -> dict[str, Any]:
    return _counted(event)


def _failure(event: Failure) -> dict[str, Any]:
    return _counted(event)


def _counted(event: InferenceComplete | Failure) -> dict[str, Any]:
    body = _timed(_plain(event))
    del body["usage"]
    return body | {"tokenUsage": token_usage(event.usage) if event.usage.total_tokens else None}


def _params(event: LMStudioSamplingParams) -> dict[str, Any]:
    body = _plain(event)
    del body["params"]
    return body | dict(event.params)


def _token_info(event: LMStudioTokenInfo) -> dict[str, Any]:
    body = _plain(event)
    del body["counts"]
    return body | dict(event.counts)


def _timed(body: dict[str, Any]) -> dict[str, Any]:
    body["totalTimeMs"] = round(body.pop("seconds") * 1000)
    for name in STAGES & body.keys():
        seconds = body.pop(name)
        body[name.removesuffix("Seconds") + "Ms"] = None if seconds is None else round(seconds * 1000)
    return body


WRITERS: dict[type[GatewayEvent], Callable[[Any], dict[str, Any]]] = {
    ModelLoadStart: _load_start,
    ModelLoadProgress: _load_progress,
    ModelLoadComplete: _load_complete,
    ModelUnloadComplete: _unload_complete,
    ModelActivate: _activate,
    InferenceStart: _start,
    InferenceComplete: _complete,
    Failure: _failure,
    LMStudioSamplingParams: _params,
    LMStudioTokenInfo: _token_info,
}


STAGES = frozenset({"queueSeconds", "loadSeconds", "firstByteSeconds", "firstTokenSeconds"})


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def active_model(services: Services) -> dict[str, Any]:
    """Always an object, with null members when no model is active (S0-60)."""
    key, instance_id, sampling = services.gateway.active()
    return {"modelKey": key, "instanceId": instance_id, "defaultInference": sampling_json(sampling)}


def current_operation(services: Services) -> dict[str, Any] | None:
    """The load, unload or oldest inference under way (S0-x5); None when idle."""
    for instance in services.pool.instances():
        if instance.state in (InstanceState.LOADING, InstanceState.DRAINING):
            kind = "model_load" if instance.state is InstanceState.LOADING else "model_unload"
            about = {"type": kind, "modelKey": instance.model_key, "instanceId": instance.instance_id,
                     "progress": instance.progress, "stage": instance.stage}  # fmt: skip
            return about | since(services.operations.began(instance.instance_id))
    record = services.metrics.oldest_pending()
    if record is None:
        return None
    return {"type": "inference", "modelKey": record.model, "requestId": record.request_id} | since(record.at)


def since(began: int | None) -> dict[str, Any]:
    """When, and how long ago by the wall clock: only shown, nothing is decided by it."""
    if began is None:
        return {"startedAt": None, "elapsedMs": None}
    return {"startedAt": iso(began), "elapsedMs": max(0, time.time_ns() - began) // 10**6}


def system_json(services: Services) -> dict[str, Any]:
    """S0-65, C6, C7: the keys of the first clients, which expect Node's; `external` has no meaning here and is 0."""
    memory = psutil.Process().memory_info()
    heap = sys.getallocatedblocks() * 64  # bytes: CPython's small-object blocks, the nearest thing to a heap size
    raw = {"rss": memory.rss, "heapTotal": heap, "heapUsed": heap, "external": 0}
    return {
        "uptime": round(services.uptime, 1),
        "uptimeFormatted": format_uptime(services.uptime),
        "memoryUsage": {name: round(value / 2**20, 2) for name, value in raw.items()},
        "memoryUsageRaw": raw,
        "nodeVersion": f"python-{platform.python_version()}",
        "pythonVersion": platform.python_version(),
        "implementation": "lanhaven",
        "version": __version__,
        "platform": sys.platform,
    }


def format_uptime(seconds: float) -> str:
    """3600.5 -> "1h", 3605 -> "1h 5s", 0.2 -> "0s" (C6)."""
    rest, parts = int(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
