"""POST /admin/models/estimate: what a load would take of this machine's memory, and whether it may have it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lanhaven.providers.base import Ignored
from lanhaven.providers.ignoring import too_long
from lanhaven.residency.forecast import Forecast
from lanhaven.types.memory import MemoryEstimate
from lanhaven.types.models import LoadConfig, ModelInfo


def estimate_json(info: ModelInfo, config: LoadConfig, forecast: Forecast) -> dict[str, Any]:
    """Bytes and tokens. `config`: as asked for, over the model's own; what of it a load ignores is told as there."""
    need, ignored = forecast.need, too_long(config.context_length, info.max_context)
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
        "contextLength": info.max_context if ignored else config.context_length,
        "slots": config.slots,
        "largestContextLength": forecast.largest_context,
        "suggestedContextLength": None if forecast.fits else forecast.largest_context,
        "ignored": ignored_json(ignored),
    }


def ignored_json(ignored: Iterable[Ignored]) -> list[dict[str, str]]:
    """What a load config asks for in vain."""
    return [{"key": each.key, "reason": each.reason} for each in ignored]


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
