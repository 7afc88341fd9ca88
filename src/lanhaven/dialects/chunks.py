"""The chunks of a streamed chat, decoded: what every dialect but OpenAI's is written from.

A dialect that translates always asks its upstream for a stream; the whole answer of a client that did not want one is
the fold of it, so there is one translation, not two. Unknown fields are skipped, absent and null ones are alike.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec

from lanhaven.errors import UpstreamError
from lanhaven.upstream.exchange import Exchange
from lanhaven.wire import data_of, frames_of


class FunctionDelta(msgspec.Struct, gc=False):
    """A piece of a function call: the name comes whole and once, the arguments in pieces of JSON text."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(msgspec.Struct, gc=False):
    """A piece of tool call number `index`; the id comes with the first piece."""

    index: int = 0
    id: str | None = None
    function: FunctionDelta | None = None


class Delta(msgspec.Struct, gc=False, frozen=True):
    """What a chunk adds to the message. Reasoning has two names in the field: llama.cpp's, and gpt-oss servers'."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCallDelta] | None = None

    @property
    def thought(self) -> str | None:
        return self.reasoning_content or self.reasoning


NO_DELTA = Delta()


class ChunkChoice(msgspec.Struct, gc=False):
    """One of the answers. `text` is that of a text completion."""

    index: int = 0
    delta: Delta = NO_DELTA
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Any = None


class Chunk(msgspec.Struct, gc=False):
    """One frame of a stream. `choices` is empty in the one that carries the usage."""

    choices: list[ChunkChoice] = []
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    prompt_progress: dict[str, Any] | None = None  # llama.cpp, where `return_progress` was asked for
    verbose: dict[str, Any] | None = msgspec.field(default=None, name="__verbose")  # llama.cpp, where it was asked for


_decode = msgspec.json.Decoder(Chunk).decode


async def chunks(exchange: Exchange) -> AsyncIterator[Chunk]:
    """Every chunk of the reply; returns at its good end, raises its error else. `exchange.outcome` fills on the way."""
    block = await exchange.more()
    while block:
        for frame in frames_of(block):
            data = data_of(frame)
            if data is not None and data != b"[DONE]":
                yield read_chunk(data)
        block = await exchange.more()


def read_chunk(data: bytes) -> Chunk:
    """One chunk. UpstreamError if its fields have types that no client could use."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise UpstreamError("The model's server sent a chunk that cannot be read.") from None
