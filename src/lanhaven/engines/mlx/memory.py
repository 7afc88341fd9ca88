"""Prompts that were computed before: the keys and values of their tokens, kept for the next request that begins so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlx_lm.models.cache import LRUPromptCache

ENTRIES = 64
_MODEL = "model"  # the cache of mlx-lm serves several; here there is one


class PromptMemory:
    """At most `most_bytes`, the longest unused go first. 0 = nothing is remembered."""

    def __init__(self, most_bytes: int) -> None:
        self._cache = LRUPromptCache(ENTRIES, most_bytes) if most_bytes > 0 else None

    def recall(self, prompt: Sequence[int]) -> tuple[Any, int]:
        """(a cache of the model's that holds the first n tokens, n); (None, 0) if nothing fits.

        The last token of the prompt is never in it: it is what the model is asked with.
        """
        if self._cache is None or len(prompt) < 2:
            return None, 0
        known, rest = self._cache.fetch_nearest_cache(_MODEL, list(prompt[:-1]))
        return (None, 0) if known is None else (known, len(prompt) - 1 - len(rest))

    def keep(self, tokens: Sequence[int], cache: Any) -> None:
        if self._cache is not None and tokens and cache:
            self._cache.insert_cache(_MODEL, list(tokens), cache)
