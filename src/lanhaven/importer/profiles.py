"""Five ways to run a model, in the words of models.yaml (S4-x3). Pure.

A profile is laid over what comes with the model, and overrides over the profile. What an engine cannot do is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class Profile(StrEnum):
    """What matters most."""

    FAST = "fast"
    BALANCED = "balanced"
    QUALITY = "quality"
    MEMORY = "memory"
    INTERACTIVE = "interactive"


@dataclass(frozen=True, slots=True)
class Parts:
    """Parts of an entry, as models.yaml spells them. untold: what the profile wants and the engine cannot do."""

    load: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    untold: tuple[str, ...] = ()


def _sampling(temperature: float, top_k: int, max_tokens: int, repeat_penalty: float, **rest: float) -> dict[str, Any]:
    fields = {"temperature": temperature, **rest, "topK": top_k}
    return {**fields, "repeatPenalty": repeat_penalty, "maxTokens": max_tokens}


_DEFAULTS: Mapping[Profile, Mapping[str, Any]] = MappingProxyType(
    {
        Profile.FAST: _sampling(0.3, 10, 256, 1.0, minP=0.1),
        Profile.BALANCED: _sampling(0.7, 40, 512, 1.05, minP=0.05),
        Profile.QUALITY: _sampling(0.8, 50, 1024, 1.1, topP=0.95),
        # a cache of 1,024 tokens that forgets the oldest: here a context that long, and the oldest turns are left out
        Profile.MEMORY: {"maxTokens": 256, "contextOverflow": "drop-oldest"},
        Profile.INTERACTIVE: _sampling(0.7, 30, 512, 1.05, minP=0.05),
    }
)
_WINDOW = 1024
_REPETITION = "repetition_context_size 20: here the engine's own length counts"


def profiled(profile: Profile | None, form: str) -> Parts:
    """The parts for a model of the format `form`: "gguf" or "mlx"."""
    if profile is None:
        return Parts()
    defaults = _DEFAULTS[profile]
    match profile, form:
        case Profile.MEMORY, "gguf":
            untold = (
                "kv_group_size 32 and quantized_kv_start 256: llama.cpp quantizes its cache in blocks, from the start",
            )
            return Parts({"contextLength": _WINDOW, "kvType": "q4_0"}, defaults, untold=untold)
        case Profile.MEMORY, _:
            cache = {"cache_type": "quantized", "kv_bits": 4, "kv_group_size": 32, "quantized_kv_start": 256}
            untold = (
                "max_kv_size 1024: mlx has no cache that is quantized and rotates; contextLength 1024 stands for it",
            )
            return Parts({"contextLength": _WINDOW}, defaults, cache, untold)
        case Profile.INTERACTIVE, _:
            return Parts(defaults=defaults, untold=(_REPETITION,))
        case _:
            return Parts(defaults=defaults)
