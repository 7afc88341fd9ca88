"""Health, readiness, capabilities and the exported metrics."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from lanhaven import __version__
from lanhaven.events import utc_now
from lanhaven.keys.key import KeyScope
from lanhaven.media.header import FORMATS as IMAGE_FORMATS
from lanhaven.providers.base import Health
from lanhaven.server.services import Services
from lanhaven.types.images import JPEG_QUALITY
from lanhaven.types.models import InstanceState


def info_router(services: Services) -> APIRouter:
    """Routes outside /admin and /debug."""
    router = APIRouter(tags=["info"])

    @router.get("/health")
    async def health(request: Request, strict: bool = False) -> JSONResponse:
        """200 while the process serves; `status` says whether a provider is up. `?strict=1`: 503 when none is (C5)."""
        keyed = request.scope.get("lanhaven.key") is not None
        body = await health_json(services, keyed=keyed)
        return JSONResponse(body, 503 if strict and body["status"] != "ok" else 200)

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether a request could be served now: not going down, and some model can run."""
        reason = not_ready(services)
        return JSONResponse({"status": "ok"} if reason is None else {"status": "not ready", "reason": reason},
                            200 if reason is None else 503)  # fmt: skip

    @router.get("/metrics")
    async def metrics() -> Response:
        """Prometheus text format."""
        return Response(services.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/v1/capabilities")
    async def capabilities() -> dict[str, Any]:
        """What this server can do (S4-x10)."""
        return capabilities_json(services)

    @router.get("/v1/performance")
    async def performance(request: Request) -> dict[str, Any]:
        """Times and counts (S4-x12). Requests of others are shown to keys with the scope debug."""
        key = request.scope.get("lanhaven.key")
        mine = None if key is None or KeyScope.DEBUG in key.scopes else key.name
        return {"metrics": services.metrics.performance(), "recent": services.metrics.recent(10, mine)}

    return router


async def health_json(services: Services, *, keyed: bool) -> dict[str, Any]:
    """The union of the health bodies that clients know. Addresses are shown to callers with a key only."""
    backends = await services.health()
    studio = backends.get("lmstudio")
    return {
        "status": "ok" if any(each.ok for each in backends.values()) else "degraded",
        "timestamp": utc_now(),
        "uptime": round(services.uptime, 1),
        "uptime_ms": round(services.uptime * 1000),
        "version": __version__,
        "lmstudio_version": studio.version if studio else None,
        "api_version": "v1",
        "models_loaded": sum(each.state is InstanceState.READY for each in services.pool.instances()),
        "backends": {name: _backend(each, keyed=keyed) for name, each in backends.items()},
    }


def _backend(health: Health, *, keyed: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "ok": health.ok,
        "kind": health.kind,
        "version": health.version,
        "latency_ms": health.latency_ms,
        "detail": health.detail,
    }
    if health.down:
        body["down"] = list(health.down)
    if keyed and health.address is not None:
        body["address"] = health.address
    return body


def not_ready(services: Services) -> str | None:
    """Why the server could not serve a request now; None when it could."""
    if services.draining():
        return "the server is going down"
    if any(each.unavailable is None for each in services.catalog.models()):
        return None
    return "no model can run here"


def capabilities_json(services: Services) -> dict[str, Any]:
    """Endpoints, features and limits, read off the catalog and the settings."""
    settings = services.settings
    able = {each for info in services.catalog.models() if info.unavailable is None for each in info.capabilities}
    return {
        "server_version": __version__,
        "providers": sorted(services.providers),
        "endpoints": {
            "chat": "/v1/chat/completions",
            "completions": "/v1/completions",
            "embeddings": "/v1/embeddings",
            "rerank": "/v1/rerank",
            "models": "/v1/models",
            "fast_vision": "/v1/chat/completions/multipart",
            "standard_vision": "/v1/chat/completions",
            "batch_processing": "/v1/batch/chat/completions",
            "files": "/v1/files",
            "batches": "/v1/batches",
        },
        "features": {
            "streaming": True,
            "model_caching": {"cache_size": services.pool.max_automatic, "eviction_policy": "LRU"},
            "vision_models": "vision" in able,
            "images": services.images.available,
            "image_formats": [*IMAGE_FORMATS] if services.images.available else [],
            "remote_images": services.images.fetches,
            "tools": "tools" in able,
            "embeddings": "embedding" in able,
            "rerank": "rerank" in able,
            "speech": "speech" in able,
            "transcription": "transcription" in able,
            "image_generation": "image" in able,
            "concurrent_requests": True,
        },
        "limits": {
            "max_request_size_mb": settings.max_body_bytes // 2**20,
            "timeout_seconds": settings.proxy_timeout,
            "queue_depth": settings.queue_depth,
            "max_images_per_request": settings.max_images_per_request,
            "max_image_size_mb": settings.max_image_bytes / 2**20,
            "max_image_pixels": settings.max_image_pixels,
            "image_max_side": settings.image_max_side,
        },
        "recommendations": {"image_quality": JPEG_QUALITY},
        "cpu_count": os.cpu_count(),
    }
