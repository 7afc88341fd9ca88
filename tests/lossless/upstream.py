"""A script as the bytes that an OpenAI server sends: chat or text completion, streamed or whole."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from lanhaven.engines.scripted import Act, Fault
from tests.lossless.said import CallPiece, End, Piece, Script, Thought, Words, told

_ERROR = {"error": {"code": 500, "message": "the model broke", "type": "server_error"}}
_DATA = {
    End.ERROR: b"data: " + json.dumps(_ERROR).encode() + b"\n\n",
    End.ERROR_EVENT: b"event: error\ndata: " + json.dumps(_ERROR).encode() + b"\n\n",
    End.GARBAGE: b'data: {"choices": [{"delta": \n\n',
    End.HALF: b'data: {"choices": [{"ind',
}


def fault(script: Script, *, chat: bool, whole: bool) -> Fault:
    """For the scripted server. A whole reply that is to end badly is cut short."""
    raw = _refusal() if script.end is End.REFUSED else _whole(script, chat) if whole else _stream(script, chat)
    act = Act.STALL if script.end is End.STALL else Act.FIN
    return Fault(raw=raw.decode("utf-8", "surrogateescape"), split=script.split, do=act)


def _head(status: int, kind: bytes, *more: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 %d Said" % status, b"connection: close", b"content-type: " + kind, *more, b"", b""])


def _refusal() -> bytes:
    data = json.dumps(_ERROR).encode()
    return _head(500, b"application/json", b"content-length: %d" % len(data)) + data


def _stream(script: Script, chat: bool) -> bytes:
    body = b"".join(_frames(script, chat)) + _DATA.get(script.end, b"")
    head = _head(200, b"text/event-stream", b"transfer-encoding: chunked")
    last = b"" if script.end in (End.FIN, End.STALL) else b"0\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in _cut(body, script.cuts)) + last


def _cut(body: bytes, sizes: tuple[int, ...]) -> Iterator[bytes]:
    """Pieces of these sizes in turns; all of it at once where none is given."""
    at = 0
    for size in itertools.cycle(sizes or (len(body) or 1,)):
        if at >= len(body):
            return
        yield body[at : at + size]
        at += size


def _frames(script: Script, chat: bool) -> Iterator[bytes]:
    if chat:
        yield _frame(chat, {"role": "assistant", "content": None})
    for piece in script.pieces:
        delta = _delta(piece, script.repeats_id) if chat else _words(piece)
        if delta:
            yield _frame(chat, delta)
    if not script.good:
        return
    usage = {"usage": _usage(script)}
    yield _frame(chat, {}, script.finish, **({} if script.apart else usage))
    if script.apart:
        yield _sse({**_envelope(chat), "choices": [], **usage})
    if script.end is End.DONE:
        yield b"data: [DONE]\n\n"


def _words(piece: Piece) -> dict[str, Any]:
    return {"content": piece.text} if isinstance(piece, Words) else {}


def _delta(piece: Piece, repeats_id: bool) -> dict[str, Any]:
    match piece:
        case Thought(text):
            return {"reasoning_content": text}
        case Words(text):
            return {"content": text}
        case CallPiece(number, arguments, name):
            first = {"id": f"call_{number}", "type": "function"} if name is not None or repeats_id else {}
            function = {"arguments": arguments} | ({"name": name} if name is not None else {})
            return {"tool_calls": [{"index": number, **first, "function": function}]}


def _frame(chat: bool, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    said = {"delta": delta} if chat else {"text": delta.get("content", "")}
    return _sse({**_envelope(chat), "choices": [{"index": 0, **said, "finish_reason": finish}], **more})


def _sse(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _envelope(chat: bool, whole: bool = False) -> dict[str, Any]:
    kind = ("chat.completion" if whole else "chat.completion.chunk") if chat else "text_completion"
    return {"id": "cmpl-1", "object": kind, "created": 1700000000, "model": "alpha"}


def _usage(script: Script) -> dict[str, Any]:
    counts = script.counts
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.answer,
        "total_tokens": counts.prompt + counts.answer,
        "prompt_tokens_details": {"cached_tokens": counts.cached},
        "completion_tokens_details": {"reasoning_tokens": counts.thinking},
    }


def _whole(script: Script, chat: bool) -> bytes:
    said = told(script)
    message: dict[str, Any] = {"role": "assistant", "content": said.text}
    if said.thought:
        message["reasoning_content"] = said.thought
    if said.calls:
        message["tool_calls"] = [
            {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
            for number, (name, arguments) in enumerate(said.calls)
        ]
    answer = {"message": message} if chat else {"text": said.text}
    choice = {"index": 0, **answer, "finish_reason": script.finish}
    body = {**_envelope(chat, whole=True), "choices": [choice], "usage": _usage(script)}
    data = json.dumps(_ERROR if script.end in (End.ERROR, End.ERROR_EVENT) else body, ensure_ascii=False).encode()
    head = _head(200, b"application/json", b"content-length: %d" % len(data))
    return head + (data if script.good or script.end in (End.ERROR, End.ERROR_EVENT) else data[: len(data) // 2])
