"""What a model says, told apart: the answer, its thoughts, its tool calls. mlx-lm knows the marks of its models."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlx_lm.generate import TextStateMachine, make_text_state_machine

from lanhaven.engines.serving.speech import TOOL
from lanhaven.engines.serving.text import Piece

NORMAL, REASONING = "normal", "reasoning"


@dataclass(frozen=True, slots=True)
class MarkedWords:
    """The marks of one model. `tools`: the tools that a request offers, None if it offers none."""

    machine: TextStateMachine
    tokenizer: Any
    tools: Sequence[Any] | None = None

    @classmethod
    def of(cls, tokenizer: Any) -> MarkedWords:
        return cls(make_text_state_machine(tokenizer), tokenizer)

    @property
    def opening(self) -> str | None:
        return str(self.tokenizer.tool_call_start) if self.tokenizer.has_tool_calling else None

    @property
    def json_calls(self) -> bool:
        return bool(self.tokenizer.init_kwargs.get("tool_parser_type") == "json_tools")

    def speech(self, tools: Sequence[Any] | None, state: str) -> Speech:
        return Speech(replace(self, tools=tools), state)

    def state_after(self, prompt: Sequence[int]) -> str:
        """The state in which an answer to this prompt begins: a template may have opened the thoughts already."""
        tokenizer = self.tokenizer
        if (given := tokenizer.response_initial_state) is not None:
            return str(given)
        if not tokenizer.has_thinking:
            return NORMAL
        opened = tokenizer.rfind_think_start(prompt) > tokenizer.rfind_think_end(prompt)
        return REASONING if opened else NORMAL


class Speech:
    """Reads one answer's text, in pieces of any size."""

    def __init__(self, marks: MarkedWords, state: str) -> None:
        self._marks = marks
        self._machine = marks.machine.make_state(state)
        self._state = state
        self._call = ""
        self.calls = 0

    def feed(self, text: str) -> list[dict[str, Any]]:
        """Deltas as OpenAI has them: content, reasoning_content or tool_calls."""
        self._machine, segments = TextStateMachine.split(self._machine, text)
        return self._told([Piece(state or NORMAL, each) for state, each in segments])

    def end(self) -> list[dict[str, Any]]:
        """What was held back, and a call whose end mark did not come."""
        self._machine, text, state = TextStateMachine.flush(self._machine)
        told = self._told([Piece(state or NORMAL, text)])
        return told + (self._called(complete=False) if self._call else [])

    def _told(self, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        for piece in pieces:
            if self._state == TOOL and piece.state != TOOL:
                told += self._called(complete=True)
            self._state = piece.state
            if piece.state == TOOL:
                self._call += piece.text
            elif piece.text:
                told.append({"reasoning_content" if piece.state == REASONING else "content": piece.text})
        return told

    def _called(self, *, complete: bool) -> list[dict[str, Any]]:
        """A tool call; what is none (or was not asked for) is told as the text that it is."""
        text, self._call = self._call, ""
        tokenizer = self._marks.tokenizer
        plain = (tokenizer.tool_call_start or "") + text + ((tokenizer.tool_call_end or "") if complete else "")
        if self._marks.tools is None:
            return [{"content": plain}]
        try:
            parsed = tokenizer.tool_parser(text, self._marks.tools)
            found = [_call(each) for each in (parsed if isinstance(parsed, list) else [parsed])]
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, SyntaxError):  # a model's slip of the pen
            return [{"content": plain}]
        deltas = [{"tool_calls": [{"index": self.calls + place, **each}]} for place, each in enumerate(found)]
        self.calls += len(found)
        return deltas


def _call(parsed: Any) -> dict[str, Any]:
    arguments = parsed["arguments"]
    words = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    name = parsed["name"]
    if not isinstance(name, str):
        raise TypeError("a tool call without a name")
    call_id = parsed.get("id") or f"call_{secrets.token_hex(12)}"
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": words}}
