"""The `config:` of an mlx model in models.yaml, and the provider's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.providers.defaults import ENGINE_READERS, EngineDefaults
from lanhaven.providers.settings import (
    Reader,
    Shaped,
    flag,
    integer,
    one_of,
    path,
    read_all,
    shaped,
    text,
    wrong,
)
from lanhaven.types.models import LoadConfig, Sampling

STANDARD, ROTATING, QUANTIZED = "standard", "rotating", "quantized"
KV_BITS = (2, 3, 4, 5, 6, 8)  # what mlx can quantize to
KV_GROUPS = (32, 64, 128)
ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "adapter_path": "fuse the adapter into the model first (mlx_lm.fuse)",
        "context_length": "use contextLength under load",
        "n_gpu_layers": "mlx computes all layers on its device",
        "trust_remote_code": "code that comes with a model is never run",
        "temperature": "sampling stands under sampling, or under defaults",
    }
)
_SAMPLING: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "temperature": (int, float),
        "top_p": (int, float),
        "min_p": (int, float),
        "repeat_penalty": (int, float),
        "top_k": (int,),
        "max_tokens": (int,),
        "seed": (int,),
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """One model's settings. `load` and `sampling` hold those that are another spelling of profiles.

    vision: False = the language part alone, True = unavailable without its eyes, None = as far as it goes. pooling: how
    embeddings are made, "none" = it writes, None = as the folder says.
    """

    model_path: Path
    draft_model_path: Path | None = None
    num_draft_tokens: int = 6
    vision: bool | None = None
    pooling: str | None = None
    chat_template: str | None = None
    chat_template_path: Path | None = None
    cache_type: str = STANDARD
    max_kv_size: int | None = None
    kv_bits: int | None = None
    kv_group_size: int | None = None
    quantized_kv_start: int = 2048
    n_batch: int | None = None
    cache_ram_mib: int | None = None
    load: LoadConfig = LoadConfig()
    sampling: Sampling = Sampling()


@dataclass(frozen=True, slots=True)
class Defaults(EngineDefaults):
    """`python`: an interpreter that has mlx-lm, None = this one."""

    python: Path | None = None


def read_options(config: Mapping[str, Any]) -> Options:
    """InvalidRequest names the setting that is unknown, of the wrong type, or at odds with another."""
    values = read_all(config, _READERS, "mlx", ELSEWHERE)
    if "model_path" not in values:
        raise InvalidRequest("config.model_path is missing: the folder of the model.", param="model_path")
    if "chat_template" in values and "chat_template_path" in values:
        raise InvalidRequest("config has both chat_template and chat_template_path.", param="chat_template")
    load = LoadConfig(context_length=values.pop("n_ctx", None) or None, slots=values.pop("slots", None))
    return Options(**values | _cache(values), load=load)


def _cache(values: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of KV cache, said or implied; mlx has no cache that both rotates and is quantized."""
    size, bits = values.get("max_kv_size"), values.get("kv_bits")
    implied = QUANTIZED if bits is not None else ROTATING if size is not None else STANDARD
    kind = values.get("cache_type", implied)
    if kind == ROTATING and size is None:
        raise InvalidRequest("config.cache_type rotating needs max_kv_size, the tokens to keep.", param="max_kv_size")
    if size is not None and kind != ROTATING:
        raise InvalidRequest(f"config.max_kv_size belongs to cache_type rotating, not {kind}.", param="max_kv_size")
    if bits is not None and kind != QUANTIZED:
        raise InvalidRequest(f"config.kv_bits belongs to cache_type quantized, not {kind}.", param="kv_bits")
    return {"cache_type": kind, "kv_bits": (bits or 8) if kind == QUANTIZED else None}


def read_defaults(options: Mapping[str, Any]) -> Defaults:
    """The provider's block in config.yaml together with the general settings. InvalidRequest as above."""
    return Defaults(**read_all(options, _PROVIDER_READERS, "mlx"))


def _one_number_of(numbers: tuple[int, ...]) -> Reader:
    def read(key: str, value: Any) -> int:
        if type(value) is not int or value not in numbers:
            raise wrong(key, value, f"one of {', '.join(map(str, numbers))}")
        return value

    return Shaped(read, {"enum": [*numbers]})


@shaped(type="object", properties={name: {"type": "number"} for name in _SAMPLING}, additionalProperties=False)
def _sampling(key: str, value: Any) -> Sampling:
    if not isinstance(value, Mapping):
        raise wrong(key, value, "a list of names and values")
    for name, given in value.items():
        if name not in _SAMPLING:
            raise InvalidRequest(f"config.sampling.{name} is none of {', '.join(_SAMPLING)}.", param=f"sampling.{name}")
        if isinstance(given, bool) or not isinstance(given, _SAMPLING[name]):
            raise wrong(f"sampling.{name}", given, "a number")
    return Sampling(**value)


_READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "model_path": path,
        "draft_model_path": path,
        "num_draft_tokens": integer(1, 64),
        "vision": flag,
        "pooling": one_of(("last", "mean", "none")),
        "sampling": _sampling,
        "cache_type": one_of((STANDARD, ROTATING, QUANTIZED)),
        "max_kv_size": integer(16),
        "kv_bits": _one_number_of(KV_BITS),
        "kv_group_size": _one_number_of(KV_GROUPS),
        "quantized_kv_start": integer(0),
        "chat_template": text,
        "chat_template_path": path,
        "n_ctx": integer(0),
        "n_batch": integer(32),
        "slots": integer(1),
        "cache_ram_mib": integer(0),
    }
)

_PROVIDER_READERS: Mapping[str, Reader] = MappingProxyType({**ENGINE_READERS, "python": path})
