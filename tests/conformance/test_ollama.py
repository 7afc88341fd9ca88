"""The official ollama library against a real server with real models, over real sockets."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

import ollama as sdk
import pytest
from ollama import Client

from tests.conformance.conftest import House

QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]
SHORT = {"num_predict": 12, "temperature": 0}


@pytest.fixture
def ollama(house: House) -> Iterator[Client]:
    with Client(
        host=house.url, headers={"Authorization": f"Bearer {house.key}"}, timeout=120, trust_env=False
    ) as client:
        yield client


@pytest.mark.req("S4-15")
def test_a_chat(ollama: Client) -> None:
    reply = ollama.chat(model="smollm2:latest", messages=QUESTION, options=SHORT)
    assert reply.message.content
    assert reply.done_reason == "length"
    assert reply.eval_count == 12
    assert reply.prompt_eval_count
    assert reply.total_duration
    streamed = list(ollama.chat(model="smollm2", messages=QUESTION, options=SHORT, stream=True))
    assert "".join(each.message.content or "" for each in streamed) == reply.message.content
    assert streamed[-1].done


@pytest.mark.req("S4-15")
def test_generate(ollama: Client) -> None:
    assert ollama.generate(model="smollm2", prompt="The sea is", options=SHORT).response
    raw = ollama.generate(model="smollm2", prompt="one two three", raw=True, options=SHORT, stream=True)
    assert "".join(each.response or "" for each in raw)


def test_an_answer_of_a_given_form(ollama: Client) -> None:
    schema = {"type": "object", "properties": {"sky": {"enum": ["blue", "green"]}}, "required": ["sky"]}
    reply = ollama.chat(model="smollm2", messages=QUESTION, format=schema, options={"num_predict": 40})
    assert json.loads(reply.message.content or "")["sky"] in ("blue", "green")


def test_a_tool_is_called_by_a_model_that_knows_none(ollama: Client) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: one number
            b: the other
        """
        return a + b

    messages = [{"role": "user", "content": "Use the tool add to add 2 and 3."}]
    reply = ollama.chat(model="smollm2", messages=messages, tools=[add], options={"temperature": 0, "num_predict": 80})
    for call in reply.message.tool_calls or ():
        assert call.function.name == "add"
        assert set(call.function.arguments) <= {"a", "b"}
    assert reply.message.tool_calls or reply.message.content


@pytest.mark.req("S4-15")
def test_embeddings(ollama: Client) -> None:
    reply = ollama.embed(model="minilm", input=["the sea", "the sky"])
    assert len(reply.embeddings) == 2
    assert math.fsum(x * x for x in reply.embeddings[0]) == pytest.approx(1, abs=1e-3)
    assert reply.prompt_eval_count
    single = ollama.embeddings(model="minilm", prompt="the sea")
    assert list(single.embedding) == pytest.approx(list(reply.embeddings[0]), abs=1e-5)
    assert len(ollama.embed(model="minilm", input="the sea", dimensions=64).embeddings[0]) == 64


@pytest.mark.req("S4-15")
def test_lists(ollama: Client) -> None:
    listed = {each.model: each for each in ollama.list().models}
    assert {"smollm2:latest", "minilm:latest"} <= set(listed)
    details = listed["smollm2:latest"].details
    assert details is not None
    assert (details.format, details.parameter_size) == ("gguf", "135M")
    ollama.chat(model="smollm2", messages=QUESTION, options=SHORT)
    assert "smollm2:latest" in {each.model for each in ollama.ps().models}
    shown = ollama.show("smollm2")
    assert "completion" in (shown.capabilities or [])
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 8192
    assert ollama.pull("smollm2").status == "success"


def test_errors_are_the_librarys_own(ollama: Client) -> None:
    with pytest.raises(sdk.ResponseError) as missing:
        ollama.chat(model="nobody", messages=QUESTION)
    assert missing.value.status_code == 404
    assert "not found" in missing.value.error
    with pytest.raises(sdk.ResponseError) as refused:
        ollama.create(model="x", from_="smollm2")
    assert refused.value.status_code == 501
