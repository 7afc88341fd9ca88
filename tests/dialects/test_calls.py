"""The pieces of tool calls, put in order."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.dialects.calls import CallOrder
from lanhaven.dialects.chunks import Delta, read_chunk, read_whole
from lanhaven.errors import UpstreamError
from lanhaven.wire import encode


def piece(
    index: int, arguments: str | None = "", name: str | None = None, call_id: str | None = None
) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}]}


def flat(delta: Delta) -> Any:
    """Words, or number, id, name and arguments of the one piece of a call."""
    if not delta.tool_calls:
        return delta.content or delta.thought
    (call,) = delta.tool_calls
    assert call.function is not None
    return call.index, call.id, call.function.name, call.function.arguments


def run(*deltas: dict[str, Any], finish: bool = True) -> list[list[Any]]:
    """What is told after each delta, and at the end."""
    order = CallOrder()
    chunks = [read_chunk(encode({"choices": [{"delta": delta}]})) for delta in deltas]
    chunks += [read_chunk(b'{"choices":[{"delta":{},"finish_reason":"tool_calls"}]}')] * finish
    told = [order.put(chunk.choices[0]) for chunk in chunks]
    return [[flat(each) for each in deltas] for deltas in (*told, order.rest())]


def test_calls_one_after_the_other_pass_as_they_come() -> None:
    told = run(piece(0, "{", "f", "a"), piece(0, "}"), piece(1, "{}", "g", "b"), {"content": "so"})
    assert told == [[(0, "a", "f", "{")], [(0, None, None, "}")], [(1, "b", "g", "{}")], ["so"], [], []]


def test_what_comes_between_waits_until_the_call_is_complete() -> None:
    told = run(piece(0, '{"a"', "f", "a"), piece(1, "{", "g", "b"), {"content": "so"}, piece(0, ":1}"), piece(1, "}"))
    assert told == [[(0, "a", "f", '{"a"')], [], [], [(0, None, None, ":1}"), (1, "b", "g", "{")],
                    [(1, None, None, "}"), "so"], [], []]  # fmt: skip


def test_a_call_without_arguments_is_complete_at_the_end_only() -> None:
    assert run(piece(0, "", "f", "a"), piece(1, "{}", "g", "b")) == [
        [(0, "a", "f", "")], [], [(1, "b", "g", "{}")], [],
    ]  # fmt: skip
    assert run(piece(0, "", "f", "a"), piece(1, "{}", "g", "b"), finish=False)[-1] == [(1, "b", "g", "{}")]


def test_an_id_and_a_name_are_told_once() -> None:
    told = run(piece(0, "{", "f", "a"), piece(0, "}", "f", "a"))
    assert told[:2] == [[(0, "a", "f", "{")], [(0, None, None, "}")]]


def test_a_name_that_comes_late_is_waited_for() -> None:
    assert run(piece(0, None, None, "a"), piece(0, "{", None), piece(0, "}", "f"))[:3] == [
        [],
        [],
        [(0, "a", "f", "{}")],
    ]


def test_another_id_is_another_call_whatever_its_index() -> None:
    assert run(piece(0, "{}", "f", "a"), piece(0, "{}", "f", "b"))[:2] == [[(0, "a", "f", "{}")], [(1, "b", "f", "{}")]]


def test_a_call_without_a_name_is_told_at_the_end() -> None:
    assert run(piece(0, "{}"))[1:] == [[(0, None, "", "{}")], []]


def test_a_whole_answer_is_one_chunk() -> None:
    calls = [
        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "function": {"name": "g", "arguments": {"x": 1}}},
    ]
    message = {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": calls}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 1}}
    chunk = read_whole(encode(body | {"timings": {"prompt_ms": 1.5}, "__verbose": {"stop_type": "word"}}))
    choice = chunk.choices[0]
    assert (choice.delta.content, choice.delta.thought, choice.finish_reason) == (None, "hm", "tool_calls")
    assert [flat(Delta(tool_calls=[each])) for each in choice.delta.tool_calls or ()] == [
        (0, "a", "f", "{}"),
        (1, "b", "g", '{"x":1}'),
    ]
    assert (chunk.usage, chunk.timings, chunk.verbose) == (
        {"prompt_tokens": 1},
        {"prompt_ms": 1.5},
        {"stop_type": "word"},
    )
    assert read_whole(b'{"choices":[{"text":"so"}]}').choices[0].text == "so"


@pytest.mark.parametrize("body", [b'{"choices":[{}]}', b'{"choices":[{"message":{"content":1}}]}', b"{"])
def test_a_whole_answer_that_cannot_be_used(body: bytes) -> None:
    with pytest.raises(UpstreamError):
        read_whole(body)
