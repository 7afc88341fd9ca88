"""The pool's events, as made from a resident. `pool` emits them."""

from __future__ import annotations

from lanhaven.errors import GatewayError
from lanhaven.events import (
    Failure,
    ModelLoadComplete,
    ModelLoadProgress,
    ModelLoadStart,
    ModelUnloadComplete,
    ModelUnloadStart,
)
from lanhaven.residency.resident import Resident
from lanhaven.types.models import ModelInfo


def load_started(resident: Resident) -> ModelLoadStart:
    return ModelLoadStart(
        model_key=resident.info.key,
        instance_id=resident.instance_id,
        load_config=resident.config,
        automatic=resident.automatic,
    )


def load_progressed(resident: Resident) -> ModelLoadProgress:
    return ModelLoadProgress(
        model_key=resident.info.key,
        instance_id=resident.instance_id,
        stage=resident.stage or "",
        progress=resident.progress,
    )


def load_completed(resident: Resident, seconds: float, *, activated: bool) -> ModelLoadComplete:
    return ModelLoadComplete(
        model_key=resident.info.key,
        instance_id=resident.instance_id,
        load_config=resident.load_config,
        automatic=resident.automatic,
        activated=activated,
        seconds=seconds,
    )


def unload_started(resident: Resident) -> ModelUnloadStart:
    return ModelUnloadStart(model_key=resident.info.key, instance_id=resident.instance_id, reason=resident.reason)


def unload_completed(resident: Resident, seconds: float) -> ModelUnloadComplete:
    return ModelUnloadComplete(
        model_key=resident.info.key, instance_id=resident.instance_id, reason=resident.reason, seconds=seconds
    )


def refused(operation: str, info: ModelInfo, error: GatewayError) -> Failure:
    """An order that never got as far as an instance: the one it named, if it is there, goes on."""
    return Failure(
        operation=operation,
        error=error.message,
        code=error.code,
        status=error.status,
        hint=error.hint,
        model_key=info.key,
    )


def failure(operation: str, resident: Resident, error: GatewayError, seconds: float = 0.0) -> Failure:
    """operation: "model_load", "model_unload" or "engine" (it ended by itself)."""
    return Failure(
        operation=operation,
        error=error.message,
        code=error.code,
        status=error.status,
        hint=error.hint,
        model_key=resident.info.key,
        instance_id=resident.instance_id,
        seconds=seconds,
    )
