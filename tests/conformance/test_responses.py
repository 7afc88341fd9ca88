"""The official openai library's Responses against a real server with a real model, over real sockets."""

from __future__ import annotations

import json

import openai as sdk
import pytest
from openai import OpenAI
from openai.types.responses import FunctionToolParam, Response, ResponseFunctionToolCall
from pydantic import BaseModel

from tests.conformance.conftest import House

QUESTION = "Why is the sky blue?"
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "weather",
    "description": "Tells the weather in a city.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"city": {"enum": ["Rome", "Oslo"]}},
        "required": ["city"],
        "additionalProperties": False,
    },
}


def valid(response: Response) -> Response:
    """The library builds its objects without looking; here they must be what their types say."""
    return Response.model_validate(response.to_dict(mode="json"))


def test_a_response(openai: OpenAI) -> None:
    response = valid(openai.responses.create(model="smollm2", input=QUESTION, max_output_tokens=16))
    assert response.output_text.strip()
    assert response.status in ("completed", "incomplete")
    if response.status == "incomplete":
        assert response.incomplete_details is not None
        assert response.incomplete_details.reason == "max_output_tokens"
    assert response.usage is not None
    assert response.usage.output_tokens in range(1, 17)
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    counted = openai.responses.input_tokens.count(model="smollm2", input=QUESTION)
    assert counted.input_tokens == response.usage.input_tokens


def test_a_stream(openai: OpenAI) -> None:
    with openai.responses.stream(
        model="smollm2", input=QUESTION, instructions="Be brief.", max_output_tokens=16, store=False
    ) as stream:
        events = list(stream)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    assert text
    assert valid(last.response).output_text == text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_stream_to_its_final_response(openai: OpenAI) -> None:
    with openai.responses.stream(
        model="smollm2", input="Say: yes", max_output_tokens=200, temperature=0, text_format=Sky
    ) as stream:
        final = stream.get_final_response()
    assert isinstance(final.output_parsed, Sky)


def test_raw_events(openai: OpenAI) -> None:
    kinds = [
        each.type for each in openai.responses.create(model="smollm2", input="Hi", max_output_tokens=4, stream=True)
    ]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]


@pytest.mark.parametrize("streamed", [False, True])
def test_a_function_is_called_and_answers(openai: OpenAI, streamed: bool) -> None:
    question = "What is the weather in Rome?"
    if streamed:
        with openai.responses.stream(
            model="smollm2", input=question, tools=[WEATHER], tool_choice="required", temperature=0
        ) as stream:
            first: Response = stream.get_final_response()
    else:
        first = openai.responses.create(
            model="smollm2", input=question, tools=[WEATHER], tool_choice="required", temperature=0
        )
    [call] = valid(first).output
    assert isinstance(call, ResponseFunctionToolCall)
    assert call.name == "weather"
    assert json.loads(call.arguments)["city"] in ("Rome", "Oslo")
    second = openai.responses.create(
        model="smollm2",
        previous_response_id=first.id,
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "Sunny, 24 degrees."}],
        tools=[WEATHER],
        max_output_tokens=40,
        temperature=0,
    )
    assert valid(second).output_text.strip()


class Sky(BaseModel):
    """An answer of a given form."""

    blue: bool


def test_an_answer_of_a_given_form(openai: OpenAI) -> None:
    parsed = openai.responses.parse(model="smollm2", input=QUESTION, text_format=Sky, max_output_tokens=60)
    assert isinstance(parsed.output_parsed, Sky)
    wanted = openai.responses.create(
        model="smollm2", input="A JSON object.", text={"format": {"type": "json_object"}}, max_output_tokens=200
    )
    if wanted.status == "completed":
        assert isinstance(json.loads(wanted.output_text), dict)


def test_a_conversation_is_kept(openai: OpenAI) -> None:
    first = openai.responses.create(model="smollm2", input=QUESTION, max_output_tokens=8, metadata={"topic": "sky"})
    second = openai.responses.create(
        model="smollm2", input="And at night?", previous_response_id=first.id, max_output_tokens=8
    )
    assert second.previous_response_id == first.id
    assert openai.responses.retrieve(first.id) == first
    assert valid(openai.responses.retrieve(first.id)).metadata == {"topic": "sky"}
    items = list(openai.responses.input_items.list(second.id, order="asc", limit=1))
    assert [item.type for item in items] == ["message"] * 3
    openai.responses.delete(first.id)
    with pytest.raises(sdk.NotFoundError):
        openai.responses.retrieve(first.id)
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.responses.create(model="smollm2", input="And?", previous_response_id=second.id)
    assert caught.value.code == "previous_response_not_found"


def test_cancelling(openai: OpenAI) -> None:
    response = openai.responses.create(model="smollm2", input="Hi", max_output_tokens=2)
    with pytest.raises(sdk.BadRequestError, match="Cannot cancel a synchronous response"):
        openai.responses.cancel(response.id)


def test_errors_are_the_librarys_own(openai: OpenAI, house: House) -> None:
    with pytest.raises(sdk.NotFoundError):
        openai.responses.create(model="nobody", input=QUESTION)
    for stream in (False, True):
        with pytest.raises(sdk.BadRequestError) as caught:
            openai.responses.create(model="smollm2", input="word " * 9000, stream=stream)
        assert caught.value.code == "context_length_exceeded"
    with pytest.raises(sdk.BadRequestError) as caught:
        openai.responses.create(model="smollm2", input=[{"role": "user", "content": 5}])  # type: ignore[misc, list-item]
    assert caught.value.param == "input[0].content"
    with (
        OpenAI(base_url=f"{house.url}/v1", api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(sdk.AuthenticationError),
    ):
        stranger.responses.create(model="smollm2", input=QUESTION)


def test_codex_loads_a_model_with_an_empty_input(openai: OpenAI) -> None:
    assert valid(openai.responses.create(model="smollm2", input="", max_output_tokens=1)).object == "response"
