"""The JSON of replies: OpenAI's, with llama.cpp's `timings` and `prompt_progress`."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lanhaven.engines.serving.bad import BadRequest

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all chunks of a reply have in common."""

    model: str
    chat: bool
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    created: int = field(default_factory=lambda: int(datetime.now(UTC).timestamp()))

    def chunk(self, choices: Sequence[Any], **more: object) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return frame({**self._head(kind), "choices": choices, **more})

    def whole(self, choices: Sequence[Any], **more: object) -> dict[str, Any]:
        kind = "chat.completion" if self.chat else "text_completion"
        return {**self._head(kind), "choices": choices, **more}

    def _head(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.chat else "cmpl"
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}


def frame(value: Mapping[str, Any]) -> bytes:
    return b"data: " + encode(value) + b"\n\n"


def encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def failure(message: str) -> bytes:
    """An error within a stream."""
    return frame(BadRequest(message, 500).body())


def usage(prompt: int, completion: int, cached: int) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


@dataclass(slots=True)
class Clock:
    """When a request's tokens came. Seconds of the monotonic clock."""

    began: float = field(default_factory=time.monotonic)
    first: float | None = None
    last: float | None = None

    def tick(self) -> None:
        self.last = time.monotonic()
        self.first = self.first or self.last

    def timings(self, prompt: int, cached: int, predicted: int) -> dict[str, Any]:
        """As llama.cpp has them: dialects tell a client's speed by them."""
        first = self.first or time.monotonic()
        reading, speaking = first - self.began, (self.last or first) - first
        read, spoken = prompt - cached, predicted
        return {
            "cache_n": cached,
            "prompt_n": read,
            **_rates("prompt", read, reading),
            "predicted_n": spoken,
            **_rates("predicted", spoken, speaking or reading / max(read, 1)),
        }


def _rates(name: str, count: int, seconds: float) -> dict[str, float]:
    return {
        f"{name}_ms": round(seconds * 1000, 3),
        f"{name}_per_token_ms": round(seconds * 1000 / count, 3) if count else 0.0,
        f"{name}_per_second": round(count / seconds, 3) if seconds > 0 else 0.0,
    }


def logprobs(entries: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """None where none were asked for."""
    told = list(entries)
    return {"content": told} if told else None
