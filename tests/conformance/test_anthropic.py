"""The official anthropic library against a real server with a real model, over real sockets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import anthropic as sdk
import httpx2
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam, ToolParam

from tests.clients.recorded import recorded
from tests.conformance.conftest import House

pytestmark = pytest.mark.anyio

QUESTION: list[MessageParam] = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture
def anthropic(house: House) -> Iterator[Anthropic]:
    with Anthropic(base_url=house.url, api_key=house.key, max_retries=0, timeout=120) as client:
        yield client


def test_a_message(anthropic: Anthropic) -> None:
    message = anthropic.messages.create(model="smollm2", max_tokens=16, messages=QUESTION)
    assert message.content[0].type == "text"
    assert message.content[0].text.strip()
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.usage.output_tokens in range(1, 17)
    total = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    counted = anthropic.messages.count_tokens(model="smollm2", messages=QUESTION)
    assert counted.input_tokens == total


def test_a_stream(anthropic: Anthropic) -> None:
    with anthropic.messages.stream(model="smollm2", max_tokens=16, messages=QUESTION, system="Be brief.") as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text
    assert final.content[0].type == "text"
    assert final.content[0].text == text
    assert final.usage.output_tokens > 0


def test_a_stop_sequence(anthropic: Anthropic) -> None:
    message = anthropic.messages.create(model="smollm2", max_tokens=60, messages=QUESTION, stop_sequences=["e"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "e")
    assert all("e" not in block.text for block in message.content if block.type == "text")


def test_a_prefill_is_continued_and_not_repeated(anthropic: Anthropic) -> None:
    messages: list[MessageParam] = [*QUESTION, {"role": "assistant", "content": "Zebra zebra"}]
    message = anthropic.messages.create(model="smollm2", max_tokens=8, messages=messages)
    assert not any(block.text.startswith("Zebra zebra") for block in message.content if block.type == "text")


def test_an_answer_of_a_given_form(anthropic: Anthropic) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"sky": {"enum": ["blue", "green"]}},
        "required": ["sky"],
    }
    message = anthropic.messages.create(
        model="smollm2",
        max_tokens=40,
        messages=QUESTION,
        output_config={"format": {"type": "json_schema", "schema": schema}},
    )
    assert message.content[0].type == "text"
    assert message.content[0].text.replace(" ", "").replace("\n", "") in ('{"sky":"blue"}', '{"sky":"green"}')


def test_errors_are_the_librarys_own(anthropic: Anthropic, house: House) -> None:
    with pytest.raises(sdk.NotFoundError):
        anthropic.messages.create(model="nobody", max_tokens=5, messages=QUESTION)
    long: list[MessageParam] = [{"role": "user", "content": "word " * 9000}]
    with pytest.raises(sdk.BadRequestError, match="prompt is too long"):
        anthropic.messages.create(model="smollm2", max_tokens=5, messages=long)
    with (
        Anthropic(base_url=house.url, api_key="sk-wrong", max_retries=0) as stranger,
        pytest.raises(sdk.AuthenticationError),
    ):
        stranger.messages.create(model="smollm2", max_tokens=5, messages=QUESTION)


def test_both_key_headers_and_versions(house: House) -> None:
    body = {"model": "smollm2", "max_tokens": 2, "messages": QUESTION}
    for headers in (
        {"x-api-key": house.key, "anthropic-version": "2023-06-01"},
        {"authorization": f"Bearer {house.key}", "anthropic-version": "2026-10-21", "anthropic-beta": "unknown-1"},
    ):
        reply = httpx2.post(f"{house.url}/v1/messages?beta=true", json=body, headers=headers, trust_env=False)
        assert reply.status_code == 200, reply.text


def test_a_model_whose_template_knows_no_tools_calls_one(anthropic: Anthropic) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
    }
    message = anthropic.messages.create(
        model="smollm2",
        max_tokens=80,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[{"name": "get_weather", "description": "The weather.", "input_schema": schema}],
        tool_choice={"type": "any"},
    )
    assert message.stop_reason == "tool_use"
    (call,) = (block for block in message.content if block.type == "tool_use")
    assert call.name == "get_weather"
    assert set(call.input) == {"city"}


def test_a_tool_call_in_a_stream(anthropic: Anthropic) -> None:
    tool: ToolParam = {
        "name": "get_weather",
        "description": "The weather.",
        "input_schema": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]},
    }
    with anthropic.messages.stream(
        model="smollm2", max_tokens=80, messages=QUESTION, tools=[tool], tool_choice={"type": "any"}
    ) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert [block.input["city"] in ("Rome", "Oslo") for block in final.content if block.type == "tool_use"] == [True]


async def test_the_asynchronous_library(house: House) -> None:
    async with AsyncAnthropic(base_url=house.url, api_key=house.key, max_retries=0) as client:
        async with client.messages.stream(model="smollm2", max_tokens=8, messages=QUESTION) as stream:
            text = "".join([piece async for piece in stream.text_stream])
        assert text.strip()
        counted = await client.messages.count_tokens(model="smollm2", messages=QUESTION)
        assert counted.input_tokens > 0


async def test_claude_codes_first_prompt_is_too_long_for_a_small_context(house: House) -> None:
    """All of its 76 kB are read and counted; the error has both numbers, and the words that Claude Code looks for."""
    async with httpx2.AsyncClient(base_url=house.url, timeout=60, trust_env=False) as http:
        reply = await recorded("claude-code")["first"].of("smollm2", house.key).send(http)
    assert reply.status_code == 400
    message = reply.json()["error"]["message"]
    found = re.match(r"prompt is too long: (\d+) tokens > (\d+) maximum", message)
    assert found, message
    assert int(found[1]) > 10_000
    assert int(found[2]) == 2048


def test_counts_are_exact_with_tools_and_thinking_too(anthropic: Anthropic) -> None:
    """The model's template knows no tools: what it is told of them in words counts."""
    tool: ToolParam = {"name": "get_weather", "description": "The weather.", "input_schema": {"type": "object"}}
    asked: list[dict[str, Any]] = [{}, {"tools": [tool]}, {"system": "Be brief.", "thinking": {"type": "adaptive"}}]
    counts = []
    for fields in asked:
        message = anthropic.messages.create(model="smollm2", max_tokens=1, messages=QUESTION, **fields)
        total = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
        counted = anthropic.messages.count_tokens(model="smollm2", messages=QUESTION, **fields)
        assert counted.input_tokens == total
        counts.append(total)
    assert counts[1] > counts[0]


def test_the_models_that_chat(anthropic: Anthropic) -> None:
    ids = [each.id for each in anthropic.models.list()]
    assert {"smollm2", "claude-local-smollm2"} <= set(ids)
    assert "minilm" not in ids
    assert [each.id for each in anthropic.models.list(limit=1)] == ids, "the library asks for page after page"
    one = anthropic.models.retrieve("claude-local-smollm2")
    assert (one.display_name, one.lifecycle) == ("smollm2", "active")
    with pytest.raises(sdk.NotFoundError):
        anthropic.models.retrieve("nobody")
