"""Responses requests as OpenAI chat requests."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanhaven.dialects.responses.request import Asked, read_request
from lanhaven.errors import ClientError, InvalidRequest, UnsupportedFeature

PIXEL = "data:image/png;base64,iVBORw0KGgo="
ADD: dict[str, Any] = {"type": "function", "name": "add", "parameters": {"type": "object"}}
PATCH: dict[str, Any] = {"type": "custom", "name": "patch", "description": "Change a file."}
SPACE: dict[str, Any] = {"type": "namespace", "name": "agents", "description": "d", "tools": [{**ADD, "name": "stop"}]}
SEARCH: dict[str, Any] = {"type": "web_search", "external_web_access": False}


def asked(**fields: Any) -> Asked:
    return read_request({"model": "m", "input": "hi", **fields})


def chat(**fields: Any) -> dict[str, Any]:
    return asked(**fields).chat([])


def said(*items: dict[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = chat(input=list(items))["messages"]
    return messages


def user(*parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": list(parts)}


def text(words: str) -> dict[str, Any]:
    return {"type": "input_text", "text": words}


def call(arguments: str = '{"a":1}', **fields: Any) -> dict[str, Any]:
    return {"type": "function_call", "call_id": "c1", "name": "add", "arguments": arguments, **fields}


def result(output: Any = "2", **fields: Any) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": "c1", "output": output, **fields}


def test_a_string_is_what_the_user_says() -> None:
    assert chat()["messages"] == [{"role": "user", "content": "hi"}]
    assert chat()["stream"] is False


def test_instructions_and_developers_are_one_system_message() -> None:
    messages = chat(instructions="a", input=[{"role": "developer", "content": "b"}, {"role": "user", "content": "c"}])
    assert messages["messages"] == [{"role": "system", "content": "a\n\nb"}, {"role": "user", "content": "c"}]


def test_what_the_user_says_in_a_row_is_one_message() -> None:
    assert said(user(text("a")), user(text("b"), text("c"))) == [{"role": "user", "content": "a\n\nb\n\nc"}]


def test_a_turn_with_thoughts_text_and_calls_is_one_message() -> None:
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    answer = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]}
    other = call(call_id="c2", namespace="agents", name="stop")
    assert said(user(text("q")), thought, answer, call(), other, result(), result("ok", call_id="c2"))[1:] == [
        {
            "role": "assistant",
            "content": "so",
            "reasoning_content": "hm",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                {"id": "c2", "type": "function", "function": {"name": "agents__stop", "arguments": '{"a":1}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "tool", "tool_call_id": "c2", "content": "ok"},
    ]


def test_thoughts_that_were_sealed_here_are_read_again() -> None:
    ours = {"type": "reasoning", "summary": [], "encrypted_content": "lanhaven1:hm"}
    theirs = {"type": "reasoning", "summary": [], "encrypted_content": "gAAAAAB"}
    assert said(user(text("q")), ours, call())[1]["reasoning_content"] == "hm"
    assert "reasoning_content" not in said(user(text("q")), theirs, call())[1]


def test_arguments_that_are_no_json_are_told_as_what_they_are() -> None:
    told = said(user(text("q")), call('{"a":'))[1]["tool_calls"][0]["function"]["arguments"]
    assert told == '{"invalid_json":"{\\"a\\":"}'
    assert said(user(text("q")), call(""))[1]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_pictures() -> None:
    picture = {"type": "input_image", "image_url": PIXEL, "detail": "auto"}
    part = {"type": "image_url", "image_url": {"url": PIXEL, "detail": "auto"}}
    assert said(user(text("see"), picture)) == [{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]
    shown = said(user(text("q")), call(), result([text("here"), picture]), result("ok", call_id="c2"))
    assert [each["role"] for each in shown] == ["user", "assistant", "tool", "tool", "user"]
    assert shown[2]["content"] == "here"
    assert shown[4]["content"] == [part]


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.png", "file:///etc/passwd"])
def test_what_an_address_is_worth_is_judged_elsewhere(url: str) -> None:
    (told,) = said(user({"type": "input_image", "image_url": url}))
    assert told["content"] == [{"type": "image_url", "image_url": {"url": url}}]


def test_an_empty_input_is_an_empty_question() -> None:
    nothing: list[str | list[Any]] = ["", []]
    for empty in nothing:
        assert chat(input=empty, max_output_tokens=1) == {
            "messages": [{"role": "user", "content": ""}],
            "max_tokens": 1,
            "stream": False,
        }


def test_functions_namespaces_and_custom_tools() -> None:
    read = asked(tools=[ADD, SPACE, PATCH])
    functions = {each["function"]["name"]: each["function"] for each in read.chat([])["tools"]}
    assert list(functions) == ["add", "agents__stop", "patch"]
    assert functions["patch"]["parameters"]["required"] == ["input"]
    assert (read.tools.called("agents__stop").namespace, read.tools.called("agents__stop").name) == ("agents", "stop")
    assert read.tools.called("patch").custom
    assert read.shown["tools"] == [ADD, SPACE, PATCH]


def test_a_grammar_is_told() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}
    [tool] = chat(tools=[{**PATCH, "format": grammar}])["tools"]
    assert tool["function"]["description"].endswith('lark grammar:\nstart: "x"')


def test_a_custom_call_and_its_result() -> None:
    custom = {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "x\ny"}
    output = {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"}
    told = said(user(text("q")), custom, output)
    assert told[1]["tool_calls"][0]["function"] == {"name": "patch", "arguments": '{"input":"x\\ny"}'}
    assert told[2]["content"] == "done"


def test_what_runs_at_openai_is_left_out_beside_own_tools_and_refused_alone() -> None:
    read = asked(tools=[ADD, SEARCH])
    assert read.tools.left_out == ["tools[1] web_search"]
    assert read.shown["tools"] == [ADD]
    with pytest.raises(UnsupportedFeature, match="web_search"):
        asked(tools=[SEARCH])
    with pytest.raises(UnsupportedFeature, match="web_search"):
        asked(tools=[ADD, SEARCH], tool_choice={"type": "web_search"})


def test_tool_choice() -> None:
    tools = [ADD, {**ADD, "name": "sub"}]
    assert chat(tools=tools, tool_choice="required")["tool_choice"] == "required"
    one = chat(tools=tools, tool_choice={"type": "function", "name": "sub"})
    assert one["tool_choice"] == "required", "llama.cpp knows no tool by name here: it is offered alone"
    assert [each["function"]["name"] for each in one["tools"]] == ["sub"]
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]}
    some = chat(tools=tools, tool_choice=allowed)
    assert "tool_choice" not in some
    assert [each["function"]["name"] for each in some["tools"]] == ["add"]


def test_how_to_answer() -> None:
    schema = {"type": "object"}
    told = chat(
        text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}, "verbosity": "low"},
        reasoning={"effort": "high"},
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=7,
        parallel_tool_calls=False,
        tools=[ADD],
    )
    assert told["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }
    assert (told["reasoning_effort"], told["temperature"], told["top_p"], told["max_tokens"]) == ("high", 0.5, 0.9, 7)
    assert told["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in chat(tools=[ADD])
    assert asked(reasoning={"effort": "none"}).extras["chat_template_kwargs"]["enable_thinking"] is False


def test_fields_that_change_nothing_here_are_ignored() -> None:
    plain = chat()
    assert chat(prompt_cache_key="k", client_metadata={"a": "b"}, include=["x"], service_tier="flex") == plain
    assert [asked(truncation=each).shown["truncation"] for each in ("auto", "disabled")] == ["auto", "disabled"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [call(call_id=None)]}, "input[0].call_id"),
        ({"input": [call(name=7)]}, "input[0].name"),
        ({"instructions": ["x"]}, "instructions"),
        ({"tools": "x"}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [ADD, {"type": "x\r\nSet-Cookie: a"}]}, "tools[1].type"),
        ({"tools": [ADD, ADD]}, "tools[1].name"),
        ({"tools": [{**ADD, "parameters": 1}]}, "tools[0].parameters"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [ADD], "tool_choice": {"type": "function", "name": "nobody"}}, "tool_choice"),
        ({"tools": [ADD], "tool_choice": 5}, "tool_choice"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"stream": "yes"}, "stream"),
        ({"store": 1}, "store"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"truncation": "some"}, "truncation"),
        ({"previous_response_id": 5}, "previous_response_id"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"type": "local_shell_call", "id": "x"}]}, "input[0]"),
        ({"input": [user({"type": "input_file", "file_id": "f"})]}, "input[0].content[0]"),
        ({"input": [user({"type": "input_image", "file_id": "f"})]}, "input[0].content[0].file_id"),
    ],
)
def test_what_is_not_here_is_said(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        chat(**fields)
    assert caught.value.param == param


WORDS = (
    "message function_call function_call_output reasoning custom namespace function user assistant input_text "
    "input_image allowed_tools required json_schema data:x web_search"
)
NAMES = (
    "type role content text name tools call_id arguments output summary id namespace image_url detail parameters format "
    "schema mode effort input encrypted_content strict"
)
FIELDS = (
    "input instructions tools tool_choice text reasoning metadata model stream include max_output_tokens temperature "
    "previous_response_id truncation parallel_tool_calls"
)
ANY = st.recursive(
    st.sampled_from(WORDS.split()) | st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES.split()), inner | st.just(""), max_size=6)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(FIELDS.split()), ANY, max_size=4), st.lists(ANY, max_size=3))
def test_any_body_is_served_or_refused(fields: dict[str, Any], items: list[Any]) -> None:
    with suppress(ClientError):
        chat(**{"input": items, **fields})
