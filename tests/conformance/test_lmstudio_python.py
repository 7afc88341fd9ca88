"""The published Python library of LM Studio against a real server with real models: what people write, unchanged.

SmolLM2 is so small that what it says means nothing: forms are tested, not wit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lmstudio
import pytest
from lmstudio import (
    AsyncClient,
    Chat,
    Client,
    LMStudioModelNotFoundError,
    LMStudioPresetNotFoundError,
    LMStudioServerError,
)

from tests.conformance.conftest import House

IDENTIFIER = "conformance"
SHORT: lmstudio.LlmPredictionConfigDict = {"maxTokens": 24, "temperature": 0.0}
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"$ref": "#/$defs/Age"}},
    "required": ["name", "age"],
    "$defs": {"Age": {"type": "integer", "minimum": 0, "maximum": 120}},
}


@pytest.fixture(scope="module")
def client(house: House) -> Iterator[Client]:
    with Client(house.url.removeprefix("http://")) as client:
        yield client


@pytest.fixture(scope="module")
def model(client: Client) -> Iterator[lmstudio.LLM]:
    """An instance of its own, loaded with a config."""
    told: list[float] = []
    config: lmstudio.LlmLoadModelConfigDict = {"contextLength": 1024}
    model = client.llm.load_new_instance("smollm2", IDENTIFIER, config=config, ttl=600, on_load_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    yield model
    model.unload()
    with pytest.raises(LMStudioModelNotFoundError):
        model.get_info()
    with pytest.raises(LMStudioModelNotFoundError):
        model.respond("Hello")


@pytest.fixture(scope="module")
def embedding(client: Client) -> lmstudio.EmbeddingModel:
    return client.embedding.model("minilm")


def test_lists(client: Client, model: lmstudio.LLM) -> None:
    assert {"smollm2", "minilm"} <= {each.model_key for each in client.list_downloaded_models()}
    assert IDENTIFIER in {each.identifier for each in client.llm.list_loaded()}


def test_info_and_load_config(model: lmstudio.LLM) -> None:
    info = model.get_info()
    assert (info.identifier, info.model_key, info.architecture) == (IDENTIFIER, "smollm2", "llama")
    assert (info.context_length, info.max_context_length) == (1024, 8192)
    assert not info.vision
    assert model.get_context_length() == 1024
    assert model.get_load_config().context_length == 1024


def test_respond(model: lmstudio.LLM) -> None:
    result = model.respond("Say hello.", config=SHORT)
    assert result.content
    assert not result.structured
    assert result.stats.stop_reason in ("eosFound", "maxPredictedTokensReached")
    assert result.stats.prompt_tokens_count
    assert result.stats.prompt_tokens_count > 5
    assert result.stats.predicted_tokens_count
    assert result.stats.predicted_tokens_count <= 24
    assert result.stats.time_to_first_token_sec
    assert result.stats.tokens_per_second
    assert result.model_info.model_key == "smollm2"
    assert result.load_config.context_length == 1024
    assert result.prediction_config.max_tokens == 24


def test_a_chat_with_a_system_prompt_and_turns(model: lmstudio.LLM) -> None:
    chat = Chat("Answer with one word.")
    chat.add_user_message("What is the colour of the sky?")
    answer = model.respond(chat, config=SHORT, on_message=chat.append)
    chat.add_user_message("And of grass?")
    assert answer.content
    assert model.respond(chat, config=SHORT).content


def test_the_same_seed_gives_the_same_answer(model: lmstudio.LLM) -> None:
    first, again = (model.respond("Tell me of the sea.", config=SHORT).content for _ in range(2))
    assert first == again


def test_stream_with_progress(model: lmstudio.LLM) -> None:
    progress: list[float] = []
    first: list[bool] = []
    stream = model.respond_stream(
        "Tell me of the sea. " + "Waves come and go. " * 100,
        config=SHORT,
        on_first_token=lambda: first.append(True),
        on_prompt_processing_progress=progress.append,
    )
    fragments = list(stream)
    assert len(fragments) > 1
    assert first == [True]
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert "".join(each.content for each in fragments) == stream.result().content
    assert {each.reasoning_type for each in fragments} == {"none"}


def test_cancel(model: lmstudio.LLM) -> None:
    stream = model.respond_stream("Count from one to a thousand, in words.", config={"temperature": 0.0})
    for _ in stream:
        stream.cancel()
    result = stream.result()
    assert result.stats.stop_reason == "userStopped"
    assert (result.stats.predicted_tokens_count or 0) < 100
    assert model.respond("Hello", config=SHORT).content  # the slot is free


def test_structured_by_schema(model: lmstudio.LLM) -> None:
    result = model.respond("Who is Ava, 33?", response_format=PERSON, config={"temperature": 0.0, "maxTokens": 80})
    assert result.structured
    parsed: Any = result.parsed
    assert parsed.keys() == {"name", "age"}
    assert isinstance(parsed["age"], int)


def test_structured_by_grammar(model: lmstudio.LLM) -> None:
    grammar = {"type": "gbnf", "gbnfGrammar": 'root ::= "{\\"digit\\": " [0-9] "}"'}
    result = model.respond("Choose a digit.", response_format=grammar, config=SHORT)
    parsed: Any = result.parsed
    assert 0 <= parsed["digit"] <= 9


def test_a_stop_string(model: lmstudio.LLM) -> None:
    result = model.complete("1, 2, 3, 4,", config={**SHORT, "stopStrings": ["7"]})
    assert result.stats.stop_reason == "stopStringFound"
    assert "7" not in result.content


def test_the_end_of_the_context(model: lmstudio.LLM) -> None:
    with pytest.raises(LMStudioServerError, match="context"):
        model.respond("word " * 2000, config=SHORT)


def test_raw_completion(model: lmstudio.LLM) -> None:
    result = model.complete("one two three", config={"maxTokens": 4, "temperature": 0.0})
    assert result.stats.prompt_tokens_count == model.count_tokens("one two three")  # nothing was put around it
    assert result.stats.predicted_tokens_count == 4
    stream = model.complete_stream("one two three", config={"maxTokens": 4, "temperature": 0.0})
    assert "".join(each.content for each in stream) == result.content


def test_tools(model: lmstudio.LLM) -> None:
    """SmolLM2's template knows no tools: it is told of them, and what it writes is read back."""
    called: list[tuple[int, int]] = []
    messages: list[Any] = []

    def add(a: int, b: int) -> int:
        """Add two numbers"""
        called.append((a, b))
        return a + b

    config: lmstudio.LlmPredictionConfigDict = {"temperature": 0.0, "maxTokens": 80}
    result = model.act("What is 2 + 3? Use the tool.", [add], config=config, on_message=messages.append)
    assert result.rounds == 2
    assert called == [(2, 3)]
    assert [each.role for each in messages] == ["assistant", "tool", "assistant"]
    assert messages[-1].content[0].text


def test_tokens(model: lmstudio.LLM) -> None:
    tokens = model.tokenize("hello world")
    assert len(tokens) == 2
    assert model.count_tokens("hello world") == 2
    assert model.tokenize(["hello", "world"]) == [model.tokenize("hello"), model.tokenize("world")]


def test_prompt_template(model: lmstudio.LLM) -> None:
    formatted = model.apply_prompt_template("Hello")
    assert formatted.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")


def test_embeddings(embedding: lmstudio.EmbeddingModel) -> None:
    vector = embedding.embed("The sea is calm.")
    assert len(vector) == 384
    near, far = embedding.embed(["The ocean is quiet.", "Invoices are due on Monday."])
    assert _dot(vector, near) > _dot(vector, far)
    assert len(embedding.tokenize("hello world")) == embedding.count_tokens("hello world") + 2
    assert embedding.get_context_length() == 512


def _dot(one: Any, other: Any) -> float:
    product: float = sum(a * b for a, b in zip(one, other, strict=True))
    return product


def test_what_is_not_there(client: Client, model: lmstudio.LLM) -> None:
    with pytest.raises(LMStudioServerError, match="nothing-like-it"):
        client.llm.model("nothing-like-it")
    with pytest.raises(LMStudioModelNotFoundError):
        client.llm.unload("nothing-like-it")
    with pytest.raises(LMStudioPresetNotFoundError):
        model.respond("Hello", preset="mine")
    with pytest.raises(LMStudioServerError, match="already exists"):
        client.llm.load_new_instance("smollm2", IDENTIFIER)


def test_an_image_is_refused_by_a_model_that_sees_nothing(client: Client, model: lmstudio.LLM) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(8)
    chat = Chat()
    chat.add_user_message("What is this?", images=[client.prepare_image(png)])
    with pytest.raises(LMStudioServerError, match="cannot see images"):
        model.respond(chat)


class Impostor(Client):
    """A client with an API token that no server gave. The library itself knows no tokens in this version."""

    def _create_auth_message(self, *args: Any, **kwargs: Any) -> Any:
        return {"authVersion": 1, "clientIdentifier": "a" * 8, "clientPasskey": "b" * 20}


def test_a_wrong_key_opens_nothing(house: House) -> None:
    # 1.5.0 cannot read the refusal (it wants an object where JavaScript wants a text) and stumbles over it.
    with pytest.raises((ValueError, lmstudio.LMStudioError)), Impostor(house.url.removeprefix("http://")) as stranger:
        stranger.list_loaded_models()


@pytest.mark.anyio
async def test_the_asynchronous_client(house: House) -> None:
    async with AsyncClient(house.url.removeprefix("http://")) as client:
        model = await client.llm.model("smollm2")
        assert (await model.respond("Hello", config=SHORT)).content
        stream = await model.respond_stream("Count to a hundred.", config={"temperature": 0.0})
        async for _ in stream:
            await stream.cancel()
        assert stream.result().stats.stop_reason == "userStopped"
        assert await model.count_tokens("hello world") == 2
