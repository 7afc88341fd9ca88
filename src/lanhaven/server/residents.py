"""Memory and what holds it; how long an instance is kept; packed models that can be fetched."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from lanhaven.downloads import Download
from lanhaven.server.admin import instance_json
from lanhaven.server.admin_types import Body, Name, SamplingBody
from lanhaven.server.memory import free_bytes, total_bytes
from lanhaven.server.services import Services


class KeepBody(Body):
    """POST /admin/models/keep: what is not named stays; ttlSeconds null = as for all, 0 = never."""

    model_key: Name
    instance_id: Name | None = None
    pinned: bool | None = None
    ttl_seconds: Annotated[float, Field(ge=0)] | None = None
    default_inference: SamplingBody | None = None


def residents_router(services: Services) -> APIRouter:
    """Routes under /admin."""
    router = APIRouter(prefix="/admin", tags=["admin"])
    missing: dict[int | str, dict[str, Any]] = {404: {"description": "No such model or instance."}}

    @router.get("/memory")
    async def memory() -> dict[str, Any]:
        """This machine's memory, and which instances hold how much of it."""
        return memory_json(services)

    @router.post("/models/keep", responses=missing)
    async def keep(body: KeepBody) -> dict[str, Any]:
        """Pin a loaded instance, change its idle time or its defaults; nothing is loaded anew. Without `instanceId`:
        the one of the model that was used last."""
        instance_id = services.gateway.loaded(body.model_key, body.instance_id).instance_id
        if body.pinned is not None:
            services.pool.set_pinned(instance_id, body.pinned)
        if "ttl_seconds" in body.model_fields_set:
            services.pool.set_idle_ttl(instance_id, body.ttl_seconds)
        if body.default_inference is not None:
            services.pool.set_sampling(instance_id, body.default_inference.sampling())
        return instance_json(services.gateway.loaded(body.model_key, instance_id), services)

    @router.get("/downloads")
    async def downloads() -> dict[str, Any]:
        """Models that can be fetched (POST /api/v1/models/download), and how far each download is."""
        return downloads_json(services)

    return router


def memory_json(services: Services) -> dict[str, Any]:
    """Bytes. `availableBytes`: what a load may take now, within the budget where there is one."""
    budget = services.settings.memory_budget
    return {
        "totalBytes": total_bytes(),
        "freeBytes": free_bytes(),
        "availableBytes": services.available_memory(),
        **({} if budget is None else {"budgetBytes": budget}),
        "models": [
            {"instanceId": each.instance_id, "modelKey": each.model_key, "bytes": each.size_bytes, "state": each.state}
            for each in services.pool.occupants()
        ],
    }


def downloads_json(services: Services) -> dict[str, Any]:
    """Each model with its last job."""
    jobs = {job.model: job for job in services.downloads.jobs()}
    models = []
    for each in services.downloads.models():
        here = services.catalog.get(each.name)
        models.append(
            {
                "name": each.name,
                "description": each.description,
                "license": each.license,
                "downloadBytes": each.wheel.size,
                "sizeBytes": each.file.size,
                "here": here is not None and here.unavailable is None,
                **({"job": _job(jobs[each.name])} if each.name in jobs else {}),
            }
        )
    return {"models": models}


def _job(job: Download) -> dict[str, Any]:
    told = {"secondsLeft": job.seconds_left, "error": job.error}
    return {
        "jobId": job.job_id,
        "status": job.status.value,
        "stage": job.stage,
        "downloadedBytes": job.downloaded_bytes,
        "totalBytes": job.total_bytes,
        **{name: value for name, value in told.items() if value is not None},
    }
