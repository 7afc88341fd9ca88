"""Chunks as events of a Messages stream."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.dialects.anthropic.events import Event, Events, fold
from lanhaven.dialects.anthropic.request import Asked
from lanhaven.dialects.chunks import read_chunk
from lanhaven.errors import UpstreamError
from lanhaven.types.chat import Outcome, Usage
from lanhaven.wire import encode


def run(*deltas: dict[str, Any], finish: str = "stop", context: int | None = None, **asked: Any) -> list[Event]:
    given = Asked(**({"model": "m", "stream": True, "prefill": "", "stop": (), "warm_up": False} | asked))
    events = Events(given, context)
    told = [events.start()]
    for delta in deltas:
        told += events.feed(read_chunk(encode({"choices": [{"delta": delta}]})))
    told += events.feed(read_chunk(encode({"choices": [{"delta": {}, "finish_reason": finish}]})))
    told += events.end(Outcome(Usage(30, 5, 10), finish))
    return told


def kinds(events: list[Event]) -> list[str]:
    return [event["type"] for event in events]


def call(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"tool_calls": [{"index": index, "function": function} | ({"id": f"call{index}"} if name else {})]}


def test_the_order_of_events() -> None:
    events = run({"reasoning_content": "hm"}, {"content": "a"}, {"content": "b"})
    assert kinds(events) == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta", "content_block_stop"),
        *("message_delta", "message_stop"),
    ]
    assert events[1]["content_block"] == {"type": "thinking", "thinking": "", "signature": ""}
    assert [event["index"] for event in events[1:9]] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


def test_cached_tokens_are_counted_apart() -> None:
    assert run({"content": "a"})[-2]["usage"] == {
        "input_tokens": 20,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 10,
        "output_tokens": 5,
    }


def test_two_tool_calls_are_two_blocks() -> None:
    events = run(
        {"content": "so"},
        call(0, '{"a"', "f"),
        call(0, ":1}"),
        call(1, "", "g"),
        finish="tool_calls",
    )
    message = fold(events)
    assert message["content"] == [
        {"type": "text", "text": "so"},
        {"type": "tool_use", "id": "call0", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "call1", "name": "g", "input": {}},
    ]
    assert message["stop_reason"] == "tool_use"
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [start.get("input") for start in starts] == [None, {}, {}]


def test_mixed_calls_are_an_error() -> None:
    with pytest.raises(UpstreamError, match="mixed"):
        run(call(0, "{", "f"), call(1, "{", "g"), call(0, "}"))


def test_arguments_that_are_no_object() -> None:
    with pytest.raises(UpstreamError, match="called f"):
        fold(run(call(0, "[1]", "f"), finish="tool_calls"))


@pytest.mark.parametrize(
    ("deltas", "text"),
    [
        (["Ze", "bra", " runs"], " runs"),
        (["Zebra runs"], " runs"),
        ([" runs"], " runs"),
        (["Zeal"], "Zeal"),
        (["Ze"], "Ze"),
        (["Zebra"], ""),
    ],
)
def test_a_repeated_prefill_is_not_told_twice(deltas: list[str], text: str) -> None:
    message = fold(run(*({"content": each} for each in deltas), prefill="Zebra"))
    assert "".join(block["text"] for block in message["content"]) == text


def test_why_it_stopped() -> None:
    assert run({"content": "a"}, finish="length")[-2]["delta"]["stop_reason"] == "max_tokens"
    full = run({"content": "a"}, finish="length", context=35)
    assert full[-2]["delta"]["stop_reason"] == "model_context_window_exceeded"
    assert run({"content": "a"}, finish="content_filter")[-2]["delta"]["stop_reason"] == "refusal"


def test_the_stop_string_is_named() -> None:
    events = Events(Asked("m", True, "", ("END",), False))
    list(events.feed(read_chunk(b'{"choices":[],"__verbose":{"stop_type":"word","stopping_word":"END"}}')))
    delta = next(iter(events.end(Outcome())))["delta"]
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": "END"}


def test_warming_up_says_nothing() -> None:
    message = fold(run({"content": "a"}, finish="length", warm_up=True))
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")


def test_a_call_that_was_cut_short() -> None:
    """max_tokens ended it: the reason says so, the arguments are none, and what has no name yet is no call."""
    message = fold(run({"content": "so"}, call(0, '{"a', "f"), finish="length"))
    assert message["content"][1] == {"type": "tool_use", "id": "call0", "name": "f", "input": {}}
    assert message["stop_reason"] == "max_tokens"
    nameless = run({"content": "so"}, call(0, '{"tool_calls": [{"na'), finish="length")
    assert [each["type"] for each in fold(nameless)["content"]] == ["text"]
    with pytest.raises(UpstreamError, match="did not say which"):
        run(call(0, "{}"), finish="tool_calls")
