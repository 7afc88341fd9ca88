"""Models as LM Studio's REST tells them: `/api/v0/models`, read strictly by editors, and `/api/v1/models`.

An editor refuses the whole list for one entry with a missing field or a word it does not know, so every field of v0 has
a value of LM Studio's own vocabulary here, also where nothing is known.
"""

from __future__ import annotations

from typing import Any

from lanhaven.dialects.base import Headers
from lanhaven.dialects.lmstudio.models import (
    EMBEDDING,
    Facts,
    context_length,
    facts_of,
    find_models,
    loaded,
    models,
)
from lanhaven.errors import ModelNotFound
from lanhaven.gateway import Gateway
from lanhaven.types.models import Instance, InstanceState, ModelInfo
from lanhaven.upstream.via import tellable

UNKNOWN = "unknown"


def named(gateway: Gateway, name: str | None, client: str | None = None) -> tuple[ModelInfo, str | None]:
    """What a name of LM Studio's world means: key, alias, instance, or the beginning of publisher/repo/file.

    The model, and the instance if it is one's name. ModelNotFound, NoActiveModel; Forbidden for another one than this
    client may use.
    """
    try:
        target = gateway.resolve(name, client)
    except ModelNotFound as error:
        try:
            return find_models(gateway, name or "", client=client)[0], None
        except ModelNotFound:
            raise error from None
    gateway.admission.check(client, target.info, name)
    return target.info, target.instance_id


def aim(gateway: Gateway, body: dict[str, Any], client: str | None) -> ModelInfo:
    """The model that a request means; its `model` becomes a name that the gateway knows."""
    name = body.get("model")
    info, instance_id = named(gateway, name if isinstance(name, str) else None, client)
    if isinstance(name, str) and name:
        body["model"] = instance_id or info.key
    return info


# ---- v0


def v0_list(gateway: Gateway, client: str | None, headers: Headers) -> dict[str, Any]:
    """All models, then the loaded instances that have a name of their own. headers: of who asks."""
    cards = [v0_card(each, gateway) for each in tellable(models(gateway, client=client), headers)]
    own = [v0_card(info, gateway, each) for info, each in _ready(gateway, client) if each.instance_id != info.key]
    return {"object": "list", "data": [*cards, *own]}


def v0_card(info: ModelInfo, gateway: Gateway, instance: Instance | None = None) -> dict[str, Any]:
    """One model, or one instance of it."""
    facts = facts_of(info)
    running = instance or next((each for its, each in _ready(gateway) if its.key == info.key), None)
    card: dict[str, Any] = {
        "id": instance.instance_id if instance is not None else info.key,
        "object": "model",
        "type": v0_type(facts),
        "publisher": facts.publisher,
        "arch": facts.architecture or UNKNOWN,
        "compatibility_type": v0_format(facts),
        "quantization": facts.quantization or UNKNOWN,
        "state": "loaded" if running is not None else "not-loaded",
        "max_context_length": facts.max_context,
        "capabilities": v0_capabilities(facts),
    }
    if running is not None:
        card["loaded_context_length"] = context_length(info, running)
    return card


def v0_type(facts: Facts) -> str:
    if facts.type == EMBEDDING:
        return "embeddings"
    return "vlm" if facts.vision else "llm"


def v0_format(facts: Facts) -> str:
    return "mlx" if facts.format == "mlx" else "gguf"


def v0_capabilities(facts: Facts) -> list[str]:
    able = {"tool_use": facts.trained_for_tool_use, "vision": facts.vision}
    return [name for name, has in able.items() if has]


# ---- v1


def v1_list(gateway: Gateway, client: str | None, headers: Headers) -> dict[str, Any]:
    """All models with their loaded instances. headers: of who asks."""
    return {"models": [v1_card(each, gateway) for each in tellable(models(gateway, client=client), headers)]}


def v1_card(info: ModelInfo, gateway: Gateway) -> dict[str, Any]:
    """One model."""
    facts = facts_of(info)
    instances = [each for its, each in _ready(gateway) if its.key == info.key]
    card: dict[str, Any] = {
        "type": facts.type,
        "publisher": facts.publisher,
        "key": info.key,
        "display_name": facts.display_name,
        "quantization": {"name": facts.quantization, "bits_per_weight": facts.bits} if facts.quantization else None,
        "size_bytes": facts.size_bytes,
        "params_string": facts.params,
        "loaded_instances": [{"id": each.instance_id, "config": v1_config(info, each)} for each in instances],
        "max_context_length": facts.max_context,
        "format": facts.format if facts.format in ("gguf", "mlx") else None,
        "description": info.description or None,
    }
    if facts.type != EMBEDDING:
        card["architecture"] = facts.architecture
        card["capabilities"] = {"vision": facts.vision, "trained_for_tool_use": facts.trained_for_tool_use}
    return card


def v1_config(info: ModelInfo, instance: Instance) -> dict[str, Any]:
    """How an instance is loaded: of LM Studio's fields those that are known."""
    config: dict[str, Any] = {"context_length": context_length(info, instance)}
    if instance.slots is not None:
        config["parallel"] = instance.slots
    if instance.load_config.flash_attention is not None:
        config["flash_attention"] = instance.load_config.flash_attention
    return config


def _ready(gateway: Gateway, client: str | None = None) -> list[tuple[ModelInfo, Instance]]:
    return [(info, each) for info, each in loaded(gateway, client=client) if each.state is InstanceState.READY]
