"""KV caches for a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlx_lm.models import cache as of_texts

FIRST = 4  # tokens at the beginning that a rotating cache never forgets: attention leans on them


@dataclass(frozen=True, slots=True)
class Quantized:
    """Keys and values in `bits` bits from token `start` on."""

    bits: int
    group_size: int
    start: int

    def options(self) -> dict[str, int]:
        """As the `generate_step` of mlx-lm and of mlx-vlm name them."""
        return {"kv_bits": self.bits, "kv_group_size": self.group_size, "quantized_kv_start": self.start}


def new_cache(model: Any, most: int | None, kinds: Any = of_texts) -> list[Any]:
    """As the model wants it. `most`: where that is a plain cache, one that keeps so many tokens and forgets the oldest.

    mlx-lm's own parameter for it has no effect on models that make their caches themselves, of which llama is one.
    `kinds`: the module with the caches: mlx-lm and mlx-vlm each have one, with the same names.
    """
    cache = list(kinds.make_prompt_cache(model))
    if most is None or not all(type(each) is kinds.KVCache for each in cache):
        return cache
    return [kinds.RotatingKVCache(max_size=most, keep=FIRST) for _ in cache]


def can_be_quantized(cache: Sequence[Any]) -> bool:
    """Whether some of it can, and nothing of it refuses. `cache`: a fresh one."""
    able = [each for each in cache if "to_quantized" in dir(each)]
    try:
        for each in able:
            each.to_quantized()
    except NotImplementedError:
        return False
    return bool(able)


def length_of(cache: Sequence[Any], most: int) -> int:
    """Tokens that the cache holds, if it can tell; 0 makes it useless, and so it is not kept."""
    try:
        offset = int(cache[0].offset)
    except AttributeError:
        return 0
    return offset if offset <= most else 0
