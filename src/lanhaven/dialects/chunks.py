"""The reply to a chat, decoded: what every dialect but OpenAI's is written from.

A dialect that translates reads chunks. The whole answer of a client that did not want a stream is the fold of them, so
there is one translation, not two; an upstream that was not asked for a stream either gives its answer in one chunk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from lanhaven.dialects.calls import CallOrder
from lanhaven.dialects.delta import NO_DELTA, Chunk, ChunkChoice, Delta, FunctionDelta, ToolCallDelta
from lanhaven.errors import UpstreamError
from lanhaven.upstream.exchange import Exchange
from lanhaven.wire import data_of, encode, frames_of

__all__ = [
    "NO_DELTA",
    "Chunk",
    "ChunkChoice",
    "Delta",
    "FunctionDelta",
    "ToolCallDelta",
    "blocks",
    "chunks",
    "read_chunk",
    "read_whole",
]

_decode = msgspec.json.Decoder(Chunk).decode
_REFUSED = (msgspec.DecodeError, UnicodeDecodeError)
_ONE_LINE = b"data: {"


async def chunks(exchange: Exchange) -> AsyncIterator[Chunk]:
    """Every chunk of the reply; returns at its good end, raises its error else. `exchange.outcome` fills on the way."""
    async for block in blocks(exchange):
        for chunk in block:
            yield chunk


async def blocks(exchange: Exchange) -> AsyncIterator[list[Chunk]]:
    """As `chunks`, those together that came together: what is made of them can be sent together."""
    if not exchange.streamed:
        yield [read_whole(await exchange.body())]
        return
    order: CallOrder | None = None
    block = await exchange.more()
    while block:
        found = _chunks_of(block)
        if order is None and _has_calls(found):
            order = CallOrder()
        if order is not None:
            found = [each for chunk in found for each in _ordered(chunk, order)]
        if found:
            yield found
        block = await exchange.more()
    if order is not None and (left := order.rest()):
        yield [_chunk(delta) for delta in left]


def read_chunk(data: bytes) -> Chunk:
    """One chunk. UpstreamError if its fields have types that no client could use."""
    try:
        return _decode(data)
    except _REFUSED:
        raise UpstreamError("The model's server sent a chunk that cannot be read.") from None


def _has_calls(found: list[Chunk]) -> bool:
    for chunk in found:
        for choice in chunk.choices:
            if choice.delta.tool_calls:
                return True
    return False


def _chunks_of(block: bytes) -> list[Chunk]:
    if block.startswith(_ONE_LINE) and block.find(b"\n\n") + 2 == len(block):  # the usual case: one frame
        try:
            return [_decode(block[6:])]
        except _REFUSED:
            pass
    found = []
    for frame in frames_of(block):
        if frame.startswith(_ONE_LINE):
            try:
                found.append(_decode(frame[6:]))
                continue
            except _REFUSED:
                pass  # data in several lines, perhaps
        data = data_of(frame)
        if data is not None and not data.startswith(b"[DONE]"):
            found.append(read_chunk(data))
    return found


def _ordered(chunk: Chunk, order: CallOrder) -> Iterator[Chunk]:
    """The chunk with what it may tell; what else may be told now comes before."""
    choice = next((each for each in chunk.choices if each.index == 0), None)
    if choice is None:
        yield chunk
        return
    told = order.put(choice)
    yield from map(_chunk, told[:-1])
    choice.delta = told[-1] if told else NO_DELTA
    yield chunk


def _chunk(delta: Delta) -> Chunk:
    return Chunk(choices=[ChunkChoice(delta=delta)])


# ---- whole answers


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # an object from servers that do not know better


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class _Whole(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    verbose: dict[str, Any] | None = msgspec.field(default=None, name="__verbose")


_decode_whole = msgspec.json.Decoder(_Whole).decode


def read_whole(data: bytes) -> Chunk:
    """The one chunk that a whole answer amounts to. UpstreamError as `read_chunk`."""
    try:
        whole = _decode_whole(data)
    except _REFUSED:
        raise UpstreamError("The model's server sent an answer that cannot be read.") from None
    if not all(each.message or each.text is not None for each in whole.choices):
        raise UpstreamError("The model's server sent an answer without a message.")
    choices = [
        ChunkChoice(each.index, _said(each.message), each.text, each.finish_reason, each.logprobs)
        for each in whole.choices
    ]
    return Chunk(choices, whole.usage, whole.timings, None, whole.verbose)


def _said(message: _Message | None) -> Delta:
    if message is None:
        return NO_DELTA
    calls = [
        ToolCallDelta(number, call.id, FunctionDelta(call.function.name, _text(call.function.arguments)))
        for number, call in enumerate(message.tool_calls or ())
        if call.function is not None
    ]
    return Delta(message.content, message.reasoning_content, message.reasoning, calls or None)


def _text(arguments: str | dict[str, Any] | None) -> str | None:
    return encode(arguments).decode() if isinstance(arguments, dict) else arguments
