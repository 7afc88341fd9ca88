"""Load configs as LM Studio writes them: lists of `{"key", "value"}`, in stacks of named layers.

    {"layers": [{"layerName": "apiOverride", "config": {"fields": [{"key": "llm.load.contextLength", "value": 4096}]}}]}

A *checkbox* value `{"checked": bool, "value": v}` means v only where it is checked. A later layer overrides an earlier
one (lmstudio-js, KVConfig.ts, collapseKVStack). LM Studio has no key for a number of GPU layers, and its clients have
none for threads (C14).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.lmstudio.load_values import READERS, checked, rows, table
from lanhaven.types.models import LoadConfig

API_LAYER = "apiOverride"
DEFAULT_CONTEXT = 2048  # LM Studio's own, where nothing is said
KV_TYPES = frozenset({"f32", "f16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"})

Ignoring = tuple[str, str]  # the key, and why it has no effect

_V_TYPE = "llama.vCacheQuantizationType"
_SPLIT = "load.gpuSplitConfig"  # JavaScript sends it whenever `gpu` is said at all
_EVENLY: Mapping[str, Any] = MappingProxyType(
    {"strategy": "evenly", "disabledGpus": [], "priority": [], "customRatio": []}
)
# Field of LoadConfig -> key behind "llm.load." or "embedding.load.".
_SHARED: Mapping[str, str] = MappingProxyType(
    {
        "context_length": "contextLength",
        "gpu_ratio": "llama.acceleration.offloadRatio",
        "rope_frequency_base": "llama.ropeFrequencyBase",
        "rope_frequency_scale": "llama.ropeFrequencyScale",
    }
)
_LLM_ONLY: Mapping[str, str] = MappingProxyType(
    {
        "cpu_threads": "llama.cpuThreadPoolSize",
        "slots": "numParallelSessions",
        "flash_attention": "llama.flashAttention",
        "kv_type": "llama.kCacheQuantizationType",
    }
)
_CHECKBOXES = frozenset({"rope_frequency_base", "rope_frequency_scale", "kv_type"})
# Field of LoadConfig -> its name in the admin API.
ADMIN_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "context_length": "contextLength",
        "gpu_ratio": "gpu.ratio",
        "gpu_layers": "gpu.layers",
        "cpu_threads": "cpuThreads",
        "rope_frequency_base": "ropeFrequencyBase",
        "rope_frequency_scale": "ropeFrequencyScale",
        "slots": "slots",
        "flash_attention": "flashAttention",
        "kv_type": "kvType",
    }
)


def to_fields(
    config: LoadConfig, *, embedding: bool, layers: int | None
) -> tuple[list[dict[str, Any]], dict[str, object], tuple[Ignoring, ...]]:
    """(fields for the layer `apiOverride`, what they apply, what they cannot), the latter two by admin-API names.

    layers: how many the model has, if known; by it `gpu.layers` becomes a ratio, which wins over `gpu.ratio`.
    `idle_ttl` is no part of the config: it travels beside it, as ttlMs.
    """
    said = config.said()
    said.pop("idle_ttl", None)
    refused = {name: why for name in said if (why := _refusal(name, said, embedding, layers))}
    wanted = {name: value for name, value in said.items() if name not in refused}
    applied = {ADMIN_NAMES[name]: value for name, value in wanted.items()}
    if layers and "gpu_layers" in wanted:
        offloaded = min(wanted.pop("gpu_layers"), layers)
        wanted["gpu_ratio"] = offloaded / layers
        applied |= {"gpu.layers": offloaded, "gpu.ratio": wanted["gpu_ratio"]}
    return _fields(wanted, embedding), applied, tuple((ADMIN_NAMES[name], why) for name, why in refused.items())


def from_stack(stack: Any, *, embedding: bool) -> tuple[LoadConfig, tuple[Ignoring, ...]]:
    """A stack of layers as one load config, and the keys that have no effect here. None is the empty stack.

    InvalidRequest names the key of a value that is of the wrong type or out of range.
    """
    values = _collapsed(stack)
    split = values.pop(_SPLIT, None)
    ignored = [] if split in (None, {}, _EVENLY) else [(_SPLIT, "GPUs are not chosen one by one here")]
    prefix = _prefix(embedding)
    fields = {prefix + key: name for name, key in _keys(embedding).items()}
    if not embedding and _same_cache_types(values, prefix):
        values.pop(prefix + _V_TYPE)
    said: dict[str, Any] = {}
    for key, value in values.items():
        name = fields.get(key)
        if name is None:
            ignored.append((key, "it has no counterpart here"))
        else:
            said[name] = READERS[name](value, key)
    return LoadConfig(**said), tuple(ignored)


def config_fields(config: LoadConfig, *, embedding: bool) -> list[dict[str, Any]]:
    """A loaded instance's config as fields. The context length is always among them: JavaScript reads it there."""
    said = {"context_length": DEFAULT_CONTEXT, **config.said()}
    known = _keys(embedding)
    return _fields({name: value for name, value in said.items() if name in known}, embedding)


def _refusal(name: str, said: Mapping[str, Any], embedding: bool, layers: int | None) -> str | None:
    """Why LM Studio cannot apply this field; None = it can."""
    match name:
        case "cpu_threads":
            return "LM Studio decides itself how many threads a load has"
        case "gpu_layers" if not layers:
            return "LM Studio takes a ratio, and the number of this model's layers is not known: say gpu.ratio"
        case "gpu_ratio" if layers and "gpu_layers" in said:
            return "gpu.layers wins"
        case "kv_type" if not embedding and said[name] not in KV_TYPES:
            return f"LM Studio has no such type; it has {', '.join(sorted(KV_TYPES))}"
        case _ if embedding and name in _LLM_ONLY:
            return "LM Studio has it for language models only"
    return None


def _fields(said: Mapping[str, Any], embedding: bool) -> list[dict[str, Any]]:
    prefix, known = _prefix(embedding), _keys(embedding)
    fields = [
        {"key": prefix + key, "value": checked(said[name]) if name in _CHECKBOXES else said[name]}
        for name, key in known.items()
        if name in said
    ]
    if "kv_type" in said and "kv_type" in known:
        fields.append({"key": prefix + _V_TYPE, "value": checked(said["kv_type"])})
    return fields


def _keys(embedding: bool) -> Mapping[str, str]:
    return _SHARED if embedding else {**_SHARED, **_LLM_ONLY}


def _prefix(embedding: bool) -> str:
    return "embedding.load." if embedding else "llm.load."


def _same_cache_types(values: Mapping[str, Any], prefix: str) -> bool:
    """Here keys and values of the cache have one type; a V type that says the same is nothing to speak of."""
    v_key = prefix + _V_TYPE
    return v_key in values and values[v_key] == values.get(prefix + _LLM_ONLY["kv_type"])


def _collapsed(stack: Any) -> dict[str, Any]:
    """Key -> value of the last layer that has it. A null is a key that is not said."""
    values: dict[str, Any] = {}
    for field in _stacked(stack):
        key, value = field.get("key"), field.get("value")
        if not isinstance(key, str):
            raise InvalidRequest("A field of loadConfigStack has no key.", param="loadConfigStack")
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
    return values


def _stacked(stack: Any) -> Iterator[Mapping[str, Any]]:
    """All fields of all layers, in their order."""
    top = {} if stack is None else table(stack, "loadConfigStack")
    for layer in rows(top.get("layers"), "loadConfigStack.layers"):
        config = table(layer, "loadConfigStack.layers").get("config")
        known = {} if config is None else table(config, "loadConfigStack.layers.config")
        for field in rows(known.get("fields"), "loadConfigStack.layers.config.fields"):
            yield table(field, "loadConfigStack.layers.config.fields")
