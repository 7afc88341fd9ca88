"""What `bench` makes of its measurements. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One request that was answered. Seconds from its start; tokens as the engine counted them, None if it did not.

    first: until the first piece of the answer. last: until the last one; of embeddings both are the whole answer.
    """

    first: float
    last: float
    prompt_tokens: int | None
    tokens: int | None

    @property
    def rate(self) -> float | None:
        """Tokens a second once the answer has begun; the first one is what was waited for."""
        if self.tokens is None or self.tokens < 2 or self.last <= self.first:
            return None
        return (self.tokens - 1) / (self.last - self.first)

    @property
    def prompt_rate(self) -> float | None:
        """Prompt tokens a second until the first token, with all that was waited for."""
        return None if self.prompt_tokens is None or self.first <= 0 else self.prompt_tokens / self.first


@dataclass(slots=True)
class Level:
    """What is known of one concurrency. seconds: from the first request's start to the last one's end."""

    concurrency: int
    samples: list[Sample] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    whole: bool = False  # it was not interrupted

    @property
    def failed(self) -> int:
        """How many requests were not answered."""
        return self.errors.total()

    def figures(self) -> dict[str, Any]:
        """As `--json` has them."""
        samples = self.samples
        firsts = [each.first * 1000 for each in samples]
        return {
            "concurrency": self.concurrency,
            "requests": len(samples),
            "errors": self.failed,
            "errorTexts": dict(self.errors),
            "complete": self.whole,
            "seconds": round(self.seconds, 3),
            "promptTokens": _sum([each.prompt_tokens for each in samples]),
            "completionTokens": _sum([each.tokens for each in samples]),
            "firstTokenP50Ms": _rounded(percentile(firsts, 50)),
            "firstTokenP95Ms": _rounded(percentile(firsts, 95)),
            "tokensPerSecondEach": _rounded(percentile([each.rate for each in samples], 50)),
            "tokensPerSecond": _rounded(self._per_second(_sum([each.tokens for each in samples]))),
            "promptTokensPerSecond": _rounded(percentile([each.prompt_rate for each in samples], 50)),
        }

    def embedding_figures(self) -> dict[str, Any]:
        """The same of a model that embeds."""
        known = self.figures()
        figures = {name: known[name] for name in ("concurrency", "requests", "errors", "errorTexts", "complete")}
        return {
            **figures,
            "seconds": known["seconds"],
            "promptTokens": known["promptTokens"],
            "latencyP50Ms": known["firstTokenP50Ms"],
            "latencyP95Ms": known["firstTokenP95Ms"],
            "embeddingsPerSecond": _rounded(self._per_second(len(self.samples))),
            "promptTokensPerSecond": _rounded(self._per_second(known["promptTokens"])),
        }

    def _per_second(self, amount: int | None) -> float | None:
        return None if not self.samples or amount is None or self.seconds <= 0 else amount / self.seconds


def percentile(values: Sequence[float | None], share: float) -> float | None:
    """By nearest rank: the least value that `share` percent of all do not exceed. None where nothing is known."""
    known = sorted(each for each in values if each is not None)
    return known[max(math.ceil(share / 100 * len(known)), 1) - 1] if known else None


def _sum(values: Sequence[int | None]) -> int | None:
    """None if somebody did not count: a sum of some would be wrong."""
    known = [each for each in values if each is not None]
    return sum(known) if len(known) == len(values) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
