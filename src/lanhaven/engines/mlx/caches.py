"""Fresh KV caches for a sequence."""

from __future__ import annotations

from typing import Any

from mlx_lm.models.cache import KVCache, RotatingKVCache, make_prompt_cache

FIRST = 4  # tokens at the beginning that a rotating cache never forgets: attention leans on them


def new_cache(model: Any, most: int | None) -> list[Any]:
    """As the model wants it. `most`: where that is a plain cache, one that keeps so many tokens and forgets the oldest.

    mlx-lm's own parameter for it has no effect on models that make their caches themselves, of which llama is one.
    """
    cache = list(make_prompt_cache(model))
    if most is None or not all(type(each) is KVCache for each in cache):
        return cache
    return [RotatingKVCache(max_size=most, keep=FIRST) for _ in cache]
