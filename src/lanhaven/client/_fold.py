"""A streamed chat and a whole one, each made of the other. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace

from lanhaven.client._chat_types import (
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatDelta,
    ChatMessage,
    ChatRole,
    ChunkChoice,
    FunctionCall,
    ToolCall,
    Usage,
)


@dataclass(slots=True)
class _Answer:
    """One choice as it grows."""

    role: str = ChatRole.ASSISTANT
    content: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    calls: dict[int, ToolCall] = field(default_factory=dict)
    finish_reason: str | None = None

    def add(self, choice: ChunkChoice) -> None:
        delta = choice.delta
        self.role = delta.role or self.role
        self.content += [delta.content] if delta.content else []
        self.thought += [delta.reasoning_content] if delta.reasoning_content else []
        for call in delta.tool_calls or ():
            place = call.index or 0
            self.calls[place] = _joined(self.calls.get(place), call)
        self.finish_reason = choice.finish_reason or self.finish_reason

    def choice(self, index: int) -> ChatChoice:
        calls = tuple(self.calls[place] for place in sorted(self.calls)) or None
        text = "".join(self.content)
        message = ChatMessage(
            self.role,
            None if calls and not text else text,
            tool_calls=calls,
            reasoning_content="".join(self.thought) or None,
        )
        return ChatChoice(message=message, index=index, finish_reason=self.finish_reason)


class Fold:
    """Add every chunk, then ask for the completion."""

    def __init__(self) -> None:
        self._head: ChatCompletionChunk | None = None
        self._usage: Usage | None = None
        self._answers: dict[int, _Answer] = {}

    @property
    def finished(self) -> bool:
        """Whether every answer that has begun has told how it ended."""
        return bool(self._answers) and all(each.finish_reason for each in self._answers.values())

    def add(self, chunk: ChatCompletionChunk) -> None:
        self._head = self._head or chunk
        self._usage = chunk.usage or self._usage
        for choice in chunk.choices:
            self._answers.setdefault(choice.index, _Answer()).add(choice)

    def completion(self) -> ChatCompletion:
        """All that came so far."""
        head = self._head or ChatCompletionChunk(choices=())
        return ChatCompletion(
            choices=tuple(self._answers[index].choice(index) for index in sorted(self._answers)),
            id=head.id,
            created=head.created,
            model=head.model,
            usage=self._usage,
            system_fingerprint=head.system_fingerprint,
        )


def chunks_of(completion: ChatCompletion) -> Iterator[ChatCompletionChunk]:
    """A whole answer as a stream tells it: the message, how it ended, the usage."""
    head = ChatCompletionChunk(
        choices=(), id=completion.id, created=completion.created, model=completion.model, extra=completion.extra
    )
    for choice in completion.choices:
        message = choice.message
        calls = tuple(replace(call, index=place) for place, call in enumerate(message.tool_calls or ())) or None
        delta = ChatDelta(
            role=message.role,
            content=message.text,
            reasoning_content=message.reasoning_content,
            tool_calls=calls,
        )
        yield replace(head, choices=(ChunkChoice(delta=delta, index=choice.index),))
        yield replace(head, choices=(ChunkChoice(index=choice.index, finish_reason=choice.finish_reason),))
    if completion.usage is not None:
        yield replace(head, usage=completion.usage)


def _joined(call: ToolCall | None, piece: ToolCall) -> ToolCall:
    if call is None:
        return piece
    function = FunctionCall(
        name=call.function.name + piece.function.name,
        arguments=call.function.arguments + piece.function.arguments,
    )
    return replace(call, id=call.id or piece.id, function=function)
