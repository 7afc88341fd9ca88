"""Messages requests as OpenAI requests."""

from __future__ import annotations

from typing import Any

import pytest

from lanhaven.dialects.anthropic.request import conversation_of, extras_of, read_request
from lanhaven.errors import InvalidRequest, UnsupportedFeature


def converted(**fields: Any) -> dict[str, Any]:
    body = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}], **fields}
    chat, _ = read_request(body)
    return chat


def said(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = converted(messages=list(messages))["messages"]
    return listed


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_the_system_prompt_comes_first() -> None:
    blocks = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, text("b")]
    assert converted(system=blocks)["messages"][0] == {"role": "system", "content": "a\n\nb"}
    assert converted(system="short")["messages"][0] == {"role": "system", "content": "short"}


def test_turns_of_the_same_role_are_one() -> None:
    assert said({"role": "user", "content": "a"}, user(text("b"))) == [{"role": "user", "content": "a\n\nb"}]


def test_a_tool_call_and_its_result() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [text("1")]}
    assert said(
        {"role": "user", "content": "q"}, {"role": "assistant", "content": [text("so"), call]}, user(result, text("go"))
    )[1:] == [
        {
            "role": "assistant",
            "content": "so",
            "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "1"},
        {"role": "user", "content": "go"},
    ]


def test_a_failed_tool_says_so() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "no file", "is_error": True}
    assert said(user(result))[0]["content"] == "Error: no file"


def test_a_picture_in_a_result_is_the_users() -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    tool, shown = said(user({"type": "tool_result", "tool_use_id": "t", "content": [text("see"), picture]}))
    assert tool["content"] == "see"
    assert shown == {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
    }


def test_thoughts_come_back_as_thoughts() -> None:
    blocks = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking"}, text("yes")]
    assert said({"role": "user", "content": "q"}, {"role": "assistant", "content": blocks})[1] == {
        "role": "assistant",
        "content": "yes",
        "reasoning_content": "hm",
    }


def test_a_document_of_text() -> None:
    document = {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "D"}}
    assert said(user(document, text("q")))[0]["content"] == "T\n\nD\n\nq"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_the_choice_of_tools(given: dict[str, Any], wanted: object) -> None:
    chat = converted(
        tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
        tool_choice=given | {"disable_parallel_tool_use": True},
    )
    assert chat["tool_choice"] == wanted
    assert chat["parallel_tool_calls"] is False
    assert chat["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
    ]


def test_how_to_answer() -> None:
    schema = {"type": "object", "properties": {}}
    chat = converted(
        temperature=0.5,
        top_k=3,
        stop_sequences=["x"],
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        metadata={"user_id": "u"},
        context_management={"edits": []},
        betas=["whatever"],
    )
    assert chat["temperature"] == 0.5
    assert chat["top_k"] == 3
    assert chat["stop"] == ["x"]
    assert chat["reasoning_effort"] == "low"
    assert chat["response_format"]["json_schema"]["schema"] == schema
    assert set(chat) == {
        "model", "messages", "max_tokens", "temperature", "top_k", "stop", "reasoning_effort", "response_format",
    }  # fmt: skip


def test_thinking_is_for_those_that_know_it() -> None:
    assert extras_of({"thinking": {"type": "disabled"}}) == {"chat_template_kwargs": {"enable_thinking": False}}
    assert extras_of({"thinking": {"type": "adaptive"}}) == {"chat_template_kwargs": {"enable_thinking": True}}
    assert extras_of({}) == {}
    assert extras_of({"thinking": {"type": ["enabled"]}}) == {}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "x"}}]}]},
         "messages.0.content.0.source"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop_sequences": [""]}, "stop_sequences"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice"),
        ({"tools": [{"description": "no name"}]}, "tools.0.name"),
        ({"stream": "yes"}, "stream"),
        ({"model": ""}, "model"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_names_its_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        converted(**fields)
    assert caught.value.param == param
    assert caught.value.message.startswith(f"{param}: ")


def test_tools_that_run_at_anthropic() -> None:
    with pytest.raises(UnsupportedFeature, match="web_search_20250305"):
        converted(tools=[{"type": "web_search_20250305", "name": "web_search"}])


def test_a_system_message_within_the_conversation_is_told_in_the_users_turn() -> None:
    """Claude Code sends its lists so; many chat templates refuse a system message that is not the first."""
    system = {"role": "system", "content": [text("Skills: none."), text("Agents: none.")]}
    messages = converted(
        system="s", messages=[user(text("hi")), system, {"role": "assistant", "content": "ok"}, system]
    )
    reminder = "<system-reminder>\nSkills: none.\n\nAgents: none.\n</system-reminder>"
    assert messages["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": f"hi\n\n{reminder}"},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": reminder},
    ]
    first = {"role": "system", "content": "a"}
    assert said(first, first, user(text("hi")))[0] == {"role": "system", "content": "a\n\na"}


def test_what_says_who_pays_is_not_told_to_the_model() -> None:
    """It is another in every conversation, and would keep all of them from the prompt cache."""
    billing = text("x-anthropic-billing-header: cc_version=2.1.197.1c0; cc_entrypoint=cli;")
    assert converted(system=[billing, text("Be brief.")])["messages"][0]["content"] == "Be brief."
    assert converted(system=[billing])["messages"][0]["role"] == "user"
    assert converted(system=[text("Be brief."), billing])["messages"][0]["content"].endswith("cli;")


def test_efforts_that_openai_does_not_know_are_the_highest() -> None:
    assert [converted(output_config={"effort": each})["reasoning_effort"] for each in ("low", "high", "max")] == [
        "low", "high", "high",
    ]  # fmt: skip


def test_who_asks_names_the_conversation() -> None:
    assert conversation_of({"metadata": {"user_id": "u1"}}) == "u1"
    assert [conversation_of(each) for each in ({}, {"metadata": None}, {"metadata": {"user_id": 3}})] == [None] * 3


@pytest.mark.parametrize("messages", [[{"role": "user", "content": []}], [{"role": "system", "content": "a"}]])
def test_a_conversation_in_which_nobody_asks_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidRequest, match="messages: "):
        converted(messages=messages)
