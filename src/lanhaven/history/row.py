"""One request as a row, and as the JSON that shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lanhaven.events import Failure, InferenceComplete, InferenceStart, iso
from lanhaven.wire import encode

Columns = dict[str, Any]
Ended = tuple[InferenceStart, InferenceComplete | Failure]

NAMES = (
    "id", "began", "ended", "status", "path", "dialect", "model", "instance", "key", "streamed", "ms", "queue_ms",
    "load_ms", "first_ms", "prompt", "completion", "finish", "error", "code", "agent", "address", "parameters",
)  # fmt: skip
_UNKNOWN = MappingProxyType(dict.fromkeys(NAMES))
LONGEST = 200  # characters of a text that a client or an upstream chose
LONGEST_ERROR = 1000
MOST = 2**53  # tokens: an upstream may say anything

# Column -> name in JSON, of those that are shown as they are.
_SHOWN = {
    "id": "requestId", "status": "status", "path": "path", "dialect": "dialect", "model": "model",
    "instance": "instance", "key": "key", "ms": "timeMs", "queue_ms": "queueMs", "first_ms": "firstTokenMs",
    "prompt": "promptTokens", "completion": "completionTokens", "finish": "finishReason", "error": "error",
    "code": "code", "agent": "userAgent",
}  # fmt: skip


def columns(start: InferenceStart, end: InferenceComplete | Failure | None) -> Columns:
    """All columns, in the order of NAMES; of a request that is under way (`end` None) what is known."""
    found: Columns = _UNKNOWN.copy()
    found |= {
        "id": start.request_id,
        "began": start.at // 10**6,
        "status": "pending",
        "path": _text(start.path),
        "dialect": start.dialect,
        "model": _text(start.model) or "",
        "key": _text(start.client),
        "agent": _text(start.user_agent),
        "address": start.address,
        "parameters": encode(start.parameters).decode() if start.parameters else None,
    }
    if end is not None:
        _end(found, end)
    return found


def _end(found: Columns, end: InferenceComplete | Failure) -> None:
    found |= {
        "ended": end.at // 10**6,
        "ms": _ms(end.seconds),
        "queue_ms": _ms(end.queue_seconds),
        "load_ms": _ms(end.load_seconds) or None,
        "first_ms": _ms(end.first_token_seconds),
        "instance": end.instance_id,
        "streamed": end.streamed,
    }
    if end.model_key:
        found["model"] = end.model_key
    if end.usage.total_tokens:
        found |= {"prompt": _count(end.usage.prompt_tokens), "completion": _count(end.usage.completion_tokens)}
    if isinstance(end, Failure):
        status = "cancelled" if end.cancelled else "failed"
        found |= {"status": status, "error": _text(end.error, LONGEST_ERROR), "code": end.code}
    else:
        found |= {"status": "completed", "finish": _text(end.finish_reason)}


def row_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as the lists show it; what is not known is left out."""
    body: dict[str, Any] = {"timestamp": iso(row["began"] * 10**6)}
    body |= {name: row[column] for column, name in _SHOWN.items() if row[column] is not None}
    if row["streamed"] is not None:
        body["streamed"] = bool(row["streamed"])
    if row["completion"] and not (row["completion"] == 1 and row["first_ms"] is not None):
        body["tokensPerSecond"] = round(1000 * row["completion"] / generating(row), 1)
    return body


def details_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its phases, its parameters and the client's address."""
    body = row_json(row) | {"phases": phases(row), "parameters": json.loads(row["parameters"] or "{}")}
    return body | ({"address": row["address"]} if row["address"] else {})


def generating(row: Mapping[str, Any]) -> int:
    """Milliseconds of the answer: from the instance on, or where its first token is known, as if that one, too, had
    taken what the others took (its own time is the prompt's)."""
    if row["first_ms"] is None:
        return max(1, int(row["ms"] - (row["queue_ms"] or 0)))
    others = max(1, row["completion"] - 1)
    return max(1, int((row["ms"] - row["first_ms"]) * row["completion"] / others))


def phases(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """queue, load, prompt, generate: those that it reached, one after the other, without gaps."""
    if row["ms"] is None:
        return []
    whole, load = int(row["ms"]), int(row["load_ms"] or 0)
    leased = whole if row["queue_ms"] is None else min(whole, int(row["queue_ms"]))
    load = min(load, leased)
    edges = [("queue", leased - load), ("load", leased)]
    if row["first_ms"] is not None:
        edges.append(("prompt", min(whole, int(row["first_ms"]))))
    edges.append(("generate", whole))
    found, begin = [], 0
    for name, end in edges:
        if end > begin:
            found.append({"name": name, "startMs": begin, "ms": end - begin})
            begin = end
    return found


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, round(seconds * 1000))


def _count(tokens: int) -> int:
    return max(0, min(MOST, tokens))


def _text(value: str | None, longest: int = LONGEST) -> str | None:
    """Cut, and without halves of characters, which no database takes."""
    if value is None or (value.isascii() and len(value) <= longest):  # nearly all
        return value
    return value[:longest].encode("utf-8", "replace").decode()
