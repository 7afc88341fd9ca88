"""POST /admin/models/estimate: what a load would take of this machine's memory, and whether it may have it."""

from __future__ import annotations

from typing import Any

from lanhaven.residency.forecast import Forecast
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo


def estimate_json(info: ModelInfo, config: LoadConfig, forecast: Forecast) -> dict[str, Any]:
    """Bytes and tokens. `config`: as asked for, over the model's own."""
    need = forecast.need
    return {
        "modelKey": info.key,
        "neededBytes": need.bytes,
        "learnt": need.learnt,
        "parts": parts_json(need.parts) if need.parts is not None else None,
        "availableBytes": forecast.available_bytes,
        "evictableBytes": forecast.evictable_bytes,
        "evicts": list(forecast.evicts),
        "fits": forecast.fits,
        "verdict": forecast.verdict.value,
        "contextLength": config.context_length,
        "slots": config.slots,
        "largestContextLength": forecast.largest_context,
        "suggestedContextLength": None if forecast.fits else forecast.largest_context,
    }


def parts_json(parts: MemoryEstimate) -> dict[str, int]:
    """What the arithmetic adds up."""
    return {
        "weights": parts.weights,
        "projector": parts.projector,
        "kv": parts.kv,
        "compute": parts.compute,
        "promptCache": parts.prompt_cache,
        "engine": parts.base,
    }
