"""Chunks of a chat, turned into the events of a Responses stream; a whole Response is what its last event holds. Pure.

response.created, response.in_progress, then for each item of the output response.output_item.added, its parts and
deltas, response.output_item.done, then one of response.completed, response.incomplete and response.failed. There is no
[DONE].
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lanhaven.dialects.chunks import Chunk, Delta, ToolCallDelta
from lanhaven.dialects.delta import plain_text
from lanhaven.dialects.responses.input import PREFIXES, SEAL
from lanhaven.dialects.responses.request import Asked
from lanhaven.errors import (
    ClientError,
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    QueueFull,
    RateLimited,
    UpstreamError,
)
from lanhaven.store import new_id
from lanhaven.types.chat import Outcome, Usage
from lanhaven.wire import encode, one_line, read_json, sse

Event = dict[str, Any]

_TEXT_HEAD = b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":'
_TEXT_TAIL = b',"item_id":"%b","output_index":%d,"content_index":0,"delta":'

CUT = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(slots=True)
class _Open:
    """The item that grows: `item` as it will be, `pieces` of its text."""

    item: dict[str, Any]
    index: int
    pieces: list[str] = field(default_factory=list)
    call: int | None = None  # number of the tool call
    tail: bytes = b""  # of a message: its deltas from the sequence number to the text

    @property
    def kind(self) -> str:
        return str(self.item["type"])

    def at(self, part: bool = False) -> dict[str, Any]:
        """Where in the output an event belongs."""
        place = {"item_id": self.item["id"], "output_index": self.index}
        return place | {"content_index": 0} if part else place


@dataclass(slots=True)
class Events:
    """The state of one reply. `model`: as the client wrote it. `created`: seconds since the epoch.

    Of a reply that is not streamed there are no events but the Response.
    """

    asked: Asked
    model: str
    created: int
    response_id: str = field(default_factory=lambda: new_id("resp"))
    _output: list[dict[str, Any]] = field(default_factory=list)
    _sequence: int = 0
    _begun: bool = False
    _open: _Open | None = None
    _calls: set[int] = field(default_factory=set)
    _finish: str | None = None
    _thinking: int = 0  # tokens spent on thoughts, where the upstream counts them

    # ---- the stream

    def start(self) -> list[Event]:
        """The first events; nothing when they are out already."""
        if self._begun:
            return []
        self._begun = True
        return [self._lifecycle("created", "in_progress"), self._lifecycle("in_progress", "in_progress")]

    def beat(self) -> list[Event]:
        """A sign of life. Codex gives a stream up that has had no event for 300 s, and comments are none."""
        return self.start() or [self._lifecycle("in_progress", "in_progress")]

    def feed(self, chunk: Chunk) -> Iterator[Event]:
        """The events that a chunk causes."""
        for choice in chunk.choices:
            if choice.index:
                continue
            yield from self._delta(choice.delta)
            self._finish = choice.finish_reason or self._finish
        details = (chunk.usage or {}).get("completion_tokens_details")
        count = details.get("reasoning_tokens") if isinstance(details, dict) else None
        self._thinking = count if isinstance(count, int) else self._thinking

    def frames(self, chunk: Chunk) -> bytes:
        """`feed`, as it is sent. Nearly every chunk is one more piece of the text: its event is only filled in."""
        text = plain_text(chunk)
        opened = self._open
        if not text or opened is None or not opened.tail:
            return b"".join(map(frame, self.feed(chunk)))
        opened.pieces.append(text)
        self._sequence += 1
        return b'%b%d%b%b,"logprobs":[]}\n\n' % (_TEXT_HEAD, self._sequence - 1, opened.tail, one_line(encode(text)))

    def close(self) -> Iterator[Event]:
        """The end of the last item of a reply that ended well."""
        yield from self._close("incomplete" if self._finish in CUT else "completed")

    def response(self, outcome: Outcome, *, stored: bool, now: int) -> dict[str, Any]:
        """The whole Response of a reply that ended well."""
        cut = CUT.get(self._finish or "")
        response = self._response("incomplete" if cut else "completed")
        response["usage"] = usage_of(outcome.usage, self._thinking)
        response["store"] = stored
        if cut:
            response["incomplete_details"] = {"reason": cut}
        else:
            response["completed_at"] = now
        return response

    def last(self, response: dict[str, Any]) -> Event:
        """The last event of a reply that ended well."""
        return self._event(f"response.{response['status']}", response=response)

    def fail(self, error: GatewayError) -> list[Event]:
        """The last events of a reply that failed. The item that grew is told in the Response alone: clients run a call
        as soon as its own last event is there."""
        begun = self.start()
        self._filled("incomplete")
        response = self._response("failed")
        response["error"] = {"code": failure_code(error), "message": error.told()}
        return [*begun, self._event("response.failed", response=response)]

    # ---- what the model says

    def _delta(self, delta: Delta) -> Iterator[Event]:
        if delta.thought:
            yield from self._piece("reasoning", delta.thought)
        if delta.content:
            yield from self._piece("message", delta.content)
        for call in delta.tool_calls or ():
            yield from self._call(call)

    def _piece(self, kind: str, text: str) -> Iterator[Event]:
        if self._open is None or self._open.kind != kind:
            yield from self._begin(self._new(kind))
        yield from self._add(text)

    def _call(self, call: ToolCallDelta) -> Iterator[Event]:
        function = call.function
        if call.index not in self._calls:
            self._calls.add(call.index)
            name = function.name if function is not None and function.name else ""
            yield from self._begin(self._new_call(call, name))
        if function is not None and function.arguments:
            if self._open is None or self._open.call != call.index:
                raise UpstreamError("The model's server mixed the pieces of two tool calls.")
            yield from self._add(function.arguments)

    def _new(self, kind: str) -> _Open:
        item: dict[str, Any] = {"id": new_id(PREFIXES[kind]), "type": kind, "status": "in_progress"}
        if kind == "message":
            item |= {"role": "assistant", "content": []}
        else:
            item |= {"summary": [], "content": []}
        return _Open(item, len(self._output))

    def _new_call(self, call: ToolCallDelta, told: str) -> _Open:
        tool = self.asked.tools.called(told)
        kind = "custom_tool_call" if tool.custom else "function_call"
        item = {
            "id": new_id(PREFIXES[kind]),
            "type": kind,
            "status": "in_progress",
            "call_id": call.id or f"call_{secrets.token_hex(12)}",
            "name": tool.name,
            "input" if tool.custom else "arguments": "",
        }
        if tool.namespace is not None:
            item["namespace"] = tool.namespace
        return _Open(item, len(self._output), call=call.index)

    def _begin(self, opened: _Open) -> Iterator[Event]:
        yield from self._close("completed")
        self._open = opened
        self._output.append(opened.item)
        if not self.asked.stream:
            return
        yield self._event("response.output_item.added", output_index=opened.index, item=dict(opened.item))
        if opened.kind == "message":
            opened.tail = _TEXT_TAIL % (opened.item["id"].encode(), opened.index)
        if opened.call is None:
            yield self._event("response.content_part.added", **opened.at(part=True), part=_part(opened.kind, ""))

    def _add(self, text: str) -> Iterator[Event]:
        opened = self._open
        if opened is None:
            return
        opened.pieces.append(text)
        if not self.asked.stream:
            return
        match opened.kind:
            case "message":
                yield self._event("response.output_text.delta", **opened.at(part=True), delta=text, logprobs=[])
            case "reasoning":
                yield self._event("response.reasoning_text.delta", **opened.at(part=True), delta=text)
            case "function_call":
                yield self._event("response.function_call_arguments.delta", **opened.at(), delta=text)

    def _close(self, status: str) -> Iterator[Event]:
        opened = self._filled(status)
        if opened is None or not self.asked.stream:
            return
        item, at = opened.item, opened.at(part=opened.call is None)
        match opened.kind:
            case "message":
                text = item["content"][0]["text"]
                yield self._event("response.output_text.done", **at, text=text, logprobs=[])
            case "reasoning":
                yield self._event("response.reasoning_text.done", **at, text=item["content"][0]["text"])
            case "function_call":
                done = {"name": item["name"], "arguments": item["arguments"]}
                yield self._event("response.function_call_arguments.done", **at, **done)
            case _:
                yield self._event("response.custom_tool_call_input.delta", **at, delta=item["input"])
                yield self._event("response.custom_tool_call_input.done", **at, input=item["input"])
        if opened.call is None:
            yield self._event("response.content_part.done", **at, part=item["content"][0])
        yield self._event("response.output_item.done", output_index=opened.index, item=dict(item))

    def _filled(self, status: str) -> _Open | None:
        """The item that grew, as it is now."""
        opened, self._open = self._open, None
        if opened is None:
            return None
        text = "".join(opened.pieces)
        opened.item["status"] = status
        match opened.kind:
            case "function_call":
                opened.item["arguments"] = text or "{}"
            case "custom_tool_call":
                opened.item["input"] = _custom_input(text)
            case kind:
                opened.item["content"] = [_part(kind, text)]
                if kind == "reasoning" and self.asked.seal:
                    opened.item["encrypted_content"] = SEAL + text
        return opened

    # ---- the Response

    def _lifecycle(self, name: str, status: str) -> Event:
        return self._event(f"response.{name}", response=self._response(status))

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event

    def _response(self, status: str) -> dict[str, Any]:
        return {
            "id": self.response_id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": [dict(item) for item in self._output],
            "store": self.asked.store,
            "usage": None,
            **self.asked.shown,
        }


def frame(event: Event) -> bytes:
    """An event as it is sent."""
    return sse(encode(event), event["type"])


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _custom_input(text: str) -> str:
    """The one string of a custom tool's arguments; all of it, where the model wrote something else."""
    try:
        value = read_json(text.encode())
    except InvalidRequest:
        return text
    given = value.get("input") if isinstance(value, dict) else None
    return given if isinstance(given, str) else text


def usage_of(usage: Usage, thinking: int) -> dict[str, Any]:
    """Token counts in the words of this API."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": thinking},
        "total_tokens": usage.total_tokens,
    }


def failure_code(error: GatewayError) -> str:
    """The code of a response that failed; Codex looks for that of a prompt that is too long."""
    match error:
        case ContextLengthExceeded():
            return "context_length_exceeded"
        case QueueFull() | RateLimited():
            return "rate_limit_exceeded"
        case ClientError():
            return "invalid_prompt"
        case _:
            return "server_error"
