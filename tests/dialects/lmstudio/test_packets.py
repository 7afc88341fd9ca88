"""Chunks of an OpenAI stream as LM Studio's packets."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.dialects.chunks import Chunk, read_chunk
from lanhaven.dialects.lmstudio.ws.packets import Packets, stop_reason
from lanhaven.types.chat import Usage
from lanhaven.wire import encode

TAGS = ("<think>", "</think>")


def chunk(delta: dict[str, Any] | None = None, **more: Any) -> Chunk:
    choices = [] if delta is None else [{"index": 0, "delta": delta}]
    return read_chunk(encode({"choices": choices, **more}))


def progress(total: int, cache: int, processed: int) -> Chunk:
    return chunk(prompt_progress={"total": total, "cache": cache, "processed": processed})


def call(index: int = 0, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, **more}]}


def told(*chunks: Chunk, tags: tuple[str, str] | None = TAGS) -> list[dict[str, Any]]:
    packets = Packets(tags)
    return [*(packet for each in chunks for packet in packets.read(each)), *packets.end()]


def fragments(*chunks: Chunk, tags: tuple[str, str] | None = TAGS) -> list[tuple[str, str, int]]:
    found = [each["fragment"] for each in told(*chunks, tags=tags) if each["type"] == "fragment"]
    return [(each["content"], each["reasoningType"], each["tokensCount"]) for each in found]


def test_progress_counts_what_was_cached_apart() -> None:
    found = told(progress(100, 20, 20), progress(100, 20, 60), progress(100, 20, 60), progress(100, 20, 100))
    assert [each["progress"] for each in found] == [0.0, 0.5, 1.0]
    for each in found:
        details = each["details"]
        parts = ("cachedTokenCount", "processedPromptTokenCount", "unprocessedPromptTokenCount")
        assert details["totalPromptTokenCount"] == sum(details[name] for name in parts) == 100


@pytest.mark.req("F-046")
def test_nonsense_of_an_engine_is_left_aside() -> None:
    (huge,) = told(progress(10**400, -1, 5))
    assert huge["progress"] == 1.0
    for logprobs in (True, {"content": 7}, {"content": [None]}, {"content": [{"top_logprobs": 3}]}):
        read = read_chunk(encode({"choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": logprobs}]}))
        assert [each["fragment"]["content"] for each in told(read) if each["type"] == "fragment"] == ["hi"]


def test_a_prompt_that_is_all_cached_is_done() -> None:
    assert told(progress(5, 5, 5))[0]["progress"] == 1.0


def test_the_first_token_ends_the_prompt_where_progress_was_told() -> None:
    found = told(progress(10, 0, 4), chunk({"content": "a"}))
    assert [each.get("progress") for each in found] == [0.4, 1.0, None]
    assert [each["type"] for each in told(chunk({"content": "a"}))] == ["fragment"]


def test_a_fragment_has_all_that_clients_require() -> None:
    (packet,) = told(chunk({"content": "a"}))
    assert packet["fragment"] == {
        "content": "a",
        "tokensCount": 1,
        "containsDrafted": False,
        "reasoningType": "none",
        "isStructural": False,
    }


def test_a_text_completion_makes_fragments_too() -> None:
    assert fragments(read_chunk(b'{"choices": [{"index": 0, "text": "a"}]}')) == [("a", "none", 1)]


def test_reasoning_stands_between_its_tags() -> None:
    thoughts = [chunk({"reasoning_content": "so"}), chunk({"reasoning": "hm"})]
    assert fragments(*thoughts, chunk({"content": "5"})) == [
        ("<think>", "reasoningStartTag", 0),
        ("so", "reasoning", 1),
        ("hm", "reasoning", 1),
        ("</think>", "reasoningEndTag", 0),
        ("5", "none", 1),
    ]
    assert fragments(thoughts[0])[-1] == ("</think>", "reasoningEndTag", 0)


def test_reasoning_that_is_not_to_be_told_apart() -> None:
    assert fragments(chunk({"reasoning_content": "so"}), tags=None) == [("so", "none", 1)]


def test_log_probabilities_come_with_their_tokens() -> None:
    content = [{"id": 3, "token": "a", "logprob": -1.5, "top_logprobs": [{"id": 4, "token": "b", "logprob": -2.0}]}]
    found = read_chunk(encode({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": content}}]}))
    (packet,) = told(found)
    assert packet["fragment"]["tokens"] == [
        {"text": "a", "id": 3, "logProb": -1.5, "candidates": [{"text": "b", "id": 4, "logProb": -2.0}]}
    ]


def test_a_tool_call_from_its_start_to_its_end() -> None:
    found = told(
        chunk(call(id="c1", function={"name": "add", "arguments": ""})),
        chunk(call(function={"arguments": '{"a": 2, '})),
        chunk(call(function={"arguments": '"b": 3}'})),
    )
    assert [each["type"].removeprefix("toolCallGeneration") for each in found] == [
        "Start",
        "NameReceived",
        "ArgumentFragmentGenerated",
        "ArgumentFragmentGenerated",
        "End",
    ]
    assert found[0]["toolCallId"] == "c1"
    assert found[1]["name"] == "add"
    assert found[-1]["toolCallRequest"] == {
        "id": "c1",
        "type": "function",
        "name": "add",
        "arguments": {"a": 2, "b": 3},
    }


@pytest.mark.parametrize("second", [0, 1])
def test_a_second_call_ends_the_first_one_even_under_the_same_index(second: int) -> None:
    found = told(
        chunk(call(id="c1", function={"name": "add", "arguments": "{}"})),
        chunk(call(second, id="c2", function={"name": "now"})),
    )
    ends = [each["toolCallRequest"] for each in found if each["type"] == "toolCallGenerationEnd"]
    assert [(each["name"], each["id"], each["arguments"]) for each in ends] == [("add", "c1", {}), ("now", "c2", {})]


@pytest.mark.parametrize(("name", "arguments"), [("add", '{"a": '), ("add", "[1]"), ("", "{}")])
def test_a_call_that_cannot_be_read_is_told_to_have_failed(name: str, arguments: str) -> None:
    packets = Packets(TAGS)
    begun = list(packets.read(chunk(call(id="c1", function={"name": name, "arguments": arguments}))))
    (failed,) = packets.end()
    assert begun
    assert failed["type"] == "toolCallGenerationFailed"
    assert failed["rawContent"] == arguments
    assert not packets.called


def test_a_silence_is_filled_with_what_is_known() -> None:
    packets = Packets(TAGS)
    assert packets.still_there()["progress"] == 0.0
    list(packets.read(progress(10, 0, 5)))
    assert packets.still_there()["progress"] == 0.5
    assert packets.prompt_tokens == 10


@pytest.mark.parametrize(
    ("finish", "predicted", "limit", "verbose", "reason"),
    [
        ("stop", 3, None, None, "eosFound"),
        ("stop", 3, None, {"stop_type": "eos", "stopping_word": ""}, "eosFound"),
        ("stop", 3, None, {"stop_type": "word", "stopping_word": "x"}, "stopStringFound"),
        ("length", 5, 5, None, "maxPredictedTokensReached"),
        ("length", 0, 5, None, "maxPredictedTokensReached"),
        ("length", 3, 5, None, "contextLengthReached"),
        ("length", 3, None, None, "contextLengthReached"),
        ("tool_calls", 3, None, None, "toolCalls"),
    ],
)
def test_why_it_stopped(finish: str, predicted: int, limit: int | None, verbose: Any, reason: str) -> None:
    packets = Packets(TAGS, verbose=verbose or {})
    found = stop_reason(packets, finish, Usage(completion_tokens=predicted), limit)
    assert found["stopReason"] == reason
    assert found.get("stopString") == ("x" if reason == "stopStringFound" else None)
