"""The chunks of a prediction as LM Studio's packets. Pure: chunks in, packets out, and what is known at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lanhaven.dialects.chunks import Chunk, ChunkChoice, Delta, ToolCallDelta
from lanhaven.types.chat import Usage
from lanhaven.upstream.reading import figure

Packet = dict[str, Any]


@dataclass(slots=True)
class _Call:
    """A tool call that is being written."""

    index: int
    call_id: str | None
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class Packets:
    """One prediction's. tags: around reasoning; None: reasoning is told as part of the answer.

    fragments: how many tokens were told. called: whether a tool was. verbose: the engine's own words on the end.
    """

    tags: tuple[str, str] | None
    fragments: int = 0
    called: bool = False
    verbose: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, Any] = field(default_factory=dict)
    _progress: float | None = None
    _details: Packet = field(default_factory=dict)
    _thinking: bool = False
    _call: _Call | None = None

    @property
    def prompt_tokens(self) -> int:
        """As the engine's progress said; 0 where it said nothing."""
        total: int = self._details.get("totalPromptTokenCount", 0)
        return total

    def read(self, chunk: Chunk) -> Iterator[Packet]:
        """The packets that a chunk makes."""
        self.timings = chunk.timings or self.timings
        self.verbose = chunk.verbose or self.verbose
        if chunk.prompt_progress is not None:
            yield from self._prompt(chunk.prompt_progress)
        for choice in chunk.choices[:1]:
            yield from self._choice(choice)

    def end(self) -> Iterator[Packet]:
        """What is left when the answer is over."""
        yield from self._end_thinking()
        yield from self._end_call()

    def still_there(self) -> Packet:
        """Says nothing new: for clients that give up on silence."""
        return {"type": "promptProcessingProgress", "progress": self._progress or 0.0, "details": self._told_details()}

    # ---- the prompt

    def _prompt(self, told: dict[str, Any]) -> Iterator[Packet]:
        """llama.cpp counts what it took from its cache as processed; LM Studio counts the two apart."""
        total, done, cached = (_count(told, name) for name in ("total", "processed", "cache"))
        work = total - cached
        progress = min(1.0, max(0.0, (done - cached) / work)) if work > 0 else 1.0
        if self._progress is None or progress > self._progress:
            self._progress = progress
            processed = min(max(done - cached, 0), work)
            self._details = _details(cached, processed, total)
            yield self.still_there()

    def _begun(self) -> Iterator[Packet]:
        """The first token: the prompt is done, also where the engine did not say so."""
        if self._progress is not None and self._progress < 1.0:
            self._progress = 1.0
            total, cached = self._details["totalPromptTokenCount"], self._details["cachedTokenCount"]
            self._details = _details(cached, total - cached, total)
            yield self.still_there()

    def _told_details(self) -> Packet:
        return self._details or _details(0, 0, 0)

    # ---- the answer

    def _choice(self, choice: ChunkChoice) -> Iterator[Packet]:
        delta = choice.delta
        thought, text = delta.thought, delta.content or choice.text
        if not (thought or text or delta.tool_calls):
            return
        yield from self._begun()
        if thought:
            yield from self._thought(thought)
        if text:
            yield from self._end_thinking()
            yield self._fragment(text, "none", tokens=_tokens(choice.logprobs))
        yield from self._calls(delta)

    def _thought(self, text: str) -> Iterator[Packet]:
        if self.tags is None:
            yield self._fragment(text, "none")
            return
        if not self._thinking:
            self._thinking = True
            yield self._fragment(self.tags[0], "reasoningStartTag", count=0)
        yield self._fragment(text, "reasoning")

    def _end_thinking(self) -> Iterator[Packet]:
        if self._thinking and self.tags is not None:
            self._thinking = False
            yield self._fragment(self.tags[1], "reasoningEndTag", count=0)

    def _fragment(
        self, content: str, kind: str, *, count: int = 1, tokens: list[dict[str, Any]] | None = None
    ) -> Packet:
        """A chunk of a stream is one token, unless its log probabilities say otherwise."""
        count = len(tokens) if tokens else count
        self.fragments += count
        fragment: Packet = {
            "content": content,
            "tokensCount": count,
            "containsDrafted": False,
            "reasoningType": kind,
            "isStructural": kind in ("reasoningStartTag", "reasoningEndTag"),
        }
        return {"type": "fragment", "fragment": {**fragment, "tokens": tokens} if tokens else fragment}

    # ---- tool calls

    def _calls(self, delta: Delta) -> Iterator[Packet]:
        for each in delta.tool_calls or ():
            yield from self._end_thinking()
            if self._call is None or self._call.index != each.index or _is_another(self._call, each):
                yield from self._end_call()
                self._call = _Call(each.index, each.id)
                yield {"type": "toolCallGenerationStart", **({"toolCallId": each.id} if each.id else {})}
            yield from self._more(self._call, each)

    def _more(self, call: _Call, delta: ToolCallDelta) -> Iterator[Packet]:
        if delta.function is None:
            return
        if delta.function.name:
            call.name = delta.function.name
            yield {"type": "toolCallGenerationNameReceived", "name": call.name}
        if delta.function.arguments:
            self.fragments += 1
            call.arguments += delta.function.arguments
            yield {"type": "toolCallGenerationArgumentFragmentGenerated", "content": delta.function.arguments}

    def _end_call(self) -> Iterator[Packet]:
        call, self._call = self._call, None
        if call is None:
            return
        try:
            arguments = msgspec.json.decode(call.arguments or "{}")
        except msgspec.DecodeError:
            arguments = None
        if not call.name or not isinstance(arguments, dict):
            title = "The model wrote a tool call that cannot be read."
            yield {"type": "toolCallGenerationFailed", "error": {"title": title}, "rawContent": call.arguments}
            return
        self.called = True
        known = {"id": call.call_id} if call.call_id else {}
        request = {**known, "type": "function", "name": call.name, "arguments": arguments}
        yield {"type": "toolCallGenerationEnd", "toolCallRequest": request, "rawContent": call.arguments}


def _details(cached: int, processed: int, total: int) -> Packet:
    """The total is the sum of the three others (lmstudio-js, PromptProcessingDetails)."""
    return {
        "cachedTokenCount": cached,
        "totalPromptTokenCount": total,
        "processedPromptTokenCount": processed,
        "unprocessedPromptTokenCount": total - cached - processed,
    }


def _is_another(call: _Call, delta: ToolCallDelta) -> bool:
    """Some servers give every call the index 0."""
    return delta.id is not None and call.call_id is not None and delta.id != call.call_id


def _count(told: dict[str, Any], name: str) -> int:
    return int(figure(told.get(name)) or 0)


def _tokens(logprobs: Any) -> list[dict[str, Any]]:
    """Log probabilities in LM Studio's words."""
    listed = _objects(logprobs.get("content")) if isinstance(logprobs, dict) else []
    return [
        _token(each) | {"candidates": [_token(top) for top in _objects(each.get("top_logprobs"))]} for each in listed
    ]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _token(each: dict[str, Any]) -> dict[str, Any]:
    """Servers other than llama.cpp do not tell ids."""
    return {"text": each.get("token", ""), "id": each.get("id", -1), "logProb": each.get("logprob")}


def stop_reason(packets: Packets, finish: str | None, usage: Usage, limit: int | None) -> dict[str, Any]:
    """`stopReason`, and the `stopString` where one is known. limit: tokens that the answer might have."""
    if packets.called or finish == "tool_calls":
        return {"stopReason": "toolCalls"}
    if finish == "length":
        reached = limit is not None and (not usage.completion_tokens or usage.completion_tokens >= limit)
        return {"stopReason": "maxPredictedTokensReached" if reached else "contextLengthReached"}
    word = packets.verbose.get("stopping_word")
    if packets.verbose.get("stop_type") == "word" and isinstance(word, str):
        return {"stopReason": "stopStringFound", "stopString": word}
    return {"stopReason": "eosFound"}
