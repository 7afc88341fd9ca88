"""What a chunk of a streamed chat holds. Unknown fields are skipped, absent and null ones are alike."""

from __future__ import annotations

from typing import Any

import msgspec


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


def plain_text(chunk: Chunk) -> str | None:
    """The text of a chunk that says nothing else, as nearly all do; None for any other chunk."""
    choices = chunk.choices
    if len(choices) != 1 or not (chunk.usage is chunk.timings is chunk.prompt_progress is chunk.verbose is None):
        return None
    choice = choices[0]
    delta = choice.delta
    if choice.index or choice.finish_reason or choice.logprobs is not None:
        return None
    return None if delta.reasoning_content or delta.reasoning or delta.tool_calls else delta.content
