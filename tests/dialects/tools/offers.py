"""Tools, models and answers for the tests beside."""

from __future__ import annotations

import itertools
import json
from typing import Any

from lanhaven.dialects.chunks import ChunkChoice, Delta
from lanhaven.dialects.tools.offering import Offer, make_offer
from lanhaven.dialects.tools.reading import ChoiceReader
from lanhaven.types.models import ModelInfo

NUMBER = {"type": "integer"}
ADD: dict[str, Any] = {
    "name": "add",
    "description": "Add two numbers",
    "parameters": {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]},
}
TOOLS = [{"type": "function", "function": ADD}, {"type": "function", "function": {"name": "now"}}]
USER = {"role": "user", "content": "2 + 3?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 3}'}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "5"}
PLAIN = ModelInfo("plain", "p", capabilities=frozenset({"chat"}), holds_schemas=True)
NATIVE = ModelInfo("native", "p", capabilities=frozenset({"chat", "tools"}), holds_schemas=True)
REMOTE = ModelInfo("remote", "p", capabilities=frozenset({"chat", "tools"}))


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), "tools": TOOLS, **more}


def offer(info: ModelInfo, **more: Any) -> Offer:
    """Of a question with these fields."""
    made = make_offer(body(USER, **more), info)
    assert made is not None
    return made


class Answer:
    """What a reader makes of an answer. words, calls (name, arguments, id) and finish as a client would join them."""

    def __init__(self, made: list[Any]) -> None:
        choices = [each for each in made if isinstance(each, ChunkChoice)]
        self.words = "".join(each.delta.content or "" for each in choices)
        self.finish = next((each.finish_reason for each in choices if each.finish_reason), None)
        self.calls: list[tuple[str, Any]] = []
        self.ids: list[str] = []
        arguments: list[str] = []
        for piece in (each for choice in choices for each in choice.delta.tool_calls or ()):
            assert piece.function is not None
            if piece.id is not None:
                assert piece.index == len(arguments), "calls are numbered in their order"
                assert piece.function.name
                self.ids.append(piece.id)
                self.calls.append((piece.function.name, None))
                arguments.append("")
            else:
                assert piece.function.name is None, "the name comes once"
            arguments[piece.index] += piece.function.arguments or ""
        self.calls = [(name, _json(text)) for (name, _), text in zip(self.calls, arguments, strict=True)]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def pieces_of(text: str, cuts: list[int] | int) -> list[str]:
    """The text, cut at these places, or every so many characters."""
    places = sorted({each % (len(text) + 1) for each in cuts}) if isinstance(cuts, list) else range(0, len(text), cuts)
    ends = [0, *places, len(text)]
    return [text[start:end] for start, end in itertools.pairwise(ends) if start < end]


def feed(made: Offer, pieces: list[str], finish: str = "stop") -> Answer:
    """The answer that comes in these pieces."""
    reader: ChoiceReader[ChunkChoice] = ChoiceReader(made)
    said = [ChunkChoice(delta=Delta(content=piece)) for piece in pieces]
    said.append(ChunkChoice(finish_reason=finish))
    return Answer([each for choice in said for each in reader.feed(choice, choice)])
