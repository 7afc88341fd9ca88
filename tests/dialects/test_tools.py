"""Tools for models whose template knows none: what they are told, and what is read back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.dialects.chunks import Chunk, ChunkChoice, Delta
from lanhaven.dialects.tools import Told, must_be_told, tell
from lanhaven.errors import InvalidRequest
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


def body(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), "tools": TOOLS, **more}


def names(told: dict[str, Any]) -> list[str]:
    """The tools that the schema lets the model call."""
    schema = told["response_format"]["json_schema"]["schema"]
    calls = schema["anyOf"][0] if "anyOf" in schema else schema
    items = calls["properties"]["tool_calls"]["items"]["anyOf"]
    return [each["properties"]["name"]["const"] for each in items]


async def read(told: Told, text: str, finish: str = "stop", piece: int = 3) -> tuple[str, list[Any], str | None]:
    """Text, calls and finish reason of an answer that comes in pieces."""

    async def source() -> AsyncIterator[Chunk]:
        for start in range(0, len(text), piece):
            yield Chunk(choices=[ChunkChoice(delta=Delta(content=text[start : start + piece]))])
        yield Chunk(choices=[ChunkChoice(finish_reason=finish)])
        yield Chunk(usage={"completion_tokens": 1})

    choices = [each for chunk in [chunk async for chunk in told.read(source())] for each in chunk.choices]
    words = "".join(each.delta.content or "" for each in choices)
    calls = [call for each in choices for call in each.delta.tool_calls or ()]
    return words, calls, choices[-1].finish_reason


def test_only_models_whose_template_knows_no_tools_are_told() -> None:
    assert must_be_told(ModelInfo("a", "p", capabilities=frozenset({"chat"})))
    assert not must_be_told(ModelInfo("a", "p", capabilities=frozenset({"chat", "tools"})))
    assert not must_be_told(ModelInfo("a", "p"))


def test_the_tools_stand_in_the_system_message_and_in_the_schema() -> None:
    request = body({"role": "system", "content": "Be kind."}, USER)
    assert tell(request) is not None
    assert "tools" not in request
    assert request["messages"][0]["content"].startswith("Be kind.\n\nYou can call these tools:")
    assert '"Add two numbers"' in request["messages"][0]["content"]
    assert names(request) == ["add", "now"]


def test_the_model_may_talk_unless_a_call_is_required() -> None:
    free, bound, named = body(USER), body(USER, tool_choice="required"), body(USER)
    named["tool_choice"] = {"type": "function", "function": {"name": "now"}}
    assert all(tell(each) for each in (free, bound, named))
    schemas = [each["response_format"]["json_schema"]["schema"] for each in (free, bound, named)]
    assert ["anyOf" in each for each in schemas] == [True, False, False]
    assert names(named) == ["now"]


def test_a_tool_that_has_answered_is_not_offered_again() -> None:
    request = body(USER, ASKED, RESULT)
    assert tell(request) is not None
    assert names(request) == ["now"]
    assert [each["role"] for each in request["messages"]] == ["system", "user", "assistant", "user"]
    assert json.loads(request["messages"][2]["content"]) == {
        "tool_calls": [{"name": "add", "arguments": {"a": 2, "b": 3}}]
    }
    assert request["messages"][3]["content"] == "Result of add: 5"


def test_with_nothing_left_to_call_the_model_is_asked_for_the_answer() -> None:
    request = body(USER, ASKED, RESULT, tools=TOOLS[:1])
    assert tell(request) is None
    assert "response_format" not in request
    assert request["messages"][-1]["content"] == "Result of add: 5\nNow answer the question."


def test_a_new_question_offers_all_tools_again() -> None:
    request = body(USER, ASKED, RESULT, {"role": "assistant", "content": "5"}, USER)
    assert tell(request) is not None
    assert names(request) == ["add", "now"]


def test_results_that_follow_one_another_are_one_message() -> None:
    request = body(USER, ASKED, RESULT, {**RESULT, "content": "6"}, tool_choice="none")
    assert tell(request) is None
    assert request["messages"][-1]["content"] == "Result of add: 5\nResult of add: 6\nNow answer the question."


def test_messages_in_other_forms_are_understood_or_refused() -> None:
    parts = [{"type": "text", "text": "5"}, {"type": "text", "text": "!"}]
    nameless = {"role": "assistant", "content": "hm", "tool_calls": [{"id": "c0"}, "x"]}
    request = body(USER, nameless, ASKED, {**RESULT, "content": parts}, {"role": "tool"}, tool_choice="none")
    tell(request)
    assert [each["content"] for each in request["messages"]][1] == "hm"
    assert request["messages"][-1]["content"].startswith("Result of add: 5!\nResult of the tool: ")
    with pytest.raises(InvalidRequest, match="name"):
        tell(body(USER, tools=[{"type": "function", "function": {}}]))


def test_arguments_that_are_no_json_are_told_as_text() -> None:
    odd = {**CALL, "function": {"name": "add", "arguments": "two"}}
    request = body(USER, {**ASKED, "content": "So:", "tool_calls": [odd]}, RESULT)
    tell(request)
    said, _, calls = request["messages"][2]["content"].partition("\n")
    assert said == "So:"
    assert json.loads(calls)["tool_calls"][0]["arguments"] == "two"


def test_tools_and_a_format_of_the_answer_exclude_each_other() -> None:
    with pytest.raises(InvalidRequest, match="not both"):
        tell(body(USER, response_format={"type": "json_object"}))


@pytest.mark.anyio
async def test_calls_are_read_back() -> None:
    text = '{\n "tool_calls": [{"name": "add", "arguments": {"a": 2,\n "b": 3}}]}'
    words, calls, finish = await read(Told(), text)
    assert (words, finish) == ("", "tool_calls")
    assert [(each.function.name, json.loads(each.function.arguments)) for each in calls] == [("add", {"a": 2, "b": 3})]
    assert calls[0].id.startswith("call_")


@pytest.mark.anyio
async def test_calls_that_are_cut_short_are_told_as_they_are() -> None:
    _, calls, finish = await read(Told(), '{"tool_calls": [{"name": "add", "argu', "length")
    assert finish == "length"
    assert (calls[0].function.name, calls[0].function.arguments) == ("", '{"tool_calls": [{"name": "add", "argu')


@pytest.mark.anyio
async def test_words_that_are_cut_short_are_told_as_far_as_they_came() -> None:
    assert await read(Told(), '{"content": "The sea\\', "length") == ("The sea", [], "length")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(TEXTS, st.integers(1, 12), st.booleans())
def test_words_are_read_back_wherever_they_are_cut(text: str, piece: int, ascii_only: bool) -> None:
    reader = Told()
    line = json.dumps({"content": text}, ensure_ascii=ascii_only)
    got = "".join(reader.feed(line[start : start + piece]) for start in range(0, len(line), piece))
    assert got == text


def test_half_a_surrogate_pair_loses_nothing_else() -> None:
    assert Told().feed('{"content": "a\\ud83db\\udc00c"}') == "a\ufffdb\ufffdc"
