"""How the next token is chosen, per request: mlx-lm's filters in llama.cpp's order, with a random source of its own.

mlx-lm's samplers share one random state; two requests with a seed in one batch would disturb each other.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, apply_xtc, make_logits_processors

from lanhaven.engines.mlx.jobs import Processor, Sampler

LAST_TOKENS = 64  # how far back penalties look, as in llama.cpp


@dataclass(frozen=True, slots=True)
class Choice:
    """What a request says of it; the defaults are those of llama.cpp."""

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()  # token and what is added
    seed: int | None = None

    def processors(self) -> list[Processor]:
        """Those that change something."""
        return list(
            make_logits_processors(
                dict(self.logit_bias) or None,
                self.repeat_penalty if self.repeat_penalty not in (0.0, 1.0) else None,
                LAST_TOKENS,
                self.presence_penalty or None,
                LAST_TOKENS,
                self.frequency_penalty or None,
                LAST_TOKENS,
            )
        )

    def sampler(self, choice: int = 0) -> Sampler | None:
        """Of the answer number `choice`; None: always the likeliest token, which the batch finds in one go."""
        if self.temperature <= 0:
            return None
        seed = secrets.randbits(32) if self.seed is None else self.seed + choice
        return _Drawn(self, mx.random.key(seed % (1 << 32)))


class _Drawn:
    def __init__(self, choice: Choice, key: Any) -> None:
        self._choice = choice
        self._key = key

    def __call__(self, logprobs: Any) -> Any:
        choice = self._choice
        if 0 < choice.top_k < logprobs.shape[-1]:
            logprobs = apply_top_k(logprobs, choice.top_k)
        if 0 < choice.top_p < 1:
            logprobs = apply_top_p(logprobs, choice.top_p)
        if 0 < choice.min_p <= 1:
            logprobs = apply_min_p(logprobs, choice.min_p)
        if choice.xtc_probability > 0:
            logprobs = apply_xtc(logprobs, choice.xtc_probability, choice.xtc_threshold, [])
        self._key, used = mx.random.split(self._key)
        return mx.random.categorical(logprobs * (1 / choice.temperature), key=used)
