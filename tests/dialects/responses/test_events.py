"""Chunks as events of a Responses stream."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.dialects.chunks import read_chunk
from lanhaven.dialects.responses.events import Event, Events
from lanhaven.dialects.responses.request import read_request
from lanhaven.errors import ContextLengthExceeded, EngineCrashed, UpstreamError
from lanhaven.types.chat import Outcome, Usage
from lanhaven.wire import encode

TOOLS: list[dict[str, Any]] = [
    {"type": "custom", "name": "patch"},
    {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "stop"}]},
]
BEGIN = ["response.created", "response.in_progress"]


def begin(**fields: Any) -> Events:
    return Events(read_request({"model": "m", "input": "hi", "stream": True, **fields}), "m", 1_700_000_000)


def run(*deltas: dict[str, Any], finish: str = "stop", usage: Any = None, **fields: Any) -> list[Event]:
    events = begin(**fields)
    told = events.start()
    for delta in deltas:
        told += events.feed(read_chunk(encode({"choices": [{"delta": delta}]})))
    told += events.feed(read_chunk(encode({"choices": [{"delta": {}, "finish_reason": finish}], "usage": usage})))
    told += events.close()
    response = events.response(Outcome(Usage(30, 5, 10), finish), stored=True, now=1_700_000_005)
    return [*told, events.last(response)]


def kinds(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def call(index: int, arguments: str, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"tool_calls": [{"index": index, "function": function} | ({"id": f"call{index}"} if name else {})]}


def test_the_order_of_events() -> None:
    events = run({"reasoning_content": "hm"}, {"content": "a"}, {"content": "b"})
    assert kinds(events) == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done"),
        *("content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta", "output_text.done"),
        *("content_part.done", "output_item.done"),
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["output_index"] for event in events[2:15]] == [0] * 6 + [1] * 7
    assert len({event["response"]["id"] for event in events if "response" in event}) == 1


def test_the_whole_response() -> None:
    response = run({"content": "a"}, {"content": "b"}, metadata={"k": "v"})[-1]["response"]
    assert (response["object"], response["status"], response["model"]) == ("response", "completed", "m")
    assert response["id"].startswith("resp_")
    assert response["metadata"] == {"k": "v"}
    assert (response["created_at"], response["completed_at"]) == (1_700_000_000, 1_700_000_005)
    [message] = response["output"]
    assert message["id"].startswith("msg_")
    assert message | {"id": ""} == {
        "id": "",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}],
    }
    assert response["usage"] == {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 10, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 35,
    }


def test_thoughts_are_counted_where_the_upstream_counts_them() -> None:
    usage = {"completion_tokens_details": {"reasoning_tokens": 3}}
    details = run({"reasoning": "hm"}, usage=usage)[-1]["response"]["usage"]["output_tokens_details"]
    assert details == {"reasoning_tokens": 3}


def test_thoughts_are_sealed_for_a_client_that_keeps_them() -> None:
    [thought] = run({"reasoning": "hm"}, include=["reasoning.encrypted_content"])[-1]["response"]["output"]
    assert thought["encrypted_content"] == "lanhaven1:hm"
    assert thought["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert "encrypted_content" not in run({"reasoning": "hm"})[-1]["response"]["output"][0]


def test_function_calls() -> None:
    events = run(call(0, '{"a"', "add"), call(0, ":1}"), call(1, "", "now"), finish="tool_calls")
    first, second = events[-1]["response"]["output"]
    assert kinds(events)[2:7] == [
        "output_item.added",
        *["function_call_arguments.delta"] * 2,
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert first["id"].startswith("fc_")
    assert first | {"id": ""} == {
        "id": "",
        "type": "function_call",
        "status": "completed",
        "call_id": "call0",
        "name": "add",
        "arguments": '{"a":1}',
    }
    assert (second["name"], second["arguments"]) == ("now", "{}")
    assert events[2]["item"]["arguments"] == "", "an item that begins is empty"


def test_a_call_has_the_clients_names() -> None:
    events = run(call(0, "{}", "agents__stop"), call(1, '{"input": "x\\ny"}', "patch"), tools=TOOLS)
    stop, patch = events[-1]["response"]["output"]
    assert (stop["namespace"], stop["name"]) == ("agents", "stop")
    assert (patch["type"], patch["input"], patch["name"]) == ("custom_tool_call", "x\ny", "patch")
    assert patch["id"].startswith("ctc_")
    assert "custom_tool_call_input.done" in kinds(events)


def test_custom_input_that_the_model_wrote_as_it_is() -> None:
    assert run(call(0, "plain", "patch"), tools=TOOLS)[-1]["response"]["output"][0]["input"] == "plain"


def test_pieces_of_two_calls_in_turns_are_an_error() -> None:
    with pytest.raises(UpstreamError):
        run(call(0, "{", "a"), call(1, "{", "b"), call(0, "}"))


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_says_why(finish: str, reason: str) -> None:
    last = run({"content": "a"}, finish=finish)[-1]
    response = last["response"]
    assert (last["type"], response["status"]) == ("response.incomplete", "incomplete")
    assert response["incomplete_details"] == {"reason": reason}
    assert response["output"][0]["status"] == "incomplete"
    assert response["completed_at"] is None


def test_a_failure_is_the_last_event() -> None:
    events = begin()
    told = [*events.start(), *events.fail(EngineCrashed("It died.", hint="lanhaven doctor"))]
    assert [event["type"] for event in told] == [*BEGIN, "response.failed"]
    response = told[-1]["response"]
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": "It died. Try: lanhaven doctor"}
    assert response["id"] == told[0]["response"]["id"]


def test_a_failure_in_a_call_does_not_end_the_call() -> None:
    events = begin()
    told = [*events.start(), *events.feed(read_chunk(encode({"choices": [{"delta": call(0, '{"a', "add")}]})))]
    told += events.fail(EngineCrashed("It died."))
    assert kinds(told)[2:] == ["output_item.added", "function_call_arguments.delta", "failed"]
    [cut] = told[-1]["response"]["output"]
    assert (cut["status"], cut["arguments"]) == ("incomplete", '{"a')


def test_a_failure_before_the_first_event_brings_the_first_ones() -> None:
    told = begin().fail(ContextLengthExceeded("Too long."))
    assert [event["type"] for event in told] == [*BEGIN, "response.failed"]
    assert told[-1]["response"]["error"]["code"] == "context_length_exceeded"


def test_signs_of_life() -> None:
    events = begin()
    told = [*events.beat(), *events.beat(), *events.start()]
    assert [event["type"] for event in told] == [*BEGIN, "response.in_progress"]
    assert [event["sequence_number"] for event in told] == [0, 1, 2]
