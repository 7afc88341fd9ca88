"""Tools, by the official openai library, with a model whose template knows none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_model_whose_template_knows_no_tools_calls_one(openai: OpenAI, choice: Any) -> None:
    reply = openai.chat.completions.create(
        model="smollm2", messages=ASKED, tools=[WEATHER], tool_choice=choice, max_tokens=80, temperature=0
    )
    (call,) = reply.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    assert reply.choices[0].finish_reason == "tool_calls"
    assert reply.usage is not None
    assert reply.usage.completion_tokens > 0
    messages: list[Any] = [
        *ASKED,
        reply.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": "It is sunny."},
    ]
    then = openai.chat.completions.create(model="smollm2", messages=messages, tools=[WEATHER], max_tokens=30)
    assert then.choices[0].message.content
    assert not then.choices[0].message.tool_calls


def test_a_tool_call_in_a_stream(openai: OpenAI) -> None:
    with openai.chat.completions.stream(
        model="smollm2", messages=ASKED, tools=[WEATHER], tool_choice="required", max_tokens=80, temperature=0
    ) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}


def test_no_tool_is_called_where_none_may_be(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(
        model="smollm2", messages=ASKED, tools=[WEATHER], tool_choice="none", max_tokens=16
    )
    assert reply.choices[0].message.content
    assert not reply.choices[0].message.tool_calls
