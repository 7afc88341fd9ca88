"""Models and instances as Ollama lists them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from lanhaven.types.models import Instance, InstanceState, ModelInfo, ModelKind, parameters_in

# Clients compare and show it; a model file's own date says when it was copied, not when the model was made.
MODIFIED = "2026-01-01T00:00:00Z"
FOREVER = datetime(2318, 1, 1, tzinfo=UTC)  # what Ollama says of a model that stays
LISTED = frozenset({ModelKind.LLM, ModelKind.VLM, ModelKind.EMBEDDING})
CAPABILITIES = {"chat": "completion", "completion": "completion", "tools": "tools", "vision": "vision",
                "embedding": "embedding", "thinking": "thinking"}  # fmt: skip


def tagged(key: str) -> str:
    """Ollama's names have a tag."""
    return key if ":" in key else f"{key}:latest"


def digest_of(info: ModelInfo) -> str:
    """Stable for a model as long as its file is the same size."""
    return hashlib.sha256(f"{info.key}\n{info.size_bytes}\n{info.quantization}".encode()).hexdigest()


def details_of(info: ModelInfo) -> dict[str, Any]:
    """Unknown texts are empty, as in Ollama's own lists."""
    family = info.architecture or ""
    return {
        "parent_model": "",
        "format": info.format,
        "family": family,
        "families": [family] if family else [],
        "parameter_size": parameters_in(info.path.stem if info.path is not None else info.key) or "",
        "quantization_level": info.quantization or "",
    }


def tag(info: ModelInfo) -> dict[str, Any]:
    """An item of /api/tags."""
    return {
        "name": tagged(info.key),
        "model": tagged(info.key),
        "modified_at": MODIFIED,
        "size": info.size_bytes,
        "digest": digest_of(info),
        "details": details_of(info),
    }


def running(info: ModelInfo, instance: Instance, now: float) -> dict[str, Any]:
    """An item of /api/ps. `now`: on the instance's clock."""
    until = FOREVER if instance.expires_at is None else datetime.now(UTC) + timedelta(seconds=instance.expires_at - now)
    name = info.key if instance.instance_id == info.key else instance.instance_id
    return tag(info) | {
        "name": tagged(name),
        "model": tagged(name),
        "size": instance.size_bytes or info.size_bytes,
        "expires_at": until.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "size_vram": round(instance.size_bytes * (instance.load_config.gpu_ratio or 0)),
        "context_length": instance.load_config.context_length or info.max_context or 0,
    }


def is_running(instance: Instance) -> bool:
    """Ready to answer."""
    return instance.state is InstanceState.READY


def shown(info: ModelInfo) -> dict[str, Any]:
    """The answer of /api/show. Editors choose features by `capabilities`, and the window by `context_length`."""
    sampling = info.sampling.said()
    lines = [f"{name:<30} {value}" for name, value in sampling.items() if not isinstance(value, tuple)]
    context = info.load.context_length or info.max_context
    if context:
        lines.append(f"{'num_ctx':<30} {context}")
    family = info.architecture or "unknown"
    facts: dict[str, Any] = {"general.architecture": family, "general.basename": info.key}
    if info.max_context:
        facts[f"{family}.context_length"] = info.max_context
    if info.layers:
        facts[f"{family}.block_count"] = info.layers
    return {
        "modelfile": f"# served by LanHaven\nFROM {info.key}\n",
        "parameters": "\n".join(lines),
        "template": "",
        "details": details_of(info),
        "model_info": facts,
        "capabilities": sorted({CAPABILITIES[each] for each in info.capabilities if each in CAPABILITIES}),
        "modified_at": MODIFIED,
    }
