"""Files of batches, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.serving import House

CHAT = "/v1/chat/completions"
OVER = ("completed", "failed", "expired", "cancelled")


def line(custom_id: str, text: str = "hello", url: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = body if "input" in body or "prompt" in body else {"messages": [{"role": "user", "content": text}], **body}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": asked}


def jsonl(lines: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


async def upload(house: House, content: bytes, **headers: str) -> str:
    form = {"files": {"file": ("in.jsonl", content)}, "data": {"purpose": "batch"}}
    reply = await house.http.post("/v1/files", headers=headers, **form)  # type: ignore[arg-type]
    assert reply.status_code == 200, reply.text
    file_id: str = reply.json()["id"]
    return file_id


async def create(house: House, lines: Iterable[Any], endpoint: str = CHAT, **fields: Any) -> dict[str, Any]:
    file_id = await upload(house, jsonl(lines))
    asked = {"input_file_id": file_id, "endpoint": endpoint, "completion_window": "24h", **fields}
    reply = await house.http.post("/v1/batches", json=asked)
    assert reply.status_code == 200, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def seen(house: House, batch: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = (await house.http.get(f"/v1/batches/{batch['id']}")).json()
    return found


async def over(house: House, batch: dict[str, Any]) -> dict[str, Any]:
    """The batch once it is over: asked for again and again, as its clients do."""
    while (found := await seen(house, batch))["status"] not in OVER:
        pass
    return found


async def content(house: House, file_id: str) -> list[dict[str, Any]]:
    reply = await house.http.get(f"/v1/files/{file_id}/content")
    assert reply.status_code == 200, reply.text
    return [json.loads(each) for each in reply.text.splitlines()]
