"""Reading a request body, bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from lanhaven.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


async def read_body(scope: Mapping[str, Any], receive: Receive, limit: int) -> bytes:
    """The whole body, at most `limit` bytes.

    PayloadTooLarge as soon as the declared or the received length is over the limit: nothing beyond it is held, and the
    listener closes the connection behind the answer (F-088). UnsupportedMediaType for a compressed body: 300 KB of gzip
    can be 300 MB (F-111). ConnectionResetError if the client leaves (our own listener cancels the task before that).
    """
    for name, value in scope["headers"]:
        if name == b"content-length":
            _judge_length(value, limit)
        elif name == b"content-encoding" and value.strip().lower() not in {b"identity", b""}:
            raise UnsupportedMediaType("Compressed request bodies are not accepted: send it without Content-Encoding.")
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body", False) and len(body) <= limit:
        return body
    return await _read_on(message, receive, limit)


def _judge_length(value: bytes, limit: int) -> None:
    if not value.isdigit():
        raise InvalidRequest("The Content-Length header is not a number.")
    if len(value) > 18 or int(value) > limit:
        raise _too_large(limit)


async def _read_on(message: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise ConnectionResetError("the client left before its request was complete")
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is over the limit of {limit} bytes.", facts={"limit_bytes": limit})
