"""What is told of a generated token."""

from __future__ import annotations

from typing import Any

from lanhaven.engines.serving.jobs import Job, Token


def token_of(job: Job, token: int, logprobs: Any, finish: str | None) -> Token:
    """The event for a token, with the logprobs that its job wants. `logprobs` is mlx's array over the vocabulary."""
    if job.top is None:
        return Token(token, finish)
    return Token(token, finish, logprobs[token].item(), _likeliest(logprobs, job.top))


def _likeliest(logprobs: Any, count: int) -> list[tuple[int, float]]:
    if count <= 0:
        return []
    import mlx.core as mx

    places = mx.argpartition(-logprobs, kth=count - 1)[:count]
    found = zip(places.tolist(), logprobs[places].tolist(), strict=True)
    return sorted(found, key=lambda pair: -pair[1])
