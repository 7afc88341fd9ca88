"""What a model says, told apart: the answer, its thoughts, its calls of tools. Each engine knows its models' marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

TOOL = "tool"  # the state of an answer within a tool call


class Speech(Protocol):
    """Reads one answer's text, in pieces of any size."""

    calls: int  # tool calls so far

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Deltas as OpenAI has them: content, reasoning_content or tool_calls."""
        ...

    def end(self) -> list[dict[str, Any]]:
        """What was held back."""
        ...


class Marks(Protocol):
    """Of one model. `opening`: what a tool call begins with, None if its template has no known form of calls;
    `json_calls`: its calls are objects of JSON with a name and arguments."""

    @property
    def opening(self) -> str | None: ...

    @property
    def json_calls(self) -> bool: ...

    def state_after(self, prompt: Sequence[int]) -> str:
        """The state in which an answer to this prompt begins: a template may have opened the thoughts already."""
        ...

    def speech(self, tools: Sequence[Any] | None, state: str) -> Speech:
        """For one answer. `tools`: those that the request offers, None if it offers none."""
        ...


class PlainSpeech:
    """All that the model says is its answer."""

    calls = 0

    def feed(self, text: str) -> list[dict[str, Any]]:
        return [{"content": text}]

    def end(self) -> list[dict[str, Any]]:
        return []


class Plain:
    """Of a model whose marks nobody knows."""

    opening: str | None = None
    json_calls = False

    def state_after(self, prompt: Sequence[int]) -> str:
        return ""

    def speech(self, tools: Sequence[Any] | None, state: str) -> Speech:
        return PlainSpeech()
