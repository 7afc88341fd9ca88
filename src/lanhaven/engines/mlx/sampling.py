"""How the next token is chosen, per request: mlx-lm's filters in llama.cpp's order, with a random source of its own.

mlx-lm's samplers share one random state; two requests with a seed in one batch would disturb each other.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p, apply_xtc, make_logits_processors

from lanhaven.engines.serving.choice import Choice

# (the last token's contexts, logits) -> logits; an array of logits -> an array of tokens
Processor = Callable[[Any, Any], Any]
Sampler = Callable[[Any], Any]

LAST_TOKENS = 64  # how far back penalties look, as in llama.cpp


def draw(choice: Choice, number: int, bound: Processor | None) -> tuple[Sampler | None, list[Processor]]:
    """What chooses the tokens of answer `number`; without a sampler always the likeliest, which the batch finds in one
    go. `bound` holds it to a grammar."""
    processors = _penalties(choice) + ([bound] if bound is not None else [])
    if choice.temperature <= 0:
        return None, processors
    seed = secrets.randbits(32) if choice.seed is None else choice.seed + number
    return _Drawn(choice, mx.random.key(seed % (1 << 32))), processors


def _penalties(choice: Choice) -> list[Processor]:
    """Those that change something."""
    return list(
        make_logits_processors(
            dict(choice.logit_bias) or None,
            choice.repeat_penalty if choice.repeat_penalty not in (0.0, 1.0) else None,
            LAST_TOKENS,
            choice.presence_penalty or None,
            LAST_TOKENS,
            choice.frequency_penalty or None,
            LAST_TOKENS,
        )
    )


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
