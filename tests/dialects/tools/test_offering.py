"""What a request offers, to whom: told in words or passed on, and what the model is held to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lanhaven.dialects.tools.offering import make_offer, must_be_told
from lanhaven.dialects.tools.schemas import check_schema
from lanhaven.dialects.tools.telling import told_messages
from lanhaven.errors import InvalidRequest
from lanhaven.types.models import ModelInfo
from tests.dialects.tools.offers import ASKED, CALL, NATIVE, PLAIN, REMOTE, RESULT, TOOLS, USER, body, named, offer

FORM: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "a", "schema": {"type": "object", "properties": {}}},
}


def names(told: dict[str, Any]) -> list[str]:
    """The tools that the schema lets the model call."""
    schema = told["response_format"]["json_schema"]["schema"]
    calls = schema["anyOf"][0] if "anyOf" in schema else schema
    items = calls["properties"]["tool_calls"]["items"]["anyOf"]
    return [each["properties"]["name"]["const"] for each in items]


def test_only_models_whose_template_knows_no_tools_are_told() -> None:
    assert must_be_told(PLAIN)
    assert not must_be_told(NATIVE)
    assert not must_be_told(ModelInfo("a", "p"))


def test_the_tools_stand_in_the_system_message_and_in_the_schema() -> None:
    request = body({"role": "system", "content": "Be kind."}, USER)
    assert make_offer(request, PLAIN) is not None
    assert "tools" not in request
    assert request["messages"][0]["content"].startswith("Be kind.\n\nYou can call these tools:")
    assert '"Add two numbers"' in request["messages"][0]["content"]
    assert names(request) == ["add", "now"]


@pytest.mark.parametrize("info", [PLAIN, NATIVE])
def test_the_model_may_talk_unless_a_call_is_required(info: ModelInfo) -> None:
    for choice, tools in (("required", ["add", "now"]), (named("now"), ["now"])):
        request = body(USER, tool_choice=choice)
        made = make_offer(request, info)
        assert made is not None
        assert made.must
        assert names(request) == tools
        assert "anyOf" not in request["response_format"]["json_schema"]["schema"], "it may say nothing else"
    assert "anyOf" in offer(PLAIN).format()["json_schema"]["schema"]


def test_an_engines_own_way_is_taken_where_it_works() -> None:
    request = body(USER, parallel_tool_calls=False)
    made = make_offer(request, NATIVE)
    assert made is not None
    assert not made.told
    assert made.one
    assert request == body(USER, parallel_tool_calls=False)


@pytest.mark.parametrize("choice", ["required", named("add"), "auto"])
def test_another_server_gets_what_the_client_said(choice: Any) -> None:
    request = body(USER, tool_choice=choice)
    made = make_offer(request, REMOTE)
    assert made is not None
    assert (made.told, made.must) == (False, choice != "auto")
    assert request == body(USER, tool_choice=choice)


@pytest.mark.parametrize("info", [PLAIN, NATIVE, REMOTE])
def test_none_means_that_the_model_never_hears_of_them(info: ModelInfo) -> None:
    request = body(USER, tool_choice="none", parallel_tool_calls=True)
    assert make_offer(request, info) is None
    assert request == {"messages": [USER]}


@pytest.mark.parametrize(
    ("choice", "tools"),
    [
        ("sometimes", TOOLS),
        (3, TOOLS),
        (named("sub"), TOOLS),
        ("required", []),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("sub")]}}, TOOLS),
    ],
)
def test_a_choice_that_cannot_be_is_refused(choice: Any, tools: list[Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make_offer(body(USER, tools=tools, tool_choice=choice), PLAIN)
    assert refused.value.param == "tool_choice"


def test_a_choice_of_several() -> None:
    allowed = {"mode": "required", "tools": [named("now")]}
    made = offer(PLAIN, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert (made.names, made.must) == ({"now"}, True)


def test_the_same_tool_can_be_called_again() -> None:
    request = body(USER, ASKED, RESULT)
    made = make_offer(request, PLAIN)
    assert made is not None
    assert names(request) == ["add", "now"]
    assert len(made.done) == 1
    assert [each["role"] for each in request["messages"]] == ["system", "user", "assistant", "user"]
    assert json.loads(request["messages"][2]["content"]) == {
        "tool_calls": [{"name": "add", "arguments": {"a": 2, "b": 3}}]
    }
    assert request["messages"][3]["content"] == "Result of add: 5"


def test_a_new_question_forgets_what_was_answered() -> None:
    made = make_offer(body(USER, ASKED, RESULT, {"role": "assistant", "content": "5"}, USER), PLAIN)
    assert made is not None
    assert not made.done


def test_several_answers_are_not_asked_for_once_more() -> None:
    request = body(USER, ASKED, RESULT, n=2)
    assert make_offer(request, PLAIN) is not None
    assert names(request) == ["now"]
    request = body(USER, ASKED, RESULT, n=2, tools=TOOLS[:1])
    assert make_offer(request, PLAIN) is None
    assert "response_format" not in request


def test_results_that_follow_one_another_are_one_message() -> None:
    request = body(USER, ASKED, RESULT, {**RESULT, "content": "6"}, tool_choice="none")
    assert make_offer(request, PLAIN) is None
    assert request["messages"][-1]["content"] == "Result of add: 5\nResult of add: 6\nNow answer the question."


def test_a_history_is_told_in_words_though_no_tools_are_given() -> None:
    request: dict[str, Any] = {"messages": [USER, ASKED, RESULT]}
    assert make_offer(request, PLAIN) is None
    assert [each["role"] for each in request["messages"]] == ["user", "assistant", "user"]
    request = {"messages": [USER, ASKED, RESULT]}
    assert make_offer(request, NATIVE) is None
    assert request == {"messages": [USER, ASKED, RESULT]}


def test_messages_in_other_forms_are_understood_or_refused() -> None:
    parts = [{"type": "text", "text": "5"}, {"type": "text", "text": "!"}]
    nameless = {"role": "assistant", "content": "hm", "tool_calls": [{"id": "c0"}, "x"]}
    request = body(USER, nameless, ASKED, {**RESULT, "content": parts}, {"role": "tool"}, tool_choice="none")
    make_offer(request, PLAIN)
    assert [each["content"] for each in request["messages"]][1] == "hm"
    assert request["messages"][-1]["content"].startswith("Result of add: 5!\nResult of the tool: ")
    with pytest.raises(InvalidRequest, match="name"):
        make_offer(body(USER, tools=[{"type": "function", "function": {}}]), PLAIN)
    with pytest.raises(InvalidRequest, match="custom"):
        make_offer(body(USER, tools=[{"type": "custom", "custom": {"name": "x"}}]), PLAIN)


def test_arguments_that_are_no_json_are_told_as_text() -> None:
    odd = {**CALL, "function": {"name": "add", "arguments": "two"}}
    request = body(USER, {**ASKED, "content": "So:", "tool_calls": [odd]}, RESULT)
    make_offer(request, PLAIN)
    said, _, calls = request["messages"][2]["content"].partition("\n")
    assert said == "So:"
    assert json.loads(calls)["tool_calls"][0]["arguments"] == "two"


@pytest.mark.parametrize("info", [PLAIN, NATIVE])
def test_words_of_a_form_beside_tools(info: ModelInfo) -> None:
    request = body(USER, response_format=FORM)
    made = make_offer(request, info)
    assert made is not None
    assert made.told
    calls, words = request["response_format"]["json_schema"]["schema"]["anyOf"]
    assert calls["required"] == ["tool_calls"]
    assert words["properties"]["content"] == FORM["json_schema"]["schema"]


def test_definitions_of_two_schemas_do_not_meet() -> None:
    def tool(name: str, item: dict[str, Any]) -> dict[str, Any]:
        schema = {"type": "object", "properties": {"x": {"$ref": "#/$defs/I"}}, "$defs": {"I": item}}
        return {"type": "function", "function": {"name": name, "parameters": schema}}

    tree = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    tools = [tool("a", {"const": 1}), tool("b", {"const": 2}), tool("c", {})]
    tools[2]["function"]["parameters"] = tree
    request = body(USER, tools=tools)
    make_offer(request, PLAIN)
    schema = request["response_format"]["json_schema"]["schema"]
    items = schema["anyOf"][0]["properties"]["tool_calls"]["items"]["anyOf"]
    refs = [each["properties"]["arguments"]["properties"] for each in items]
    first, second, third = (next(iter(each.values()))["$ref"].removeprefix("#/$defs/") for each in refs)
    assert (schema["$defs"][first], schema["$defs"][second]) == ({"const": 1}, {"const": 2})
    assert schema["$defs"][third]["properties"]["next"] == {"$ref": f"#/$defs/{third}"}


@pytest.mark.req("F-126")
def test_definitions_that_lead_on_and_on_are_moved() -> None:
    row = {f"{n}": {"type": "object", "properties": {"next": {"$ref": f"#/$defs/{n + 1}"}}} for n in range(700)}
    parameters = {"$ref": "#/$defs/0", "$defs": row | {"700": {"type": "string"}}}
    request = body(USER, tools=[{"type": "function", "function": {"name": "walk", "parameters": parameters}}])
    assert make_offer(request, PLAIN) is not None
    schema = request["response_format"]["json_schema"]["schema"]
    assert len(schema["$defs"]) == 701
    check_schema(schema, "schema")


@pytest.mark.req("F-124")
def test_many_results_are_one_message_made_at_once() -> None:
    """Added one by one they were copied as often: 33 s for 8 MB."""
    results = [{"role": "tool", "tool_call_id": "a", "content": "y" * 1000} for _ in range(10_000)]
    told = told_messages([USER, *results, USER, results[0]], None)
    assert [each["role"] for each in told] == ["user"] * 4
    assert told[1]["content"].count("Result of the tool: ") == 10_000
    assert told[3]["content"].endswith("Now answer the question.")
