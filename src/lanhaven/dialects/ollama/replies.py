"""Chunks of a chat, turned into Ollama's lines; a whole reply is the fold of them. Pure but for the wall clock."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lanhaven.dialects.chunks import Chunk, ChunkChoice, ToolCallDelta
from lanhaven.dialects.delta import plain_text
from lanhaven.dialects.ollama.request import Asked
from lanhaven.errors import InvalidRequest, UpstreamError
from lanhaven.types.chat import Outcome, Timing
from lanhaven.upstream.reading import figure
from lanhaven.wire import encode, ndjson, one_line, read_json

Line = dict[str, Any]

_CHAT = b'{"model":%b,"created_at":"%b","done":false,"message":{"role":"assistant","content":%b}}\n'
_GENERATE = b'{"model":%b,"created_at":"%b","done":false,"response":%b}\n'


class _Clock:
    """The wall clock as text: RFC 3339 with microseconds, as Go writes it. Every line tells the time, so all but the
    microseconds is written once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def now(self) -> str:
        second, nanoseconds = divmod(time.time_ns(), 10**9)
        if second != self._second:
            self._second = second
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{nanoseconds // 1000:06}Z"


@dataclass(slots=True)
class _Call:
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Lines:
    """The state of one reply. Tool calls come whole: Ollama's arguments are an object, and objects have no pieces."""

    asked: Asked
    _calls: dict[int, _Call] = field(default_factory=dict)
    _finish: str | None = None
    _timings: Mapping[str, Any] = field(default_factory=dict)
    _model: bytes = b""
    _clock: _Clock = field(default_factory=_Clock)

    def __post_init__(self) -> None:
        self._model = one_line(encode(self.asked.model))

    def feed(self, chunk: Chunk) -> Iterator[Line]:
        """The lines that a chunk causes."""
        self._timings = chunk.timings or self._timings
        for choice in chunk.choices:
            if choice.index:
                continue
            line = self._line(choice)
            if line is not None:
                yield line
            for call in choice.delta.tool_calls or ():
                self._note(call)
            self._finish = choice.finish_reason or self._finish

    def frames(self, chunk: Chunk) -> bytes:
        """`feed`, as it is sent. Nearly every chunk is one more piece of the text: its line is only filled in."""
        text = plain_text(chunk)
        if not text:
            return b"".join(map(frame, self.feed(chunk)))
        said = _CHAT if self.asked.chat else _GENERATE
        return said % (self._model, self._clock.now().encode(), one_line(encode(text)))

    def end(self, outcome: Outcome, timing: Timing, now: float) -> Iterator[Line]:
        """The last lines of a reply that ended well. `now`: on the clock of `timing`."""
        if self._calls:
            line = self._base() | self._said("", None)
            line.get("message", line)["tool_calls"] = self._called()
            yield line
        reason = "length" if self._finish == "length" else "stop"
        counts = self._counts(outcome, timing, now)
        yield self._base() | self._said("", None) | {"done": True, "done_reason": reason} | counts

    def loaded(self, reason: str, seconds: float) -> Line:
        """The answer to a request that only loads ("load") or unloads ("unload")."""
        took = {"total_duration": round(seconds * 1e9), "load_duration": round(seconds * 1e9)}
        return self._base() | self._said("", None) | {"done": True, "done_reason": reason} | took

    def _base(self) -> Line:
        return {"model": self.asked.model, "created_at": self._clock.now(), "done": False}

    def _said(self, text: str, thought: str | None) -> Line:
        extra = {"thinking": thought} if thought else {}
        return (
            {"message": {"role": "assistant", "content": text} | extra}
            if self.asked.chat
            else {"response": text} | extra
        )

    def _line(self, choice: ChunkChoice) -> Line | None:
        text, thought = choice.delta.content or choice.text or "", choice.delta.thought
        if not text and not thought:
            return None
        line = self._base() | self._said(text, thought)
        match choice.logprobs:
            case {"content": [_, *_] as tokens}:
                line["logprobs"] = tokens
        return line

    def _note(self, piece: ToolCallDelta) -> None:
        call = self._calls.setdefault(piece.index, _Call())
        if piece.function is not None:
            call.name = call.name or piece.function.name or ""
            call.arguments.append(piece.function.arguments or "")

    def _called(self) -> list[dict[str, Any]]:
        calls = enumerate(self._calls.values())
        return [
            {"function": {"index": index, "name": call.name, "arguments": _object("".join(call.arguments), call.name)}}
            for index, call in calls
        ]

    def _counts(self, outcome: Outcome, timing: Timing, now: float) -> Line:
        """Durations in nanoseconds; the engine's own where it tells them."""
        leased = timing.leased or timing.accepted
        first = (timing.first_byte if self.asked.stream else None) or leased  # a whole answer has no first piece
        return {
            "total_duration": round((now - timing.accepted) * 1e9),
            "load_duration": round((leased - timing.accepted) * 1e9),
            "prompt_eval_count": outcome.usage.prompt_tokens,
            "prompt_eval_duration": self._engine("prompt_ms", first - leased),
            "eval_count": outcome.usage.completion_tokens,
            "eval_duration": self._engine("predicted_ms", now - first),
        }

    def _engine(self, name: str, seconds: float) -> int:
        told = figure(self._timings.get(name))
        return round(told * 1e6) if told is not None else round(seconds * 1e9)


def frame(line: Line) -> bytes:
    """A line as it is sent."""
    return ndjson(encode(line))


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        value = read_json(text.encode()) if text.strip() else {}
    except InvalidRequest:
        value = None
    if not isinstance(value, dict):
        raise UpstreamError(f"The model called {name} with arguments that are not a JSON object.")
    return value


def fold(lines: list[Line]) -> Line:
    """The whole reply that a stream of lines amounts to."""
    whole: Line = {}
    texts: dict[str, list[str]] = {"content": [], "response": [], "thinking": []}
    calls: list[Any] = []
    logprobs: list[Any] = []
    for line in lines:
        part = line.get("message", line)
        for name, pieces in texts.items():
            pieces.append(part.get(name) or "")
        calls += part.get("tool_calls", ())
        logprobs += line.get("logprobs", ())
        whole |= line
    said = {name: "".join(pieces) for name, pieces in texts.items()}
    more: Line = {"thinking": said["thinking"]} if said["thinking"] else {}
    more |= {"tool_calls": calls} if calls else {}
    if "message" in whole:
        whole["message"] = {"role": "assistant", "content": said["content"], **more}
    else:
        whole |= {"response": said["response"], **more}
    return whole | ({"logprobs": logprobs} if logprobs else {})
