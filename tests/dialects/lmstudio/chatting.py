"""Asking /api/v1/chat of a house on the scripted server."""

from __future__ import annotations

from typing import Any

from tests.dialects.lmstudio.words import V1Result, events
from tests.serving import House

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock}
  - {id: qwen/qwen3-4b, provider: mock}
  - {id: slow, provider: mock, config: {load_seconds: 0.05}}
  - {id: eyes, provider: mock, config: {kind: vlm}}
"""


async def ask(house: House, given: Any = "one two three", **fields: Any) -> V1Result:
    reply = await house.http.post("/api/v1/chat", json={"model": "alpha", "input": given, **fields})
    assert reply.status_code == 200, reply.text
    return V1Result.model_validate_json(reply.content)


async def stream(house: House, given: Any = "one two three", **fields: Any) -> list[dict[str, Any]]:
    body = {"model": "alpha", "input": given, "stream": True, **fields}
    reply = await house.http.post("/api/v1/chat", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/event-stream")
    return events(reply.text)


async def refused(house: House, **fields: Any) -> tuple[int, dict[str, Any]]:
    reply = await house.http.post("/api/v1/chat", json={"model": "alpha", "input": "x", **fields})
    return reply.status_code, reply.json()["error"]


def messages(house: House) -> list[tuple[str, Any]]:
    """What the engine was asked last."""
    return [(each["role"], each["content"]) for each in house.seen[-1].body["messages"]]
