"""Framing of streams and the strict JSON reader. Pure: no I/O, no clock."""

from __future__ import annotations

from typing import Any

import msgspec

from lanhaven.errors import InvalidRequest

MAX_DEPTH = 64
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def sse(data: bytes, event: str | None = None) -> bytes:
    """One Server-Sent Event. `data` must hold no line break (JSON from `encode` never does)."""
    if event is None:
        return b"data: " + data + b"\n\n"
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"


def ndjson(data: bytes) -> bytes:
    """One line of newline-delimited JSON."""
    return data + b"\n"


def read_json(body: bytes) -> Any:
    """Decode a request body. InvalidRequest for anything that is not one JSON value in UTF-8 of sane depth.

    NaN, Infinity, lone surrogates, numbers out of range and trailing bytes are refused by msgspec itself; nesting beyond
    MAX_DEPTH by us (C recursion would allow about 1,000, and an engine behind us less).
    """
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {_reason(error)}.") from None
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise InvalidRequest(f"The body is nested more than {MAX_DEPTH} levels deep.")
    return value


def read_object(body: bytes) -> dict[str, Any]:
    """Like `read_json`, and the value must be an object."""
    value = read_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


def _reason(error: Exception) -> str:
    match error:
        case RecursionError():
            return "nested too deeply"
        case UnicodeDecodeError():
            return "not UTF-8"
        case _:
            return str(error).rstrip(".")


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return any(isinstance(node, dict | list) for node in level)


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []


class FrameSplitter:
    """Cuts a byte stream of Server-Sent Events into whole frames, wherever the network cut it.

    `feed` returns the bytes of all frames that are complete (b"" if none), each with its blank line; `rest` holds the
    begun one. Line ends may be LF, CRLF or CR (WHATWG HTML 9.2.5). A frame longer than `limit` raises ValueError.
    """

    __slots__ = ("_limit", "rest")

    def __init__(self, limit: int = 4 << 20) -> None:
        self._limit = limit
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        if self.rest:
            data = self.rest + data
        cut = _last_boundary(data)
        self.rest = data[cut:]
        if len(self.rest) > self._limit:
            raise ValueError("a frame is longer than the limit")
        return data if not self.rest else data[:cut]


def _last_boundary(data: bytes) -> int:
    """Index just behind the last blank line, 0 if there is none."""
    cut = data.rfind(b"\n\n")
    end = cut + 2 if cut >= 0 else 0
    if b"\r" not in data:
        return end
    for blank in (b"\n\r\n", b"\r\r"):
        cut = data.rfind(blank)
        if cut >= 0:
            end = max(end, cut + len(blank))
    return end


def data_of(frame: bytes) -> bytes | None:
    """The joined `data:` lines of one frame; None if it has none (a comment, a bare event name)."""
    lines = []
    for line in frame.splitlines():
        if line.startswith(b"data:"):
            lines.append(line[6:] if line[5:6] == b" " else line[5:])
    return b"\n".join(lines) if lines else None


def frames_of(data: bytes) -> list[bytes]:
    """Whole frames, as `FrameSplitter.feed` returned them, one by one."""
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return [frame + b"\n\n" for frame in data.split(b"\n\n") if frame]
