"""Answers to tools in OpenAI's words. Where a template knows tools the upstream's bytes pass, but for calls that were
left in the text; where it knows none the answer is written anew."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from lanhaven.dialects.base import Call
from lanhaven.dialects.chunks import ChunkChoice, Delta, FunctionDelta, ToolCallDelta, read_chunk
from lanhaven.dialects.tools.offering import Offer
from lanhaven.dialects.tools.reading import ChoiceReader, read
from lanhaven.errors import GatewayError, UpstreamError
from lanhaven.inference import Inference
from lanhaven.types.chat import Usage
from lanhaven.upstream.exchange import Exchange
from lanhaven.upstream.reading import loads
from lanhaven.wire import DONE, data_of, encode, frames_of, sse

Json = dict[str, Any]
_ENVELOPE = ("id", "object", "created", "model", "system_fingerprint")


async def relay_offer(offer: Offer, usage_wanted: bool, call: Call, inference: Inference, exchange: Exchange) -> None:
    """`usage_wanted`: by the client, in its stream."""
    if not inference.request.stream:
        await call.reply(200, await whole(offer, inference, exchange))
        return
    call.expect_stream()
    async for block in frames(offer, usage_wanted, inference, exchange):
        await call.start()
        await call.write(block)
    await call.finish()


async def whole(offer: Offer, inference: Inference, exchange: Exchange) -> bytes:
    """The body of a reply that does not stream."""
    if offer.told:
        return encode(await told_reply(offer, inference, exchange))
    return watched_reply(offer, await exchange.body())


def frames(offer: Offer, usage_wanted: bool, inference: Inference, exchange: Exchange) -> AsyncIterator[bytes]:
    """Whole frames of a stream, up to [DONE]."""
    if offer.told:
        return told_frames(offer, usage_wanted, inference, exchange)
    return watched_frames(offer, exchange)


# ---- tools that were told


def _head(exchange: Exchange) -> Json:
    return {
        "id": f"chatcmpl-{secrets.token_urlsafe(18)}",
        "created": time.time_ns() // 10**9,
        "model": exchange.upstream.model,
    }


async def told_frames(
    offer: Offer, usage_wanted: bool, inference: Inference, exchange: Exchange
) -> AsyncIterator[bytes]:
    """A stream, written anew."""
    head = _head(exchange) | {"object": "chat.completion.chunk"}
    timings: Json = {}
    seen: set[int] = set()
    async for chunk in read(offer, inference, exchange):
        timings = chunk.timings or timings
        for choice in chunk.choices:
            if choice.index not in seen:
                seen.add(choice.index)
                first = {"index": choice.index, "delta": {"role": "assistant", "content": None}, "finish_reason": None}
                yield sse(encode(head | {"choices": [first]}))
            yield sse(encode(head | {"choices": [choice_json(choice)]}))
    if usage_wanted:
        told = {"timings": timings} if timings else {}
        yield sse(encode(head | {"choices": [], "usage": usage_json(exchange.outcome.usage)} | told))
    yield DONE


async def told_reply(offer: Offer, inference: Inference, exchange: Exchange) -> Json:
    """A whole answer."""
    said: dict[int, list[ChunkChoice]] = {}
    timings: Json = {}
    async for chunk in read(offer, inference, exchange):
        timings = chunk.timings or timings
        for choice in chunk.choices:
            said.setdefault(choice.index, []).append(choice)
    choices = [{"index": index, **folded(said[index]), "logprobs": None} for index in sorted(said)]
    told = {"timings": timings} if timings else {}
    body = {"object": "chat.completion", "choices": choices, "usage": usage_json(exchange.outcome.usage)}
    return _head(exchange) | body | told


# ---- tools that the template knows


async def watched_frames(offer: Offer, exchange: Exchange) -> AsyncIterator[bytes]:
    """The upstream's own frames, but for those of a call that was left in the text."""
    readers: dict[int, ChoiceReader[bytes]] = {}
    try:
        block = await exchange.more()
        while block:
            if readers and all(each.idle for each in readers.values()):
                yield block
            elif out := b"".join(each for frame in frames_of(block) for each in _watched_frame(offer, readers, frame)):
                yield out
            block = await exchange.more()
    except GatewayError:
        held = [each for index, reader in readers.items() for each in reader.left(index) if isinstance(each, bytes)]
        if held:
            yield b"".join(held)
        raise


def _watched_frame(offer: Offer, readers: dict[int, ChoiceReader[bytes]], frame: bytes) -> list[bytes]:
    data = data_of(frame)
    if data is None or data.strip() == b"[DONE]":
        return [frame]
    try:
        choices = read_chunk(data).choices
    except UpstreamError:
        return [frame]  # a client may understand it nevertheless
    if len(choices) != 1:
        return [frame] if not choices else _apart(offer, readers, data, choices)
    return _fed(offer, readers, choices[0], frame, data)


def _apart(
    offer: Offer, readers: dict[int, ChoiceReader[bytes]], data: bytes, choices: Sequence[ChunkChoice]
) -> list[bytes]:
    """The choices of one frame, each in a frame of its own."""
    told = loads(data)
    written: list[bytes] = []
    for choice, given in zip(choices, told["choices"], strict=True):
        alone = encode(told | {"choices": [given]})
        written += _fed(offer, readers, choice, sse(alone), alone)
    return written


def _fed(
    offer: Offer, readers: dict[int, ChoiceReader[bytes]], choice: ChunkChoice, frame: bytes, data: bytes
) -> list[bytes]:
    reader = readers.setdefault(choice.index, ChoiceReader(offer))
    out = reader.feed(choice, frame)
    if all(isinstance(each, bytes) for each in out):
        return [each for each in out if isinstance(each, bytes)]
    told = loads(data)
    head = {name: told[name] for name in _ENVELOPE if name in told}
    return [each if isinstance(each, bytes) else sse(encode(head | {"choices": [choice_json(each)]})) for each in out]


class _Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: str = ""


class _ToolCall(msgspec.Struct, gc=False):
    function: _Function | None = None
    id: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct, gc=False):
    message: _Message
    finish_reason: str | None = None
    index: int = 0


class _Reply(msgspec.Struct, gc=False):
    choices: list[_Choice]


_decode = msgspec.json.Decoder(_Reply).decode


def watched_reply(offer: Offer, data: bytes) -> bytes:
    """The upstream's own reply, but for calls that were left in the text."""
    try:
        choices = _decode(data).choices
    except (msgspec.DecodeError, UnicodeDecodeError):
        return data
    changes = {at: made for at, each in enumerate(choices) if (made := _changed(offer, each)) is not None}
    body = loads(data) if changes else None
    if not isinstance(body, dict):
        return data
    for at, change in changes.items():
        choice = body["choices"][at]
        choice |= {"finish_reason": change["finish_reason"], "message": choice["message"] | change["message"]}
        if not change["message"].get("tool_calls"):
            choice["message"].pop("tool_calls", None)
    return encode(body)


def _changed(offer: Offer, choice: _Choice) -> Json | None:
    """What a choice becomes; None: it stays as it is."""
    message = choice.message
    calls = [
        ToolCallDelta(at, each.id, FunctionDelta(each.function.name, each.function.arguments))
        for at, each in enumerate(message.tool_calls or ())
        if each.function is not None
    ]
    whole = ChunkChoice(
        choice.index, Delta(message.content, tool_calls=calls or None), finish_reason=choice.finish_reason or "stop"
    )
    reader: ChoiceReader[ChunkChoice] = ChoiceReader(offer)
    out = reader.feed(whole, whole)
    return None if out == [whole] else folded(out)


# ---- how they are written


def choice_json(choice: ChunkChoice) -> Json:
    """One choice of a chunk; what is not there is left out."""
    delta: Json = {}
    if choice.delta.content:
        delta["content"] = choice.delta.content
    if choice.delta.thought:
        delta["reasoning_content"] = choice.delta.thought
    if choice.delta.tool_calls:
        delta["tool_calls"] = [_call_json(each) for each in choice.delta.tool_calls]
    told: Json = {"index": choice.index, "delta": delta, "finish_reason": choice.finish_reason}
    return told if choice.logprobs is None else told | {"logprobs": choice.logprobs}


def _call_json(call: ToolCallDelta) -> Json:
    """A piece of a call: id, type and name stand in the first one only."""
    function = call.function or FunctionDelta()
    arguments = {"arguments": function.arguments or ""}
    if call.id is None and function.name is None:
        return {"index": call.index, "function": arguments}
    name = {"name": function.name or ""}
    return {"index": call.index, "id": call.id, "type": "function", "function": name | arguments}


def folded(choices: Sequence[ChunkChoice]) -> Json:
    """The message and the finish reason of a whole answer."""
    content = "".join(each.delta.content or "" for each in choices)
    thought = "".join(each.delta.thought or "" for each in choices)
    calls: dict[int, Json] = {}
    for piece in (each for choice in choices for each in choice.delta.tool_calls or ()):
        call = calls.setdefault(
            piece.index, {"id": piece.id, "type": "function", "function": {"name": "", "arguments": ""}}
        )
        if piece.function is not None:
            call["function"]["name"] += piece.function.name or ""
            call["function"]["arguments"] += piece.function.arguments or ""
    message: Json = {"role": "assistant", "content": content or (None if calls else "")}
    if thought:
        message["reasoning_content"] = thought
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    finish = next((each.finish_reason for each in reversed(choices) if each.finish_reason), None)
    return {"message": message, "finish_reason": finish}


def usage_json(usage: Usage) -> Json:
    """OpenAI's `usage`."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }
