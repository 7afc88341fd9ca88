"""Events of requests that never were, at moments that a test chooses."""

from __future__ import annotations

from typing import Any

from lanhaven.events import Failure, InferenceComplete, InferenceStart
from lanhaven.history import History
from lanhaven.types.chat import Usage

NOON = 1_795_262_400  # 2026-11-21T12:00:00Z, seconds since the epoch


def begun(name: str, at: float, **known: Any) -> InferenceStart:
    said = {"method": "POST", "path": "/v1/chat/completions", "dialect": "openai", "model": "alpha", "client": None}
    return InferenceStart(**{**said, **known, "request_id": name, "at": round(at * 10**9)})


def answered(name: str, at: float, **known: Any) -> InferenceComplete:
    said: dict[str, Any] = {
        "model_key": "alpha",
        "instance_id": "alpha-1",
        "dialect": "openai",
        "client": None,
        "streamed": True,
        "seconds": 1.0,
        "queue_seconds": 0.1,
        "first_byte_seconds": 0.15,
        "finish_reason": "stop",
        "usage": Usage(prompt_tokens=20, completion_tokens=40),
        "first_token_seconds": 0.2,
    }
    return InferenceComplete(**{**said, **known, "request_id": name, "at": round(at * 10**9)})


def failed(name: str, at: float, **known: Any) -> Failure:
    said: dict[str, Any] = {"operation": "inference", "error": "It broke.", "code": "upstream_error", "status": 502}
    return Failure(**{**said, "seconds": 0.5, **known, "request_id": name, "at": round(at * 10**9)})


def tell(history: History, name: str, at: float, **known: Any) -> None:
    """A request that was answered: begun `seconds` before `at`."""
    end = answered(name, at, **known)
    history.began(begun(name, at - end.seconds, client=end.client))
    history.ended(end)


def tell_failed(history: History, name: str, at: float, **known: Any) -> None:
    """A request that failed."""
    end = failed(name, at, **known)
    history.began(begun(name, at - end.seconds, client=end.client))
    history.ended(end)
