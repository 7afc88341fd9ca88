"""One object of `GET /v1/models`, readable by OpenAI's and by Anthropic's clients (extra keys are ignored by both)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lanhaven.gateway import Gateway
from lanhaven.types.models import Instance, InstanceState, ModelInfo

CREATED = 1_700_000_000  # model files carry no date that means anything to a client; a stable number is what lists need


def model_card(info: ModelInfo, gateway: Gateway, name: str | None = None) -> dict[str, Any]:
    """`name`: the id to show, where it is not the model key (an instance identifier, an alias)."""
    loaded = [each for each in gateway.pool.instances() if each.model_key == info.key]
    return {
        "id": name or info.key,
        "object": "model",
        "created": CREATED,
        "owned_by": info.provider,
        "type": "model",
        "display_name": info.key,
        "created_at": datetime.fromtimestamp(CREATED, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "status": _status(info, loaded),
        "state": "loaded" if any(each.state is InstanceState.READY for each in loaded) else "not-loaded",
        "kind": info.kind.value,
        "format": info.format or None,
        "quantization": info.quantization,
        "max_context_length": info.max_context,
        "loaded_context_length": next((each.load_config.context_length for each in loaded), None),
        "capabilities": sorted(info.capabilities),
    }


def _status(info: ModelInfo, loaded: list[Instance]) -> str:
    if info.unavailable is not None:
        return "error"
    states = {each.state for each in loaded}
    if InstanceState.READY in states:
        return "ready"
    return "loading" if InstanceState.LOADING in states else "unloaded"
