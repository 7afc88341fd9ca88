"""Framing of streams and the strict JSON reader. Pure: no I/O, no clock."""

from __future__ import annotations

import itertools
import json
import re
from codecs import BOM_UTF8
from typing import Any

import msgspec

from lanhaven.errors import InvalidRequest

MAX_DEPTH = 64
MAX_PARTS = 1 << 20  # objects and lists of one body: 32 MiB of "{}," would hold everybody up for 4 s and take 900 MB
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

_LINE_ENDS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
_BLANKS = b" \n\r\t"
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n))")

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def sse(data: bytes, event: str | None = None) -> bytes:
    """One Server-Sent Event of JSON. `data` must hold no line break (what `encode` gives never does)."""
    if event is None:
        return b"data: " + one_line(data) + b"\n\n"
    return b"event: " + event.encode() + b"\ndata: " + one_line(data) + b"\n\n"


def ndjson(data: bytes) -> bytes:
    """One line of newline-delimited JSON."""
    return one_line(data) + b"\n"


def one_line(data: bytes) -> bytes:
    """JSON that is one line for everybody: U+0085, U+2028 and U+2029 end one in Python's `splitlines`, by which httpx
    and with it Ollama's library cut a reply (Go escapes the last two as well)."""
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        for raw, escaped in _LINE_ENDS:
            data = data.replace(raw, escaped)
    return data


def read_json(body: bytes) -> Any:
    """Decode a request body. InvalidRequest for anything that is not one JSON value in UTF-8 of sane depth.

    NaN, Infinity, lone surrogates, numbers out of range and trailing bytes are refused by msgspec itself; nesting
    beyond MAX_DEPTH by us (C recursion would allow about 1,000, and an engine behind us less).
    """
    parts = _parts(body)
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The body is not valid JSON: {_reason(error)}.") from None
    _refuse_depth(parts, value)
    return value


def _parts(body: bytes) -> int:
    """How many objects and lists there are at most: a bracket may stand in a text as well."""
    parts = body.count(b"{") + body.count(b"[")
    if parts > MAX_PARTS:
        raise InvalidRequest(f"The body has more than {MAX_PARTS} objects and lists.", retry=False)
    return parts


def _refuse_depth(parts: int, value: Any) -> None:
    if parts > MAX_DEPTH and deeper_than(value, MAX_DEPTH):
        raise InvalidRequest(f"The body is nested more than {MAX_DEPTH} levels deep.")


def read_object(body: bytes) -> dict[str, Any]:
    """Like `read_json`, and the value must be an object."""
    value = read_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return value


def read_strict(body: bytes) -> dict[str, Any]:
    """Like `read_object`, of what a client sends: no field may stand twice in its object.

    Decoders keep the last one, others the first: two readers could be played off against each other (RFC 8259, 4).
    """
    value = read_object(body)
    _refuse_repeats(body, value)
    return value


def refuse_odd(body: bytes) -> None:
    """InvalidRequest for JSON that is too deep, has a field twice, or is not plain UTF-8 (RFC 8259, 8.1; json.loads
    reads UTF-16 and byte order marks as well). What is no JSON passes: somebody else reads it."""
    if b"\0" in body[:4] or body.startswith(BOM_UTF8):
        raise InvalidRequest("The body is not JSON in UTF-8.")
    parts = _parts(body)
    try:
        value = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    except RecursionError:
        raise InvalidRequest(f"The body is nested more than {MAX_DEPTH} levels deep.") from None
    _refuse_depth(parts, value)
    _refuse_repeats(body, value)


def _refuse_repeats(body: bytes, value: Any) -> None:
    """`value`: what `body` decodes to.

    Most clients write JSON as we do, or with more blanks, and then the same bytes come out again, which proves it in
    half a microsecond: a field that stood twice would be missing. Blanks in texts go too, on both sides. The others
    cost one more reading, 6 us for a short chat.
    """
    ours = encode(value)
    if ours != body and ours.translate(None, _BLANKS) != body.translate(None, _BLANKS):
        _read_pairs(body.decode())


def _one_of_each(pairs: list[tuple[str, Any]]) -> None:
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidRequest(f"The field {name[:100]!r} stands twice in one object.", param=name[:100], retry=False)
        seen.add(name)


# Numbers stay texts: those of many digits take long to convert.
_read_pairs = json.JSONDecoder(object_pairs_hook=_one_of_each, parse_int=str, parse_float=str, strict=False).decode


def _reason(error: Exception) -> str:
    match error:
        case RecursionError():
            return "nested too deeply"
        case UnicodeDecodeError():
            return "not UTF-8"
        case _:
            return str(error).rstrip(".")


def deeper_than(value: Any, limit: int) -> bool:
    """Whether decoded JSON has more than `limit` levels of objects and lists."""
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
    begun one. Nothing is lost or changed: what `feed` returned, plus `rest`, is what came. Line ends may be LF, CRLF or
    CR, mixed too (WHATWG HTML 9.2.5). A begun frame longer than `limit` raises ValueError.
    """

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit: int = 4 << 20) -> None:
        self._limit = limit
        self._rest = bytearray()

    @property
    def rest(self) -> bytes:
        return bytes(self._rest)

    def feed(self, data: bytes) -> bytes:
        rest = self._rest
        if not rest and data.endswith(b"\n\n"):
            return data  # the usual case: the upstream writes whole frames
        searched = max(len(rest) - 3, 0)  # a blank line may have been cut in two, at most 3 bytes back
        rest += data
        cut = _last_boundary(rest, searched)
        block = bytes(memoryview(rest)[:cut])
        del rest[:cut]
        if len(rest) > self._limit:
            raise ValueError("a frame is longer than the limit")
        return block


def _last_boundary(data: bytearray, start: int) -> int:
    """Index just behind the last blank line that begins at or after `start`, 0 if there is none."""
    end = data.rfind(b"\n\n", start) + 2 if data.find(b"\n\n", start) >= 0 else 0
    if data.find(b"\r", start) < 0:
        return end
    # A CR that ends `data` may be half a CRLF: after an LF it is left for later (CRLF streams), after another CR it is
    # taken as it stands (streams of bare CR would lag by a frame), and its LF then leads the next frame, where an empty
    # line means nothing.
    for pair, stop in ((b"\n\r", len(data) - 1), (b"\r\r", len(data))):
        cut = data.rfind(pair, start, stop)
        if cut >= 0:
            cut += 3 if data[cut + 2 : cut + 3] == b"\n" else 2
            end = max(end, cut)
    return end


def data_of(frame: bytes) -> bytes | None:
    """The joined `data:` lines of one frame; None if it has none (a comment, a bare event name)."""
    lines = [line[6:] if line[5:6] == b" " else line[5:] for line in frame.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def frames_of(block: bytes) -> list[bytes]:
    """Whole frames, as `FrameSplitter.feed` returned them, one by one and byte for byte: joined they are `block`."""
    if block.find(b"\n\n") + 2 == len(block) and b"\r" not in block:
        return [block]
    if b"\r" not in block:
        frames = [frame + b"\n\n" for frame in block.split(b"\n\n")]
        frames[-1] = frames[-1][:-2]
    else:
        cuts = [0, *(match.end() for match in _BLANK_LINE.finditer(block)), len(block)]
        frames = [block[start:end] for start, end in itertools.pairwise(cuts)]
    return [frame for frame in frames if frame]
