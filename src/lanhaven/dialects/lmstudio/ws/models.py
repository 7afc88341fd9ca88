"""Calls about models and their instances: lists, info, configs, unloading, what a load would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from lanhaven.dialects.lmstudio.models import (
    EMBEDDING,
    context_length,
    find_instance,
    find_models,
    instance_info,
    loaded,
)
from lanhaven.dialects.lmstudio.ws.endpoint import ADMIN, Peer, Rpc
from lanhaven.dialects.lmstudio.ws.fields import optional, table, text, truth
from lanhaven.errors import ModelNotFound
from lanhaven.lmstudio.load_keys import config_fields, from_stack
from lanhaven.types.models import Instance, ModelInfo, Sampling


async def list_loaded(domain: str, peer: Peer, parameter: Any) -> list[dict[str, Any]]:
    return [instance_info(*each) for each in loaded(peer.context.gateway, domain, peer.key_name)]


async def get_model_info(domain: str, peer: Peer, parameter: Any) -> dict[str, Any] | None:
    """None, which is no result at all, for an absent one that need not be there."""
    try:
        return instance_info(*_meant(domain, peer, parameter))
    except ModelNotFound:
        if optional(table(parameter), "throwIfNotFound", truth):
            raise
        return None


async def get_load_config(domain: str, peer: Peer, parameter: Any) -> dict[str, Any]:
    """As it was really loaded."""
    info, instance = _meant(domain, peer, parameter)
    config = replace(instance.load_config, context_length=context_length(info, instance))
    return {"fields": config_fields(config, embedding=domain == EMBEDDING)}


async def unload_model(domain: str, peer: Peer, parameter: Any) -> None:
    """The instance of this identifier, once its running requests are done."""
    peer.need(ADMIN)
    gateway = peer.context.gateway
    _, instance = find_instance(gateway, text(table(parameter), "identifier"), domain, peer.key_name)
    await gateway.unload(instance.instance_id, instance.instance_id)


async def get_base_prediction_config(domain: str, peer: Peer, parameter: Any) -> dict[str, Any]:
    """The instance's own defaults."""
    _, instance = _meant(domain, peer, parameter)
    return {"fields": sampling_fields(instance.sampling)}


async def get_processing_state(domain: str, peer: Peer, parameter: Any) -> dict[str, Any] | None:
    try:
        _, instance = _meant(domain, peer, parameter)
    except ModelNotFound:
        if optional(table(parameter), "throwIfNotFound", truth):
            raise
        return None
    busy = "computingEmbedding" if domain == EMBEDDING else "generating"
    return {"status": busy if instance.leases else "idle", "queued": instance.waiting}


async def estimate_model_usage(domain: str, peer: Peer, parameter: Any) -> dict[str, Any]:
    """What a load would take of memory. How much of it on a GPU the engine alone knows: all is told as RAM."""
    asked = table(parameter)
    gateway = peer.context.gateway
    info = find_models(gateway, text(asked, "modelKey"), domain, peer.key_name)[0]
    config, _ = from_stack(asked.get("loadConfigStack"), embedding=domain == EMBEDDING)
    forecast = gateway.pool.forecast(info, config.over(info.load))
    total = max(forecast.need.bytes, info.size_bytes)
    return {
        "memory": {
            "confidence": "high" if forecast.need.learnt else "low",
            "modelVramBytes": 0,
            "contextVramBytes": 0,
            "totalVramBytes": 0,
            "modelBytes": min(info.size_bytes, total),
            "contextBytes": total - min(info.size_bytes, total),
            "totalBytes": total,
        },
        "passesGuardrails": forecast.fits,
    }


def sampling_fields(sampling: Sampling) -> list[dict[str, Any]]:
    """An instance's defaults as prediction keys; those with a checkbox are checked."""
    said = sampling.said()
    fields = [
        {"key": f"llm.prediction.{key}", "value": {"checked": True, "value": said[name]} if checkbox else said[name]}
        for name, key, checkbox in (
            ("temperature", "temperature", False),
            ("top_k", "topKSampling", False),
            ("top_p", "topPSampling", True),
            ("min_p", "minPSampling", True),
            ("repeat_penalty", "repeatPenalty", True),
            ("max_tokens", "maxPredictedTokens", True),
            ("seed", "seed", True),
        )
        if name in said
    ]
    if sampling.stop:
        fields.append({"key": "llm.prediction.stopStrings", "value": list(sampling.stop)})
    return fields


def rpcs(domain: str) -> Mapping[str, Rpc]:
    """The calls of one of the namespaces `llm` and `embedding`."""
    table_of: Mapping[str, Any] = {
        "listLoaded": list_loaded,
        "getModelInfo": get_model_info,
        "getLoadConfig": get_load_config,
        "unloadModel": unload_model,
        "getBasePredictionConfig": get_base_prediction_config,
        "getInstanceProcessingState": get_processing_state,
        "estimateModelUsage": estimate_model_usage,
    }
    return {name: partial(rpc, domain) for name, rpc in table_of.items()}


def _meant(domain: str, peer: Peer, parameter: Any) -> tuple[ModelInfo, Instance]:
    return find_instance(peer.context.gateway, table(parameter).get("specifier"), domain, peer.key_name)
