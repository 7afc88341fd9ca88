"""What we read in a reply, and nothing more: how it ended, what it counted, whether it is an error.

A typed decode of these few fields checks the JSON of the whole message on the way, at 0.3 us for a stream's chunk and
0.6 ms for a megabyte of embeddings: cheaper than any test that could be wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from lanhaven.types.chat import Outcome, Usage

_LARGEST = 1 << 53  # the largest integer that every JSON reader understands


class Choice(msgspec.Struct, gc=False):
    """One of the answers of a reply or chunk."""

    index: int = 0
    finish_reason: str | None = None


NOTHING = msgspec.Raw()


class Message(msgspec.Struct, gc=False):
    """A whole reply, or one chunk of a stream. `usage`, `timings` and `error` stay undecoded: they are rare.

    Where one is absent it is NOTHING (`Raw | None` would make msgspec refuse anything but null).
    """

    choices: list[Choice] | None = None
    usage: msgspec.Raw = NOTHING
    timings: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING


decode = msgspec.json.Decoder(Message).decode
REFUSED = (msgspec.DecodeError, UnicodeDecodeError)
_decode_any = msgspec.json.Decoder().decode


class Unreadable(ValueError):
    """Not a JSON object."""


def read(data: bytes | memoryview) -> Message:
    """Decode a reply or chunk. Unreadable if it is not a JSON object.

    What the strict decoder refuses is tried once more leniently: JavaScript servers cut surrogate pairs in two, Python
    servers write NaN, and some give an index as text. Clients cope with all that, so it is no reason to end a reply.
    """
    try:
        return decode(data)
    except REFUSED:
        return _lenient(bytes(data))


def _lenient(data: bytes) -> Message:
    try:
        value = json.loads(data.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    choices = value.get("choices")
    return Message(
        choices=[_choice(each) for each in choices if isinstance(each, dict)] if isinstance(choices, list) else None,
        usage=_raw(value.get("usage")),
        timings=_raw(value.get("timings")),
        error=_raw(value.get("error")),
    )


def _choice(value: Mapping[str, Any]) -> Choice:
    index, reason = value.get("index"), value.get("finish_reason")
    return Choice(index if isinstance(index, int) else 0, reason if isinstance(reason, str) else None)


def _raw(value: object) -> msgspec.Raw:
    return NOTHING if value is None else msgspec.Raw(json.dumps(value).encode())


def loads(raw: bytes) -> Any:
    """Decode a part that was left raw, or a foreign error body; None if there is none or it is not JSON."""
    if raw is NOTHING:
        return None
    try:
        return _decode_any(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def note_usage(message: Message, outcome: Outcome) -> None:
    """Take the token counts from `usage`, else from llama.cpp's `timings`. Nonsense counts as zero (F-046)."""
    timings = None if message.timings is NOTHING else loads(message.timings)
    usage = loads(message.usage)
    if isinstance(timings, dict):
        outcome.writing = _count(timings.get("predicted_ms")) / 1000
    if isinstance(usage, dict):
        details = usage.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        if cached is None and isinstance(timings, dict):
            cached = timings.get("cache_n")
        prompt = _count(usage.get("prompt_tokens"))
        reused = 0 if cached is None else min(_count(cached), prompt)
        outcome.usage = Usage(prompt, _count(usage.get("completion_tokens")), reused)
    elif isinstance(timings, dict):
        cached = _count(timings.get("cache_n"))
        outcome.usage = Usage(cached + _count(timings.get("prompt_n")), _count(timings.get("predicted_n")), cached)


def figure(value: object) -> float | None:
    """A number that an upstream tells, if one can count with it: nothing below 0, and nothing that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LARGEST:
        return None
    return value


def _count(value: object) -> int:
    if type(value) is int and 0 <= value < _LARGEST:  # nearly always
        return value
    return int(figure(value) or 0)
