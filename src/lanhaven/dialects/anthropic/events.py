"""Chunks of a chat, turned into the events of a Messages stream; a whole message is the fold of them. Pure.

message_start, then for each block content_block_start, its deltas, content_block_stop, then message_delta and
message_stop. Blocks never overlap, so an upstream that sent the pieces of two tool calls in turns (none known does)
could not be told truthfully: that is an error, not a call with half its arguments.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lanhaven.dialects.anthropic.request import Asked
from lanhaven.dialects.chunks import Chunk, Delta, ToolCallDelta
from lanhaven.dialects.delta import plain_text
from lanhaven.errors import InvalidRequest, UpstreamError
from lanhaven.types.chat import Outcome, Usage
from lanhaven.wire import encode, one_line, read_json, sse

Event = dict[str, Any]

_TEXT_HEAD = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":'
)

CUT_SHORT = frozenset({"max_tokens", "model_context_window_exceeded"})
REASONS = {"length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}


def new_id(prefix: str) -> str:
    """An id in Anthropic's form: msg_..., toolu_..."""
    return f"{prefix}_{secrets.token_hex(12)}"


@dataclass(slots=True)
class _Block:
    kind: str  # "text", "thinking", "tool_use"
    index: int
    call: int | None = None  # number of the tool call
    head: bytes = b""  # of text: its frames up to the text itself


@dataclass(slots=True)
class Events:
    """The state of one reply. `context`: tokens the instance can hold, where that is known."""

    asked: Asked
    context: int | None = None
    message_id: str = field(default_factory=lambda: new_id("msg"))
    _open: _Block | None = None
    _count: int = 0
    _ahead: str = ""  # the part of the prefill that the engine may still repeat
    _held: str = ""  # what it repeated so far
    _calls: dict[int, str] = field(default_factory=dict)  # tool calls seen: number -> id
    _nameless: bool = False  # a call came without a name: cut short before it, or a fault of the engine
    _finish: str | None = None
    _stopped_by: str | None = None

    def __post_init__(self) -> None:
        self._ahead = self.asked.prefill

    def start(self) -> Event:
        """The first event. How long the prompt is becomes known at the end, and is told in message_delta."""
        message: dict[str, Any] = {
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "model": self.asked.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(Usage()),
        }
        return {"type": "message_start", "message": message}

    def feed(self, chunk: Chunk) -> Iterator[Event]:
        """The events that a chunk causes."""
        for choice in chunk.choices:
            if choice.index:
                continue
            yield from self._delta(choice.delta)
            self._finish = choice.finish_reason or self._finish
        if chunk.verbose is not None and chunk.verbose.get("stop_type") == "word":
            word = chunk.verbose.get("stopping_word")
            self._stopped_by = word if word in self.asked.stop else None

    def frames(self, chunk: Chunk) -> bytes:
        """`feed`, as it is sent. Nearly every chunk is one more piece of the text: its frame is only filled in."""
        text = plain_text(chunk)
        block = self._open
        if not text or block is None or not block.head or self._ahead:
            return b"".join(map(frame, self.feed(chunk)))
        return b"%b%b}}\n\n" % (block.head, one_line(encode(text)))

    def end(self, outcome: Outcome) -> Iterator[Event]:
        """The last events of a reply that ended well."""
        if self._held:
            held, self._held, self._ahead = self._held, "", ""
            if held != self.asked.prefill:
                yield from self._text(held)
        yield from self._close()
        if self._nameless and self._finish != "length":
            raise UpstreamError("The model called a tool and did not say which.")
        delta = {"stop_reason": self._reason(outcome.usage), "stop_sequence": self._stopped_by}
        yield {"type": "message_delta", "delta": delta, "usage": usage_of(outcome.usage)}
        yield {"type": "message_stop"}

    def _reason(self, usage: Usage) -> str:
        if self._stopped_by is not None:
            return "stop_sequence"
        if self._finish == "length" and self.context is not None and usage.total_tokens >= self.context:
            return "model_context_window_exceeded"
        if self._calls and self._finish == "stop":
            return "tool_use"  # some servers say "stop" after a call
        return REASONS.get(self._finish or "", "end_turn")

    def _delta(self, delta: Delta) -> Iterator[Event]:
        if self.asked.warm_up:
            return
        if delta.thought:
            yield from self._piece("thinking", {"type": "thinking_delta", "thinking": delta.thought})
        if delta.content:
            yield from self._text(self._new(delta.content))
        for call in delta.tool_calls or ():
            yield from self._call(call)

    def _text(self, text: str) -> Iterator[Event]:
        if text:
            yield from self._piece("text", {"type": "text_delta", "text": text})

    def _new(self, text: str) -> str:
        """Without what repeats the prefill: llama.cpp's answer begins with it, other servers' do not."""
        if not self._ahead:
            return text
        seen = self._held + text
        if self._ahead.startswith(seen):
            self._held = seen
            return ""
        repeats = seen.startswith(self._ahead)
        new = seen[len(self._ahead) :] if repeats else seen
        self._ahead = self._held = ""
        return new

    def _call(self, call: ToolCallDelta) -> Iterator[Event]:
        function = call.function
        if call.index not in self._calls:
            name = function.name if function is not None else None
            if not name:
                self._nameless = True
                return
            self._calls[call.index] = call.id or new_id("toolu")
            block = {"type": "tool_use", "id": self._calls[call.index], "name": name, "input": {}}
            yield from self._begin(_Block("tool_use", self._count, call.index), block)
        if function is not None and function.arguments:
            yield from self._arguments(call.index, function.arguments)

    def _arguments(self, call: int, text: str) -> Iterator[Event]:
        if self._open is None or self._open.call != call:
            raise UpstreamError("The model's server mixed the pieces of two tool calls.")
        delta = {"type": "input_json_delta", "partial_json": text}
        yield {"type": "content_block_delta", "index": self._open.index, "delta": delta}

    def _piece(self, kind: str, delta: dict[str, Any]) -> Iterator[Event]:
        block = self._open
        if block is None or block.kind != kind:
            block = _Block(kind, self._count)
            empty = {"type": "text", "text": ""} if kind == "text" else {"type": kind, "thinking": "", "signature": ""}
            block.head = _TEXT_HEAD % block.index if kind == "text" else b""
            yield from self._begin(block, empty)
        yield {"type": "content_block_delta", "index": block.index, "delta": delta}

    def _begin(self, block: _Block, content: dict[str, Any]) -> Iterator[Event]:
        yield from self._close()
        self._open = block
        self._count += 1
        yield {"type": "content_block_start", "index": block.index, "content_block": content}

    def _close(self) -> Iterator[Event]:
        block, self._open = self._open, None
        if block is None:
            return
        if block.kind == "thinking":
            # Clients send thinking back with its signature; an empty one is dropped by some of them.
            signature = {"type": "signature_delta", "signature": "lanhaven"}
            yield {"type": "content_block_delta", "index": block.index, "delta": signature}
        yield {"type": "content_block_stop", "index": block.index}


def frame(event: Event) -> bytes:
    """An event as it is sent."""
    return sse(encode(event), event["type"])


def usage_of(usage: Usage) -> dict[str, int]:
    """Cached tokens count apart: the total input is the sum of the three."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def fold(events: Iterator[Event] | list[Event]) -> dict[str, Any]:
    """The whole message that a stream of events amounts to."""
    message: dict[str, Any] = {}
    pieces: list[str] = []
    for event in events:
        match event["type"]:
            case "message_start":
                message = {**event["message"], "content": []}
            case "content_block_start":
                message["content"].append(dict(event["content_block"]))
                pieces = []
            case "content_block_delta":
                _add_piece(message["content"][-1], event["delta"], pieces)
            case "content_block_stop":
                _finish_block(message["content"][-1], "".join(pieces))
            case "message_delta":
                message |= event["delta"] | {"usage": event["usage"]}
                for block in message["content"]:
                    if block["type"] == "tool_use":
                        cut = message["stop_reason"] in CUT_SHORT
                        block["input"] = _arguments_of(block["input"], block["name"], cut=cut)
    return message


def _add_piece(block: dict[str, Any], delta: dict[str, Any], pieces: list[str]) -> None:
    match delta["type"]:
        case "text_delta":
            pieces.append(delta["text"])
        case "thinking_delta":
            pieces.append(delta["thinking"])
        case "input_json_delta":
            pieces.append(delta["partial_json"])
        case "signature_delta":
            block["signature"] = delta["signature"]


def _finish_block(block: dict[str, Any], text: str) -> None:
    block["input" if block["type"] == "tool_use" else block["type"]] = text


def _arguments_of(text: str, name: str, *, cut: bool) -> dict[str, Any]:
    """A whole message holds arguments as an object: what is none cannot be told (a stream passes the text). A call that
    was cut short has none: its reader sees by the stop_reason that it has to ask again with more tokens."""
    try:
        value = read_json(text.encode()) if text.strip() else {}
    except InvalidRequest:
        value = None
    if cut and not isinstance(value, dict):
        return {}
    if not isinstance(value, dict):
        raise UpstreamError(f"The model called {name} with arguments that are not a JSON object.")
    return value
