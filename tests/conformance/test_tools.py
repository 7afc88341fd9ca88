"""Tools and structure by the official libraries on a real engine: a template that knows no tools, and one that does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from ollama import Client as Ollama
from openai import OpenAI

from tests.conformance.conftest import House
from tests.house_process import start, wait_ready

WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
    },
}
TOOLS: Any = [{"type": "function", "function": WEATHER}]
CLAUDE_TOOLS: Any = [{"name": "get_weather", "input_schema": WEATHER["parameters"]}]
ASKED: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
NAMED = {"type": "function", "function": {"name": "get_weather"}}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"$ref": "#/$defs/age"},
        "kind": {"enum": ["person", "dog"]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
    "$defs": {"age": {"type": "integer", "minimum": 0, "maximum": 150}},
}
MODELS = """\
default_model: smollm2
models:
  - id: smollm2
    provider: llama_cpp
    enabled: true
    load: {{contextLength: 2048, slots: 2}}
    config: {{model_path: {model}, chat_template_path: {template}}}
"""


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[House]:
    """The same model under Hermes' template, which knows tools."""
    home = tmp_path_factory.mktemp("knowing")
    template = Path(__file__).with_name("hermes.jinja")
    models = MODELS.format(model=json.dumps(str(smollm2)), template=json.dumps(str(template)))
    process, run_file = start(home, models)
    try:
        yield House(wait_ready(process, run_file, home / "server.log"), "any", process.pid, home)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(params=["house", "knowing"])
def either(request: pytest.FixtureRequest) -> House:
    found: House = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def openai(either: House) -> Iterator[OpenAI]:
    with either.openai() as client:
        yield client


@pytest.fixture
def anthropic(knowing: House) -> Iterator[Anthropic]:
    with Anthropic(base_url=knowing.url, api_key=knowing.key, max_retries=0, timeout=120) as client:
        yield client


@pytest.fixture
def ollama(house: House) -> Iterator[Ollama]:
    headers = {"Authorization": f"Bearer {house.key}"}
    with Ollama(host=house.url, headers=headers, timeout=120, trust_env=False) as client:
        yield client


def is_person(value: Any) -> bool:
    return (
        value.keys() == {"name", "age", "kind"}
        and isinstance(value["name"], str)
        and len(value["name"]) <= 12
        and isinstance(value["age"], int)
        and 0 <= value["age"] <= 150
        and value["kind"] in ("person", "dog")
    )


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_openai_a_required_call_comes_and_its_arguments_stream(openai: OpenAI, choice: Any) -> None:
    with openai.chat.completions.stream(
        model="smollm2", messages=ASKED, tools=TOOLS, tool_choice=choice, max_tokens=48, temperature=0
    ) as stream:
        pieces = [each.arguments_delta for each in stream if each.type == "tool_calls.function.arguments.delta"]
        choice = stream.get_final_completion().choices[0]
    (call,) = choice.message.tool_calls or []
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments).keys() == {"city"}
    assert "".join(pieces) == call.function.arguments
    assert len([each for each in pieces if each]) > 3, "piece by piece, as the model writes them"
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)


def test_openai_an_agents_loop_ends(openai: OpenAI) -> None:
    messages: list[Any] = list(ASKED)
    for _ in range(4):
        reply = openai.chat.completions.create(
            model="smollm2", messages=messages, tools=TOOLS, tool_choice="auto", max_tokens=32, temperature=0
        )
        said = reply.choices[0].message
        if not said.tool_calls:
            break
        messages.append(said.model_dump(exclude_none=True))
        messages += [{"role": "tool", "tool_call_id": each.id, "content": "It is sunny."} for each in said.tool_calls]
    assert said.content
    calls = [call["function"]["arguments"] for each in messages for call in each.get("tool_calls", ())]
    assert len(calls) == len(set(calls)), "no call was made twice"


def test_openai_none_means_words(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(
        model="smollm2", messages=ASKED, tools=TOOLS, tool_choice="none", max_tokens=8, temperature=0
    )
    assert reply.choices[0].message.content
    assert not reply.choices[0].message.tool_calls


def test_openai_a_call_that_is_cut_short_says_so(openai: OpenAI) -> None:
    reply = openai.chat.completions.create(
        model="smollm2", messages=ASKED, tools=TOOLS, tool_choice="required", max_tokens=5, temperature=0
    )
    assert reply.choices[0].finish_reason == "length"


def test_openai_structure_alone_and_beside_tools(openai: OpenAI) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
    question: Any = [{"role": "user", "content": "Ava is a woman of 33 years."}]
    reply = openai.chat.completions.create(
        model="smollm2", messages=question, response_format=form, max_tokens=48, temperature=0
    )
    assert is_person(json.loads(reply.choices[0].message.content or ""))
    beside = openai.chat.completions.create(
        model="smollm2", messages=question, response_format=form, tools=TOOLS, max_tokens=60, temperature=0
    ).choices[0]
    if beside.finish_reason == "stop":
        assert is_person(json.loads(beside.message.content or ""))


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_anthropic_a_required_call_comes_and_its_arguments_stream(anthropic: Anthropic, choice: Any) -> None:
    with anthropic.messages.stream(
        model="smollm2",
        messages=ASKED,
        tools=CLAUDE_TOOLS,
        tool_choice=choice,
        max_tokens=96,
        extra_body={"temperature": 0},
    ) as stream:
        pieces = [each.partial_json for each in stream if each.type == "input_json"]
        message = stream.get_final_message()
    (block,) = message.content
    assert block.type == "tool_use"
    assert message.stop_reason == "tool_use"
    assert json.loads("".join(pieces)) == block.input
    assert len(pieces) > 3


def test_anthropic_a_result_is_answered(anthropic: Anthropic) -> None:
    call: Any = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Paris"}}
    result: Any = {"type": "tool_result", "tool_use_id": "t1", "content": "It is sunny."}
    messages: Any = [*ASKED, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    reply = anthropic.messages.create(model="smollm2", messages=messages, tools=CLAUDE_TOOLS, max_tokens=12)
    assert reply.content
    assert reply.usage.output_tokens <= 12


def test_anthropic_structure(anthropic: Anthropic) -> None:
    reply = anthropic.messages.create(
        model="smollm2",
        messages=[{"role": "user", "content": "Ava is a woman of 33 years."}],
        output_config={"format": {"type": "json_schema", "schema": PERSON}},
        max_tokens=48,
    )
    (block,) = reply.content
    assert block.type == "text"
    assert is_person(json.loads(block.text))


def test_ollama_structure_and_tools(ollama: Ollama) -> None:
    question = [{"role": "user", "content": "Ava is a woman of 33 years."}]
    options = {"num_predict": 40, "temperature": 0}
    reply = ollama.chat(model="smollm2", messages=question, format=PERSON, options=options)
    assert is_person(json.loads(reply.message.content or ""))
    *_, last = ollama.chat(model="smollm2", messages=ASKED, tools=TOOLS, options=options, stream=True)
    assert last.done
    calls = {"role": "assistant", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]}
    result = {"role": "tool", "tool_name": "get_weather", "content": "It is sunny."}
    then = ollama.chat(model="smollm2", messages=[*ASKED, calls, result], tools=TOOLS, options=options)
    assert then.message.content or then.message.tool_calls
    assert all(each.function.arguments != {"city": "Paris"} for each in then.message.tool_calls or ())


@pytest.mark.req("F-126")
def test_a_schema_made_to_explode_is_refused_and_the_engine_lives(openai: OpenAI, either: House) -> None:
    schema = {"type": "string", "pattern": "^" + "(a|b)?" * 200 + "$"}
    with either.http() as http:
        reply = http.post(
            "/v1/chat/completions",
            json={
                "model": "smollm2",
                "messages": ASKED,
                "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
            },
        )
        assert (reply.status_code, reply.json()["error"]["param"]) == (
            400,
            "response_format.json_schema.schema.pattern",
        )
        told = http.post(
            "/v1/chat/completions",
            json={
                "model": "smollm2",
                "messages": ASKED,
                "max_tokens": 8,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "number", "minimum": 1}},
                },
            },
        )
        assert told.status_code == 200
        assert told.headers["x-lanhaven-unenforced"] == "minimum"
