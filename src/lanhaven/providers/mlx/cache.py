"""The KV cache that a load of an MLX model is to have: the model's settings, and over them what a load config says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lanhaven.errors import InvalidRequest
from lanhaven.formats.mlx import MLXModel
from lanhaven.providers.base import Ignored
from lanhaven.providers.mlx.options import KV_GROUPS, QUANTIZED, ROTATING, STANDARD, Options
from lanhaven.types.models import LoadConfig

KV_BITS_OF: Mapping[str, int] = MappingProxyType({"q8_0": 8, "q5_0": 5, "q5_1": 5, "q4_0": 4, "q4_1": 4})
PLAIN_KV = frozenset({"f16", "bf16", "f32"})  # mlx keeps keys and values in the type of the weights
PREFERRED = (64, 32, 128)  # numbers that share a scale


@dataclass(frozen=True, slots=True)
class Cache:
    """`size`: tokens that a rotating one keeps. `bits` (None: it is not quantized), `group_size`, `start` (a token)."""

    kind: str
    size: int | None
    bits: int | None
    group_size: int
    start: int

    def bytes_of(self, values: int) -> int:
        """Of so many numbers. Each group has a scale and a shift beside it, two bytes each."""
        return int(values * (2.0 if self.bits is None else self.bits / 8 + 4 / self.group_size))

    def applied(self, ready: Mapping[str, Any]) -> dict[str, object]:
        """What the load reply says of it; `ready`: what the child says of itself."""
        if self.bits is not None:
            quantized = {"cacheType": self.kind, "kvBits": self.bits}
            return quantized if ready["quantizes"] else {"cacheType": STANDARD}
        return {"cacheType": self.kind} | ({"maxKvSize": self.size} if ready["rotates"] else {})

    def ignored(self, asked: LoadConfig, ready: Mapping[str, Any]) -> list[Ignored]:
        own = f"the model brings a cache of its own ({ready['cache']})"
        if self.kind == ROTATING and not ready["rotates"]:
            return [Ignored("maxKvSize", own)]
        if self.bits is not None and not ready["quantizes"]:
            return [Ignored("kvType" if asked.kv_type else "kvBits", f"{own}, which cannot be quantized")]
        if asked.kv_type is not None and asked.kv_type not in PLAIN_KV and self.bits is None:
            why = f"mlx has no KV cache of type {asked.kv_type}, none that rotates, and none for heads of any length"
            return [Ignored("kvType", why)]
        return []


def check_cache(model: MLXModel, options: Options) -> None:
    """InvalidRequest: mlx would break off the first answer that its cache is quantized in."""
    size, length = options.kv_group_size, model.head_length
    if options.cache_type != QUANTIZED or length is None or (length % size == 0 if size else _group(model)):
        return
    fitting = ", ".join(str(each) for each in KV_GROUPS if length % each == 0)
    remedy = f"Take one of {fitting}." if fitting else "Its cache cannot be quantized."
    raise InvalidRequest(
        f"config.kv_group_size: the model's heads have {length} numbers, which are to be shared out evenly. {remedy}",
        param="kv_group_size",
    )


def cache_of(model: MLXModel, options: Options, config: LoadConfig) -> Cache:
    bits, kind = options.kv_bits, options.cache_type
    if config.kv_type is not None and config.kv_type in KV_BITS_OF and kind != ROTATING and _group(model):
        kind, bits = QUANTIZED, KV_BITS_OF[config.kv_type]
    elif config.kv_type in PLAIN_KV and kind == QUANTIZED:
        kind, bits = STANDARD, None
    group = options.kv_group_size or _group(model) or PREFERRED[0]
    return Cache(kind, options.max_kv_size, bits, group, options.quantized_kv_start)


def _group(model: MLXModel) -> int | None:
    """The size of groups that a head can be shared out in; None: there is none."""
    length = model.head_length
    return next((size for size in PREFERRED if length is None or length % size == 0), None)
