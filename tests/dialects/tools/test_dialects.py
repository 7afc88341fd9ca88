"""A call left in the text, and a call that did not come, in the words of every dialect; over the scripted engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lanhaven.engines.scripted_faults import Act, Fault
from tests.serving import House, serving

pytestmark = pytest.mark.anyio

MODELS = """\
default_model: alpha
models:
  - {id: alpha, provider: mock, enabled: true}
  - {id: plain, provider: mock, enabled: true, config: {tools: false}}
"""
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": SCHEMA}}]
LEFT = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
TOLD = '{"tool_calls": [{"name": "add", "arguments": {"a": 1}}]}'
BROKEN = "<tool_call>add one</tool_call>"
QUESTION = [{"role": "user", "content": "1?"}]

CHAT = {"messages": QUESTION, "tools": TOOLS}
ASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/chat/completions", CHAT),
    "v0": ("/api/v0/chat/completions", CHAT),
    "anthropic": (
        "/v1/messages",
        {"messages": QUESTION, "max_tokens": 50, "tools": [{"name": "add", "input_schema": SCHEMA}]},
    ),
    "ollama": ("/api/chat", CHAT),
    "responses": (
        "/v1/responses",
        {"input": "1?", "tools": [{"type": "function", "name": "add", "parameters": SCHEMA}]},
    ),
    "generate": ("/api/v1/ai/generate", CHAT),
}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with serving(tmp_path, MODELS) as house:
        yield house


async def ask(house: House, dialect: str, model: str, text: str, **fields: Any) -> httpx2.Response:
    """The answer to one question about a tool, when the model writes this."""
    path, body = ASKS[dialect]
    await house.chat(model=model)
    house.mock.server(model).script(Fault(text=text))
    return await house.http.post(path, json={"stream": False, **body, "model": model, **fields})


def calls_in(dialect: str, body: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name and arguments of the calls of a whole answer."""
    match dialect:
        case "anthropic":
            assert body["stop_reason"] == "tool_use"
            return [(each["name"], each["input"]) for each in body["content"]]
        case "ollama":
            listed = [each["function"] for each in body["message"]["tool_calls"]]
            return [(each["name"], each["arguments"]) for each in listed]
        case "responses":
            return [(each["name"], json.loads(each["arguments"])) for each in body["output"]]
    choice = body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert not choice["message"]["content"]
    called = [each["function"] for each in choice["message"]["tool_calls"]]
    return [(each["name"], json.loads(each["arguments"])) for each in called]


@pytest.mark.parametrize("dialect", ASKS)
async def test_calls_arrive_as_calls(house: House, dialect: str) -> None:
    for model, text in (("alpha", LEFT), ("plain", TOLD), ("plain", LEFT)):
        reply = await ask(house, dialect, model, text)
        assert calls_in(dialect, reply.json()) == [("add", {"a": 1})]
        stream = await ask(house, dialect, model, text, stream=True) if dialect != "generate" else reply
        assert "add" in stream.text
        assert "<tool_call>" not in stream.text
        assert "tool_calls\\" not in stream.text


@pytest.mark.parametrize("dialect", ASKS)
async def test_a_call_that_cannot_be_read_is_an_error(house: House, dialect: str) -> None:
    reply = await ask(house, dialect, "alpha", BROKEN)
    assert reply.status_code == 502
    assert "cannot be read" in reply.text
    if dialect != "generate":
        stream = await ask(house, dialect, "alpha", BROKEN, stream=True)
        assert "cannot be read" in stream.text
        assert "[DONE]" not in stream.text


@pytest.mark.parametrize(
    ("dialect", "choice"),
    [("openai", "required"), ("v0", "required"), ("anthropic", {"type": "any"}), ("responses", "required")],
)
async def test_a_required_call_that_does_not_come_is_an_error(house: House, dialect: str, choice: Any) -> None:
    for model in ("alpha", "plain"):
        reply = await ask(house, dialect, model, "No.", tool_choice=choice)
        assert reply.status_code == 502
        assert "tool_choice requires" in reply.text


async def test_words_pass_as_the_bytes_that_they_are(house: House) -> None:
    for text in ("Four. {", '{"name": "Ava"}'):
        plain = await house.chat("1?", mock={"text": text}, stream=True)
        given = await house.chat("1?", mock={"text": text}, stream=True, tools=TOOLS)
        assert given.content == plain.content
        whole = await house.chat("1?", mock={"text": text}, tools=TOOLS)
        assert whole.content == (await house.chat("1?", mock={"text": text})).content


async def test_several_answers_are_read_each_for_itself(house: House) -> None:
    reply = await ask(house, "openai", "alpha", LEFT, n=2)
    assert [each["message"]["tool_calls"][0]["function"]["name"] for each in reply.json()["choices"]] == ["add", "add"]
    stream = await ask(house, "openai", "plain", TOLD, n=2, stream=True)
    frames = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]
    named = [choice["index"] for each in frames for choice in each["choices"] if "id" in str(choice["delta"])]
    assert sorted(named) == [0, 1]


async def test_a_call_that_was_answered_is_not_made_again(house: House) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    said = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    result = {"role": "tool", "tool_call_id": "c1", "content": "2"}
    for stream in (False, True):
        await house.chat(model="plain")
        house.mock.server("plain").script(Fault(text=TOLD))
        house.mock.server("plain").script(Fault(text='{"content": "It is two."}'))
        body = {"model": "plain", "messages": [*QUESTION, *said, result], "tools": TOOLS, "stream": stream}
        reply = await house.http.post("/v1/chat/completions", json=body)
        assert reply.status_code == 200
        assert "tool_calls" not in reply.text
        assert "two" in reply.text
        asked = house.mock.server("plain").requests[-1].body
        assert list(asked["response_format"]["json_schema"]["schema"]["properties"]) == ["content"]
    house.mock.server("plain").script(Fault(text=TOLD.replace("1", "5")))
    reply = await house.http.post("/v1/chat/completions", json=body | {"stream": False})
    assert json.loads(reply.json()["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]) == {"a": 5}


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "ollama"])
async def test_words_that_were_held_back_are_told_where_the_stream_breaks(house: House, dialect: str) -> None:
    """They could have become a call."""
    path, body = ASKS[dialect]
    await house.chat()
    house.mock.server("alpha").script(Fault(text='{ "name": "add" is how it begins', do=Act.FIN, at=3))
    reply = await house.http.post(path, json=body | {"model": "alpha", "stream": True})
    told = reply.text.replace("\\", "")
    assert "name" in told
    assert told.index("name") < told.index("in the middle of its reply")
