"""The JSON of an answer to told tools, read back while it grows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.dialects.chunks import ChunkChoice, Delta
from lanhaven.dialects.tools.offering import make_offer
from lanhaven.dialects.tools.reading import ChoiceReader
from lanhaven.errors import UpstreamError
from tests.dialects.tools.offers import ASKED, PLAIN, RESULT, USER, body, feed, offer, pieces_of

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
CUTS = st.lists(st.integers(0, 1000), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
CALLS = st.lists(st.tuples(st.sampled_from(["add", "now"]), st.dictionaries(TEXTS, VALUES, max_size=3)), min_size=1)
ADD = '{"tool_calls": [{"name": "add", "arguments": {"a": 2, "b": 3}}]}'


@given(CALLS, CUTS, st.booleans(), st.sampled_from([None, 2]), st.booleans())
def test_calls_are_read_back_wherever_they_are_cut(
    calls: list[tuple[str, Any]], cuts: list[int], ascii_only: bool, indent: int | None, late: bool
) -> None:
    listed = [{"name": name, "arguments": arguments} for name, arguments in calls]
    if late:
        listed = [dict(reversed(each.items())) for each in listed]
    text = json.dumps({"tool_calls": listed}, ensure_ascii=ascii_only, indent=indent)
    answer = feed(offer(PLAIN, parallel_tool_calls=True), pieces_of(text, cuts))
    assert (answer.calls, answer.words, answer.finish) == (calls, "", "tool_calls")
    assert len(set(answer.ids)) == len(calls)


@given(TEXTS, CUTS, st.booleans())
def test_words_are_read_back_wherever_they_are_cut(text: str, cuts: list[int], ascii_only: bool) -> None:
    line = json.dumps({"content": text}, ensure_ascii=ascii_only)
    answer = feed(offer(PLAIN), pieces_of(line, cuts))
    assert (answer.words, answer.calls, answer.finish) == (text, [], "stop")


@given(VALUES, CUTS)
def test_words_of_a_form_are_told_as_the_json_that_they_are(value: Any, cuts: list[int]) -> None:
    made = offer(PLAIN, response_format={"type": "json_object"})
    answer = feed(made, pieces_of(json.dumps({"content": value}), cuts))
    assert json.loads(answer.words) == value


def test_arguments_are_told_as_they_are_written() -> None:
    reader: ChoiceReader[None] = ChoiceReader(offer(PLAIN))
    told = [len(reader.feed(ChunkChoice(delta=Delta(content=piece)), None)) for piece in pieces_of(ADD, 4)]
    first = ADD.index("2") // 4
    assert sum(told[: first - 2]) == 0
    assert all(told[first : first + 3]), "each piece of the arguments is passed on at once"


def test_half_a_surrogate_pair_loses_nothing_else() -> None:
    assert feed(offer(PLAIN), ['{"content": "a\\ud83db\\udc00c"}']).words == "a\ufffdb\ufffdc"


def test_one_call_is_one_call() -> None:
    two = json.dumps({"tool_calls": [{"name": "now", "arguments": {}}] * 2})
    assert len(feed(offer(PLAIN), [two]).calls) == 1
    assert len(feed(offer(PLAIN, parallel_tool_calls=False), [two]).calls) == 1
    assert len(feed(offer(PLAIN, parallel_tool_calls=True), [two]).calls) == 2


@pytest.mark.parametrize("end", [7, 30, 45, 55])
def test_an_answer_that_is_cut_short_says_so(end: int) -> None:
    answer = feed(offer(PLAIN, tool_choice="required"), [ADD[:end]], "length")
    assert answer.finish == "length"
    assert not answer.words
    assert all(arguments != {"a": 2, "b": 3} for _, arguments in answer.calls)


def test_words_that_are_cut_short_are_told_as_far_as_they_came() -> None:
    answer = feed(offer(PLAIN), ['{"content": "The sea\\'], "length")
    assert (answer.words, answer.calls, answer.finish) == ("The sea", [], "length")


@pytest.mark.parametrize(
    "text",
    [
        ADD[:-8],
        '{"tool_calls": [{"name": "add", "arguments": {"a": nothing}}]}',
        '{"tool_calls": [{"name": "add", "arguments": [1]}]}',
        '{"tool_calls": [{"name": "sub", "arguments": {}}]}',
        '{"tool_calls": [{"arguments": {}, "call": "add"}]}',
    ],
)
def test_what_is_no_call_is_an_error(text: str) -> None:
    for size in (1, 5, 100):
        with pytest.raises(UpstreamError):
            feed(offer(PLAIN), pieces_of(text, size))


def test_a_server_that_does_not_hold_to_schemas_is_understood() -> None:
    assert feed(offer(PLAIN), ["Hel", "lo."]).words == "Hello."
    called = feed(offer(PLAIN), pieces_of('<tool_call>{"name": "now", "arguments": {}}</tool_call>', 5))
    assert (called.calls, called.words, called.finish) == ([("now", {})], "", "tool_calls")
    with pytest.raises(UpstreamError, match="without the tool call"):
        feed(offer(PLAIN, tool_choice="required"), ["Hello."])


def test_a_call_that_was_answered_is_not_made_again_and_another_is() -> None:
    made = make_offer(body(USER, ASKED, RESULT), PLAIN)
    assert made is not None
    reader: ChoiceReader[None] = ChoiceReader(made)
    same = '{"tool_calls": [{"name": "add", "arguments": {"b": 3, "a": 2}}]}'
    assert [reader.feed(ChunkChoice(delta=Delta(content=piece)), None) for piece in pieces_of(same, 9)] == [[]] * 8
    assert reader.feed(ChunkChoice(finish_reason="stop"), None) == []
    assert reader.repeated == {"add"}
    assert feed(made, pieces_of(same.replace("3", "4"), 9)).calls == [("add", {"a": 2, "b": 4})]
    assert feed(made, ['{"tool_calls": [{"name": "now", "arguments": {}}]}']).calls == [("now", {})]
