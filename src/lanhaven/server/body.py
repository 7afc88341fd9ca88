"""Reading a request body, bounded; compressed ones only where a dialect takes them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

import zstandard

from lanhaven.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

WINDOW = 8 << 20  # bytes; what HTTP allows a zstd frame to make us keep (RFC 9659, 3)


async def read_body(scope: Mapping[str, Any], receive: Receive, limit: int, *, zstd: int = 0) -> bytes:
    """The whole body, at most `limit` bytes. `zstd`: how long one in zstd may be once inflated; 0: none is taken.

    PayloadTooLarge as soon as the declared or the received length is over the limit: nothing beyond it is held, and the
    listener closes the connection behind the answer (F-088). UnsupportedMediaType for any other compressed body: 300 KB
    of gzip can be 300 MB (F-111). ConnectionResetError if the client leaves (our own listener cancels the task before
    that).
    """
    compressed = _judge(scope["headers"], limit, zstd=zstd > 0)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
    else:
        body = await _read_on(message, receive, limit)
    return inflate(body, min(limit, zstd)) if compressed else body


async def read_pieces(scope: Mapping[str, Any], receive: Receive, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes, for what is too large to be held; not compressed. Errors are those of `read_body`."""
    _judge(scope["headers"], limit, zstd=False)
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _left()
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        yield piece


def inflate(body: bytes, limit: int) -> bytes:
    """What a zstd frame holds. PayloadTooLarge beyond `limit` bytes, of which no more than one more is ever made."""
    reader = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(body)
    try:
        plain = reader.read(limit + 1)
    except zstandard.ZstdError:
        raise InvalidRequest("The body is not zstd, as its Content-Encoding says.") from None
    if len(plain) > limit:
        raise _too_large(limit)
    return plain


def _judge(headers: Iterable[tuple[bytes, bytes]], limit: int, *, zstd: bool) -> bool:
    """Whether the body that these announce is in zstd. PayloadTooLarge, UnsupportedMediaType, InvalidRequest."""
    said = dict(headers)
    length = said.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) <= 18 and int(length) <= limit):
        raise _too_large(limit) if length.isdigit() else InvalidRequest("The Content-Length header is not a number.")
    if b"content-encoding" not in said:
        return False
    return True in [_judge_encoding(value, zstd) for name, value in headers if name == b"content-encoding"]


def _judge_encoding(value: bytes, zstd: bool) -> bool:
    """Whether the body is in zstd."""
    encoding = value.strip().lower()
    if encoding in {b"identity", b""}:
        return False
    if encoding == b"zstd" and zstd:
        return True
    raise UnsupportedMediaType("Compressed request bodies are not accepted: send it without Content-Encoding.")


async def _read_on(message: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise _left()
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


def _left() -> ConnectionResetError:
    return ConnectionResetError("the client left before its request was complete")


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is over the limit of {limit} bytes.", facts={"limit_bytes": limit})
