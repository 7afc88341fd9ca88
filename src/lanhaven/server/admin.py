"""The admin API: list, load, estimate, unload, activate models (S0-05..37)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from lanhaven.errors import GatewayError, ModelNotFound
from lanhaven.residency.pool import LoadResult
from lanhaven.server.admin_types import (
    ActivateBody,
    LoadBody,
    UnloadBody,
    load_config_json,
    sampling_json,
)
from lanhaven.server.estimate import estimate_json, ignored_json
from lanhaven.server.services import Services
from lanhaven.types.models import Instance, ModelInfo


def admin_router(services: Services) -> APIRouter:
    """Routes under /admin."""
    router = APIRouter(prefix="/admin", tags=["admin"])
    api = Admin(services)
    missing: dict[int | str, dict[str, Any]] = {404: {"description": "No such model or instance."}}
    busy: dict[int | str, dict[str, Any]] = {409: {"description": "In use."}, 503: {"description": "Does not fit now."}}
    router.add_api_route("/models", api.models, methods=["GET"])
    router.add_api_route("/models/load", api.load, methods=["POST"], responses=missing | busy)
    router.add_api_route("/models/estimate", api.estimate, methods=["POST"], responses=missing)
    router.add_api_route("/models/unload", api.unload, methods=["POST"], responses=missing)
    router.add_api_route("/models/activate", api.activate, methods=["POST"], responses=missing)
    router.add_api_route("/models/refresh", api.refresh, methods=["POST"])
    router.add_api_route("/models/{key:path}/logs", api.logs, methods=["GET"], responses=missing)
    return router


class Admin:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._gateway = services.gateway

    async def models(self) -> dict[str, Any]:
        """Models in memory (`loaded`) and all models that could run (`downloaded`)."""
        services, default = self._services, self._services.catalog.default_model
        return {
            "loaded": [instance_json(each, services) for each in services.pool.instances()],
            "downloaded": [
                model_json(each, default, listed=services.catalog.lists(each.key)) for each in services.catalog.models()
            ],
        }

    async def load(self, body: LoadBody) -> dict[str, Any]:
        """Load a model, wait until it is ready, and (by default) make it the active one."""
        result = await self._gateway.load(
            body.model_key,
            instance_id=body.instance_id,
            config=body.load_config.config(body.ttl_seconds),
            sampling=body.default_inference.sampling() if body.default_inference else None,
            activate=body.activate,
            pinned=body.pinned,
            force=body.force,
        )
        return loaded_json(result, activated=body.activate)

    async def estimate(self, body: LoadBody) -> dict[str, Any]:
        """How much memory loading would take, and whether it would fit; nothing is loaded."""
        info = self._gateway.model(body.model_key)
        config = body.load_config.config(body.ttl_seconds).over(info.load)
        return estimate_json(info, config, self._services.pool.forecast(info, config))

    async def unload(self, body: UnloadBody) -> JSONResponse:
        """Unload one instance, or all of a model: requests under way may finish (up to the drain timeout)."""
        start = self._services.clock()
        try:
            gone = await self._gateway.unload(body.model_key, body.instance_id, force=body.force)
        except ModelNotFound:
            return JSONResponse(not_found(body.model_key, body.instance_id), 404)
        return JSONResponse(
            {
                "status": "unloaded",
                "modelKey": gone[0].model_key,
                "instanceId": gone[0].instance_id if len(gone) == 1 else body.instance_id,
                "instanceIds": [each.instance_id for each in gone],
                "totalTimeMs": round((self._services.clock() - start) * 1000),
                "message": f"Model unloaded successfully via {gone[0].provider}",
            }
        )

    async def activate(self, body: ActivateBody) -> JSONResponse:
        """Make a loaded instance the active one, and change its defaults if some are given."""
        sampling = body.default_inference.sampling() if body.default_inference else None
        try:
            key, instance_id, kept = self._gateway.activate(
                body.model_key, body.instance_id, sampling, merge=body.merge
            )
        except ModelNotFound as error:
            return JSONResponse(not_found(body.model_key, body.instance_id, error.hint), 404)
        return JSONResponse(
            {
                "status": "activated",
                "modelKey": key,
                "instanceId": instance_id,
                "defaultInference": sampling_json(kept),
                "message": "Model activated successfully",
            }
        )

    async def refresh(self) -> dict[str, Any]:
        """Read models.yaml again, look at the models again, and ask the providers what they have."""
        services = self._services
        found = await services.reloading.reload()
        await services.catalog.refresh()
        return {
            "status": "refreshed",
            "models": len(services.catalog.models()),
            "added": list(found.added),
            "removed": list(found.removed),
            "changed": list(found.changed),
            "problems": services.problems,
        }

    async def logs(self, key: str, instance: str | None = None) -> dict[str, Any]:
        """The last lines that the engine of an instance wrote."""
        target = self._services.catalog.resolve(instance or key, self._services.pool.ids())
        instance_id = instance or target.instance_id or target.info.key
        lines = self._services.providers[target.info.provider].logs(instance_id)
        return {"instanceId": instance_id, "lines": list(lines)}


def loaded_json(result: LoadResult, *, activated: bool) -> dict[str, Any]:
    """The answer to a load (S0-29) with what was applied."""
    instance = result.instance
    return {
        "status": "loaded",
        "modelKey": instance.model_key,
        "instanceId": instance.instance_id,
        "activated": activated,
        "totalTimeMs": round(result.seconds * 1000),
        "message": f"Model loaded successfully via {instance.provider}",
        "loadConfig": load_config_json(instance.load_config),
        "defaultInference": sampling_json(instance.sampling),
        "applied": dict(result.applied),
        "ignored": ignored_json(result.ignored),
        "reused": result.reused,
        "sizeBytes": instance.size_bytes,
    }


def instance_json(instance: Instance, services: Services) -> dict[str, Any]:
    """One entry of `loaded` (S0-06) with what else is known."""
    now = services.clock()
    active = services.catalog.active
    return {
        "path": instance.model_key,
        "identifier": instance.instance_id,
        "provider": instance.provider,
        "type": instance.kind.value,
        "state": instance.state.value,
        "sizeBytes": instance.size_bytes,
        "contextLength": instance.load_config.context_length,
        "slots": instance.slots,
        "busy": instance.leases,
        "waiting": instance.waiting,
        "pinned": instance.pinned,
        "automatic": instance.automatic,
        "active": active is not None and active.instance_id == instance.instance_id,
        "idleSeconds": round(max(0.0, now - instance.last_used), 1) if not instance.leases else 0.0,
        "expiresInSeconds": None if instance.expires_at is None else round(max(0.0, instance.expires_at - now), 1),
        "progress": instance.progress,
        "stage": instance.stage,
        "loadConfig": load_config_json(instance.load_config),
        "defaultInference": sampling_json(instance.sampling),
        "error": instance.error,
        "reloadNeeded": instance.outdated,
    }


def model_json(info: ModelInfo, default: str | None, *, listed: bool) -> dict[str, Any]:
    """One entry of `downloaded` (S0-07) with what else is known."""
    return {
        "path": info.key,
        "size": info.size_bytes,
        "type": info.kind.value,
        "provider": info.provider,
        "format": info.format or None,
        "quantization": info.quantization,
        "architecture": info.architecture,
        "maxContextLength": info.max_context,
        "layers": info.layers,
        "capabilities": sorted(info.capabilities),
        "aliases": list(info.aliases),
        "available": info.unavailable is None,
        "unavailableReason": info.unavailable,
        "description": info.description,
        "default": info.key == default,
        "listed": listed,
        "pinned": info.pinned,
        "preload": info.preload,
        "loadConfig": load_config_json(info.load),
        "defaultInference": sampling_json(info.sampling),
    }


def not_found(key: str, instance_id: str | None, hint: str | None = None) -> dict[str, Any]:
    """S0-34, S0-75, C8, C21."""
    message = f"Model not found: {key}" + (f" (instance: {instance_id})" if instance_id is not None else "")
    body: dict[str, Any] = {"status": "not_found", "modelKey": key}
    if instance_id is not None:
        body["instanceId"] = instance_id
    return body | {"message": message, "error": message, "code": "model_not_found"} | ({"hint": hint} if hint else {})


def native_error(error: GatewayError) -> dict[str, Any]:
    """An error of the native routes: the text under `error`, the rest beside it in camelCase."""
    body: dict[str, Any] = {"error": error.message, "code": error.code}
    if error.param is not None:
        body["param"] = error.param
    if error.hint is not None:
        body["hint"] = error.hint
    return body | {_camel(name): value for name, value in error.facts.items()}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
