"""Calls that an engine left in the text: each family is read, wherever the stream is cut, and words pass at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lanhaven.dialects.chunks import ChunkChoice, Delta, FunctionDelta, ToolCallDelta
from lanhaven.dialects.tools.reading import ChoiceReader
from lanhaven.dialects.tools.watching import LIMIT
from lanhaven.errors import UpstreamError
from tests.dialects.tools.offers import NATIVE, REMOTE, Answer, feed, named, offer, pieces_of

ADD = [("add", {"a": 2, "b": 3})]
BOTH = [*ADD, ("now", {})]
ARGUMENTS = '{"a": 2, "b": 3}'
CALL = '{"name": "add", "arguments": {"a": 2, "b": 3}}'
CUTS = st.lists(st.integers(0, 1000), max_size=30)

FAMILIES = {
    "hermes": (f"<tool_call>\n{CALL}\n</tool_call>", ADD),
    "hermes, two": (f'<tool_call>{CALL}</tool_call>\n<tool_call>{{"name": "now"}}</tool_call>', BOTH),
    "hermes, not closed": (f"<tool_call>\n{CALL}<|im_end|>", ADD),
    "hermes, a bracket missing": (f"<tool_call>\n{CALL[:-1]}\n</tool_call>", ADD),
    "hermes, a bracket too many": (f"<tool_call>\n{CALL}}}\n</tool_call>", ADD),
    "hermes, as Python": ("<tool_call>{'name': 'add', 'arguments': {'a': 2, 'b': 3,}}</tool_call>", ADD),
    "hermes, arguments in a string": (
        '<tool_call>{"name": "add", "arguments": "{\\"a\\": 2, \\"b\\": 3}"}</tool_call>',
        ADD,
    ),
    "qwen 3 coder": (
        (
            "<tool_call>\n<function=add>\n<parameter=a>\n2\n</parameter>\n<parameter=b>\n3\n</parameter>\n</function>\n"
            "</tool_call>"
        ),
        ADD,
    ),
    "llama 3": ('{"name": "add", "parameters": {"a": 2, "b": 3}}', ADD),
    "llama 3, marked": ('<|python_tag|>{"name": "add", "parameters": {"a": 2, "b": 3}}<|eom_id|>', ADD),
    "llama 3, two": (f'<|python_tag|>{CALL}; {{"name": "now", "parameters": {{}}}}', BOTH),
    "llama 3, code": ("<|python_tag|>add.call(a=2, b=3)", ADD),
    "llama 3, function": (f"<function=add>{ARGUMENTS}</function>", ADD),
    "llama 4": ("[add(a=2, b=3), now()]", BOTH),
    "mistral": (f"[TOOL_CALLS][{CALL}]", ADD),
    "mistral, with ids": ('[TOOL_CALLS] [{"name": "add", "arguments": {"a": 2, "b": 3}, "id": "a1b2c3d4e"}]</s>', ADD),
    "mistral, newer": (f"[TOOL_CALLS]add[CALL_ID]a1b2[ARGS]{ARGUMENTS}[TOOL_CALLS]now[ARGS]{{}}", BOTH),
    "deepseek": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>add\n```json\n" + ARGUMENTS + "\n```"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
        ADD,
    ),
    "deepseek 3.1": (
        (
            f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{ARGUMENTS}<｜tool▁call▁end｜>"
            "<｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        ),
        BOTH,
    ),
    "functionary": (f">>>add\n{ARGUMENTS}", ADD),
    "xlam": (f'[{CALL}, {{"name": "now", "arguments": {{}}}}]', BOTH),
    "xlam, an object": (f'{{"tool_calls": [{CALL}]}}', ADD),
    "phi": (f"functools[{CALL}]", ADD),
    "openai": ('{"type": "function", "function": {"name": "add", "arguments": "{\\"a\\": 2, \\"b\\": 3}"}}', ADD),
    "fenced": (f"```json\n{CALL}\n```\n", ADD),
    "fenced, a list": (f"```\n[{CALL}]\n```", ADD),
    "a longer name": ('{"name": "functions.add", "arguments": {"a": 2, "b": 3}}', ADD),
}
WORDS = [
    "Hello, you.",
    '{"name": "Ava", "age": 33}',
    '{"city": "Paris"}',
    "```python\nprint(1)\n```",
    "[1, 2, 3]",
    "[a link](https://example.org)",
    "<p>One</p>",
    "<think>I call add.</think>Four.",
    ">>> 1 + 1\n2",
    '{"name": "add"}',
    f"{CALL} is how a call looks.",
    f"```json\n{CALL}\n```\nThat is a call.",
    '{"type": "object", "properties": {}}',
    '{"arguments": [1, 2]}',
    "[add]",
    "   ",
    "",
    "{",
]


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15)
@given(cuts=CUTS)
def test_a_call_in_the_text_becomes_a_call(family: str, cuts: list[int]) -> None:
    text, calls = FAMILIES[family]
    for before in ("", "\n"):
        answer = feed(offer(NATIVE), pieces_of(before + text, cuts))
        assert (answer.calls, answer.words, answer.finish) == (calls, "", "tool_calls")
        assert len(set(answer.ids)) == len(calls)


@pytest.mark.parametrize("text", WORDS)
@settings(max_examples=15)
@given(cuts=CUTS)
def test_words_stay_words(text: str, cuts: list[int]) -> None:
    answer = feed(offer(NATIVE), pieces_of(text, cuts))
    assert (answer.words, answer.calls, answer.finish) == (text, [], "stop")


@given(st.text(st.sampled_from('{}[]"`:,><|=_ \nnamefuctioladrgs1'), max_size=60), CUTS)
def test_no_text_gets_lost(text: str, cuts: list[int]) -> None:
    try:
        answer = feed(offer(NATIVE), pieces_of(text, cuts))
    except UpstreamError:
        return
    assert answer.calls or answer.words == text


@pytest.mark.parametrize(
    ("text", "held"),
    [("Hello", 0), ("{ {", 0), ('{"na', 4), ('{"nau', 0), ('{"name": "ad', 12), ('{"name": "ax', 0), ("```js", 5),
     ("```rust", 0), ("<b", 0), ("<tool", 5), ("[T", 2), ("[1", 0), ("[ad", 3), ("[ax", 0), ("`x`", 0)],
)  # fmt: skip
def test_text_is_held_back_only_while_it_may_become_a_call(text: str, held: int) -> None:
    reader: ChoiceReader[str] = ChoiceReader(offer(NATIVE))
    passed = [each for piece in text for each in reader.feed(ChunkChoice(delta=Delta(content=piece)), piece)]
    assert len(passed) == len(text) - held


def test_what_passes_is_what_came() -> None:
    reader: ChoiceReader[ChunkChoice] = ChoiceReader(offer(NATIVE))
    said = [ChunkChoice(delta=Delta(content=piece)) for piece in ("<", "tool", "box>", " is", " a tag")]
    said += [ChunkChoice(delta=Delta(reasoning_content="hm")), ChunkChoice(finish_reason="stop")]
    out = [each for choice in said for each in reader.feed(choice, choice)]
    assert all(one is another for one, another in zip(out, said, strict=True))
    assert reader.idle


def test_thoughts_pass_at_once_and_a_call_behind_them_is_a_call() -> None:
    pieces = ["<think>", "I add", " 2 and 3.", f"</think>\n\n{CALL[:10]}", CALL[10:]]
    reader: ChoiceReader[ChunkChoice] = ChoiceReader(offer(NATIVE))
    said = [ChunkChoice(delta=Delta(content=piece)) for piece in pieces]
    assert [len(reader.feed(choice, choice)) for choice in said] == [1, 1, 1, 0, 0]
    answer = Answer([*reader.feed(ChunkChoice(finish_reason="stop"), said[0])])
    assert (answer.calls, answer.words) == (ADD, "</think>")


def test_words_behind_a_marked_call_are_told_too() -> None:
    answer = feed(offer(NATIVE), [f"<tool_call>{CALL}</tool_call>\nI add them."])
    assert (answer.calls, answer.words) == (ADD, "I add them.")


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "sub", "arguments": {}}</tool_call>',
        "<tool_call>add 2 and 3</tool_call>",
        '{"name": "add", "arguments": "two"}',
        '[TOOL_CALLS][{"name": "add", "arguments": {"a": "tw',
        "[add(2, 3)]",
        "<|python_tag|>import os",
    ],
)
def test_a_call_that_cannot_be_read_is_an_error(text: str) -> None:
    with pytest.raises(UpstreamError) as failed:
        feed(offer(NATIVE), pieces_of(text, 3))
    assert failed.value.facts.get("answer", text) == text


def test_half_a_call_is_no_call() -> None:
    answer = feed(offer(NATIVE), pieces_of(FAMILIES["hermes"][0][:40], 3), "length")
    assert (answer.calls, answer.finish) == ([], "length")
    assert answer.words == FAMILIES["hermes"][0][:40]


def test_json_that_was_asked_for_is_no_call() -> None:
    answer = feed(offer(REMOTE, response_format={"type": "json_object"}), [CALL])
    assert (answer.words, answer.calls) == (CALL, [])


def test_a_text_without_end_is_not_held() -> None:
    pieces = ['{"arguments": "', *["x" * 1000] * (LIMIT // 1000 + 1), "y"]
    reader: ChoiceReader[str] = ChoiceReader(offer(NATIVE))
    assert [reader.feed(ChunkChoice(delta=Delta(content=piece)), piece) for piece in pieces][-1] == ["y"]


# ---- calls that come as calls


def native(*calls: ToolCallDelta, finish: str | None = None) -> ChunkChoice:
    return ChunkChoice(delta=Delta(tool_calls=list(calls) or None), finish_reason=finish)


def called(index: int, call_id: str | None, name: str | None, arguments: str = "{}") -> ToolCallDelta:
    return ToolCallDelta(index, call_id, FunctionDelta(name, arguments))


TWO = [native(called(0, "a", "add")), native(called(1, "b", "now")), native(finish="tool_calls")]


def test_calls_that_come_as_calls_pass_as_they_are() -> None:
    reader: ChoiceReader[ChunkChoice] = ChoiceReader(offer(NATIVE))
    assert [each for choice in TWO for each in reader.feed(choice, choice)] == TWO


@pytest.mark.parametrize(
    "said",
    [
        TWO,
        [native(called(0, "a", "add")), native(called(0, "b", "now")), native(finish="tool_calls")],
        [native(called(0, "a", "add"), called(1, "b", "now"), finish="tool_calls")],
    ],
)
def test_one_call_where_one_is_allowed(said: list[ChunkChoice]) -> None:
    reader: ChoiceReader[ChunkChoice] = ChoiceReader(offer(NATIVE, parallel_tool_calls=False))
    out = [each for choice in said for each in reader.feed(choice, choice)]
    calls = [call for each in out for call in each.delta.tool_calls or ()]
    assert [call.id for call in calls] == ["a"]
    assert out[-1].finish_reason == "tool_calls"


def test_one_call_of_those_in_a_text() -> None:
    assert len(feed(offer(NATIVE, parallel_tool_calls=False), [FAMILIES["xlam"][0]]).calls) == 1


@pytest.mark.parametrize("choice", ["required", named("add")])
def test_a_required_call_that_does_not_come_is_an_error(choice: Any) -> None:
    made = offer(REMOTE, tool_choice=choice)
    with pytest.raises(UpstreamError, match="without the tool call"):
        feed(made, ["Five."])
    assert feed(made, ["Five."], "length").finish == "length"
    assert feed(made, [CALL]).calls == ADD


def test_another_call_than_the_named_one_is_an_error() -> None:
    reader: ChoiceReader[None] = ChoiceReader(offer(REMOTE, tool_choice=named("add")))
    with pytest.raises(UpstreamError, match="now"):
        reader.feed(native(called(0, "a", "now")), None)
